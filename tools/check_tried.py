#!/usr/bin/env python3
"""Fails if a layer of the tests tried nothing.

usage: check_tried.py [--except LAYER ...]

Test programs append lines such as `crash_matrix recoveries=123456` to the file named by TALLY_TRIED_FILE. Every
layer below must have such a line, and no line may have a zero, but for the counts that ought to be zero.
"""

import os
import re
import sys

LAYERS = ("crash_matrix", "simulation", "faults", "kills", "fuzz", "bit_rot", "mutants", "metamorphic",
          "protocol_model", "flush_model", "sidecar_faults", "scrub", "disk_full", "repair", "compaction_faults")
ZERO_IS_GOOD = ("seed", "lost", "doubled", "missed", "failed", "torn")


def complaints(lines, excepted=()):
    seen, out = set(), []
    for line in lines:
        words = line.split()
        if not words:
            continue
        seen.add(words[0])
        counts = re.findall(r"(\w+)=(\d+)\b", line)
        if not counts:
            out.append(f"no counts: {line.strip()}")
        out += [f"zero: {line.strip()}" for name, count in counts
                if int(count) == 0 and name not in ZERO_IS_GOOD]
    out += [f"missing layer: {layer}" for layer in LAYERS if layer not in seen and layer not in excepted]
    return out


def self_test():
    good = [f"{layer} tried=3 lost=0" for layer in LAYERS]
    assert not complaints(good)
    assert complaints(good[1:]) == ["missing layer: crash_matrix"]
    assert not complaints(good[1:], ["crash_matrix"])
    assert complaints(good[1:] + ["crash_matrix recoveries=0"]) == ["zero: crash_matrix recoveries=0"]
    assert complaints(good + ["kills"]) == ["no counts: kills"]
    print("check_tried: self test passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    path = os.environ.get("TALLY_TRIED_FILE", "")
    try:
        with open(path, encoding="utf-8") as tried:
            lines = tried.readlines()
    except OSError as error:
        print(f"check_tried: {error}")
        return 1
    faults = complaints(lines, sys.argv[2:])
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
