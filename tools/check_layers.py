#!/usr/bin/env python3
"""Includes go down only: compares every #include "..." with the table of layers.

usage: check_layers.py [--self-test]
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

BASE = {"base"}
CORE = BASE | {"env", "model"}
STORED = CORE | {"wal", "manifest", "memtable", "segment", "dedupe", "rollup"}
# Folder of src/ -> the folders that it may include beside itself. Public headers (tallystick/) are open to
# model and everything above; base and env may use only what LOW_PUBLIC names.
ALLOWED = {
    "base": set(),
    "env": BASE,
    "model": BASE,
    "wal": CORE,
    "manifest": CORE,
    "memtable": CORE,
    "segment": CORE,
    # `inspect` and `export` tell usageDb's sidecars from ours.
    "dedupe": CORE | {"usagedb"},
    "rollup": CORE | {"segment"},
    "usagedb": CORE,
    "query": STORED | {"usagedb"},
    "engine": STORED | {"usagedb", "query"},
    "server": BASE | {"env"},
    # The readers of single files, for `inspect`.
    "cli": CORE | {"server", "wal", "manifest", "segment", "dedupe", "rollup"},
}
LOW_PUBLIC = {"tallystick/status.h", "tallystick/quantity.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def forbidden(path, text):
    """The includes of the file `path` (relative to the root) that go up or sideways."""
    parts = path.split("/")
    out = []
    for included in INCLUDE.findall(text):
        target = included.split("/")[0]
        if parts[0] == "include":
            good = target == "tallystick"
        else:
            layer = parts[1]
            if layer not in ALLOWED:
                return [f"{path}: the folder {layer} is not in the table of layers"]
            if target == "tallystick":
                good = layer not in ("base", "env") or included in LOW_PUBLIC
            else:
                good = target == layer or target in ALLOWED[layer]
            # A test beside its code may use the test doubles.
            if target == "testing":
                good = path.endswith(("_test.cc", "_fixture.h"))
        if not good:
            out.append(f"{path}: includes {included}")
    return out


def sources():
    for top in ("include", "src"):
        for folder, _, names in sorted(os.walk(os.path.join(ROOT, top))):
            for name in sorted(names):
                if name.endswith((".h", ".cc")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def self_test():
    def faults(path, included):
        return bool(forbidden(path, f'#include <vector>\n#include "{included}"\n'))

    assert not faults("src/wal/a.cc", "wal/b.h") and not faults("src/wal/a.cc", "model/b.h")
    assert not faults("src/wal/a.cc", "tallystick/event.h")
    assert faults("src/wal/a.cc", "engine/b.h") and faults("src/wal/a.cc", "manifest/b.h")
    assert faults("src/base/a.h", "tallystick/event.h")
    assert not faults("src/base/a.h", "tallystick/status.h")
    assert faults("src/server/a.cc", "engine/b.h") and not faults("src/cli/a.cc", "server/b.h")
    assert faults("include/tallystick/a.h", "base/b.h")
    assert faults("src/wal/a.cc", "testing/sim_fs.h") and not faults("src/wal/a_test.cc", "testing/sim_fs.h")
    assert faults("src/new/a.cc", "base/b.h")
    print("check_layers: self test passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    faults, files = [], 0
    for path in sources():
        files += 1
        with open(os.path.join(ROOT, path), encoding="utf-8") as text:
            faults += forbidden(path, text.read())
    print("\n".join(faults + [f"check_layers: {files} files, {len(faults)} faults"]))
    return 1 if faults or not files else 0


if __name__ == "__main__":
    sys.exit(main())
