#!/usr/bin/env python3
"""Runs the built tests of several presets in one ctest run.

usage: run_tests.py [--only NAME ...] PRESET...

Prints what each layer tried, then the test runner's own summary, then `N passed, N failed`.
"""

import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("presets", nargs="+")
    args = parser.parse_args()
    out = os.path.join(ROOT, "build", "all")
    only = args.only
    subprocess.run([sys.executable, os.path.join(ROOT, "tools", "merge_tests.py"), "--out", out, *args.presets]
                   + (["--only", *only] if only else []), check=True)

    tried = os.path.join(out, "tried.txt")
    open(tried, "w", encoding="utf-8").close()
    command = ["ctest", "--test-dir", out, "--output-on-failure", "-j", str(os.cpu_count() or 1)]
    # A part of the tests cannot have tried every layer.
    if only:
        command += ["-E", "^tried$"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                           env=dict(os.environ, TALLY_TRIED_FILE=tried))
    summary, counts = [], None
    for line in run.stdout:
        found = re.match(r"\d+% tests passed, (\d+) tests failed out of (\d+)", line)
        if found:
            failed, total = int(found[1]), int(found[2])
            counts = (total - failed, failed)
        if counts:
            summary.append(line)
        else:
            print(line, end="", flush=True)
    code = run.wait()

    print("\nTried:")
    with open(tried, encoding="utf-8") as lines:
        print("".join("  " + line for line in sorted(lines)))
    print("".join(summary))
    passed, failed = counts or (0, 0)
    print(f"{passed} passed, {failed} failed")
    return code if code else (0 if passed else 1)


if __name__ == "__main__":
    sys.exit(main())
