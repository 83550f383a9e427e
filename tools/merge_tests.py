#!/usr/bin/env python3
"""Puts the tests of several build folders into one ctest run.

usage: merge_tests.py --out DIR [--only NAME ...] PRESET...
       merge_tests.py --threaded      prints the programs of the threaded tests, one a line

Writes DIR/CTestTestfile.cmake, in which a test NAME of build/PRESET is called PRESET/NAME. `tsan` gives its
threaded tests only, `mutants` nothing but the run against the planted bugs. The last test, `tried`, checks
after all others that every layer tried something.
"""

import argparse
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The tests that run threads, each with the program that it needs built.
THREADED = {"env_test": "env_test", "db_test": "db_test", "threads_test": "threads_test",
            "memtable_test": "memtable_test", "server_test": "server_test", "cli_e2e": "tallystick",
            "kill_audit": "tallystick", "embedded_example": "embedded"}


def tests_of(build):
    shown = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], check=True,
                           stdout=subprocess.PIPE, text=True).stdout
    return json.loads(shown)["tests"]


def properties(test):
    return {p["name"]: p["value"] for p in test.get("properties", [])}


def quoted(text):
    return "[==[" + text + "]==]"


def value(item):
    return ";".join(item) if isinstance(item, list) else str(item)


def selected(preset):
    build = os.path.join(ROOT, "build", preset)
    if preset == "mutants":
        script = os.path.join(ROOT, "tools", "run_mutants.py")
        return [{"name": "planted_bugs", "command": [sys.executable, script, build],
                 "properties": [{"name": "WORKING_DIRECTORY", "value": build}]}]
    tests = tests_of(build)
    return [t for t in tests if t["name"] in THREADED] if preset == "tsan" else tests


def arguments(preset, name):
    """What is added to a test's command. A sanitized server starts slowly: fewer kills of it."""
    if name != "kill_audit":
        return []
    return ["--kills", str(20 if preset == "test" else 5), "--seed", os.environ.get("TALLY_FIRST_SEED", "1")]


def entry(name, command, props):
    lines = [f"add_test({quoted(name)} {' '.join(quoted(part) for part in command)})"]
    settings = " ".join(f"{key} {quoted(value(item))}" for key, item in sorted(props.items()))
    lines.append(f"set_tests_properties({quoted(name)} PROPERTIES {settings})")
    return "\n".join(lines)


def merged(presets, only):
    lines, names = [], []
    for preset in presets:
        for test in selected(preset):
            if only and test["name"] not in only:
                continue
            if "command" not in test:
                raise SystemExit(f"merge_tests: {preset}/{test['name']} is not built")
            keep = {k: v for k, v in properties(test).items()
                    if k in ("ENVIRONMENT", "WORKING_DIRECTORY", "RUN_SERIAL", "SKIP_RETURN_CODE", "COST")}
            names.append(f"{preset}/{test['name']}")
            command = test["command"] + arguments(preset, test["name"])
            lines.append(entry(names[-1], command, keep | {"LABELS": preset, "TIMEOUT": 3600}))
    if not names:
        raise SystemExit("merge_tests: no tests")
    check = [sys.executable, os.path.join(ROOT, "tools", "check_tried.py")]
    check += [] if "mutants" in presets else ["--except", "mutants"]
    lines.append(entry("tried", check, {"DEPENDS": names, "LABELS": "tried"}))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--threaded", action="store_true")
    parser.add_argument("presets", nargs="*")
    args = parser.parse_args()
    if args.threaded:
        print("\n".join(sorted(set(THREADED.values()))))
        return 0
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "CTestTestfile.cmake"), "w", encoding="utf-8") as out:
        out.write(merged(args.presets, args.only))
    return 0


if __name__ == "__main__":
    sys.exit(main())
