#!/usr/bin/env python3
"""Runs a libFuzzer program for a fixed number of inputs.

usage: run_guided.py PROGRAM CORPUS RUNS

Starts from CORPUS (a folder, may be missing), which is not changed: inputs that are found go to PROGRAM.found. The
seed is fixed. Prints `fuzz NAME executions=N`, and fails if nothing was executed.
"""

import os
import re
import subprocess
import sys


def main():
    program, corpus, runs = sys.argv[1:]
    found = program + ".found"
    os.makedirs(found, exist_ok=True)
    folders = [found] + ([corpus] if os.path.isdir(corpus) else [])
    run = subprocess.run([program, f"-runs={runs}", "-seed=1", "-print_final_stats=1", "-max_len=16384",
                          f"-artifact_prefix={program}.", *folders],
                         stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    print(run.stderr[-5000:])
    stats = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
    executions = int(stats[1]) if stats else 0
    line = f"fuzz {os.path.basename(program)} executions={executions}"
    print(line)
    if "TALLY_TRIED_FILE" in os.environ:
        with open(os.environ["TALLY_TRIED_FILE"], "a", encoding="utf-8") as tried:
            tried.write(line + "\n")
    return run.returncode or (0 if executions else 1)


if __name__ == "__main__":
    sys.exit(main())
