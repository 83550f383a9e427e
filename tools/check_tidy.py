#!/usr/bin/env python3
"""House rules that no compiler knows.

usage: check_tidy.py [--self-test | --build BUILD_DIR]

Banned calls (with what to use instead), leftover notes, paths of somebody's machine, one `# Title` a markdown
file, links to files that exist, lines of at most 100 columns in sources, and no test, fuzzer or benchmark that
no target builds.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLUMNS_MAX = 100

# (pattern, what to use instead, folders where it is at home)
BANNED = (
    (r"::(open|openat|pread|pwrite|rename|unlink|mkdir)\s*\(", "env/env.h", ("src/env/",)),
    (r"\b(fsync|fdatasync)\s*\(", "File::Sync", ("src/env/",)),
    (r"\bstd::filesystem\b", "env/env.h", ("src/env/",)),
    (r"\b\w+_clock::now\b", "Env::clock()", ("src/env/",)),
    (r"(?<![\w.>])(s?rand|std::random_device)\s*\(|\bstd::random_device\b", "Env::random()", ("src/env/",)),
    (r"\bstd::j?thread\b(?!::)", "Env::executor()", ("src/env/", "src/server/")),
    (r"\bthrow\b", "Status", ()),
    # What the pointer alone held is gone before the first turn of the loop (until C++23).
    (r"\bfor \([^;()]*[^:]: (?:[^();]|\([^()]*\))*(?<=\))->", "a variable that holds what is gone through", ()),
)
# Built from pieces, so that this file does not complain about itself.
NOTES = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
MACHINE = re.compile("|".join(("/wo" + "rk/", "/ho" + r"me/\w+", "/ro" + "ot/", "/Us" + r"ers/\w+")))
COMMENT = re.compile(r"//.*|\"(?:[^\"\\]|\\.)*\"")


def is_test(path):
    return path.endswith(("_test.cc", "_fuzz.cc", "_bench.cc"))


def banned_calls(path, text):
    if not path.startswith(("src/", "include/")) or is_test(path) or not path.endswith((".h", ".cc")):
        return []
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        code = COMMENT.sub('""', line)
        for pattern, instead, homes in BANNED:
            if re.search(pattern, code) and not path.startswith(tuple(homes) or ("\0",)):
                out.append(f"{path}:{number}: {re.search(pattern, code)[0].strip()}: use {instead}")
    return out


def lines_of(path, text):
    out = []
    source = path.endswith((".h", ".cc", ".py", ".sh", ".cmake")) or path in ("dev", ".ci/run")
    for number, line in enumerate(text.splitlines(), 1):
        if NOTES.search(line):
            out.append(f"{path}:{number}: a note left behind")
        if MACHINE.search(line):
            out.append(f"{path}:{number}: a path of one machine")
        if source and path.endswith((".h", ".cc")) and len(line) > COLUMNS_MAX:
            out.append(f"{path}:{number}: {len(line)} columns")
    return out


def titles(path, text):
    if not path.endswith(".md"):
        return []
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    count = len(re.findall(r"^# ", prose, flags=re.MULTILINE))
    return [] if count == 1 else [f"{path}: {count} titles (# ...), not one"]


def dead_links(path, text, exists):
    """Links of a markdown file to files of the repository that are not there."""
    if not path.endswith(".md"):
        return []
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    return [f"{path}: links to {target}, which does not exist" for target in targets
            if "://" not in target and not exists(os.path.normpath(os.path.join(os.path.dirname(path), target)))]


def unbuilt(paths, build_list):
    """Tests, fuzzers and benchmarks that are in no target of the build."""
    return [f"{p}: in no target" for p in paths if is_test(p) and p not in build_list]


def tracked():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    return [p for p in listed if p and os.path.isfile(os.path.join(ROOT, p))]


def compiled(build):
    """The sources that the build folder has rules for."""
    with open(os.path.join(build, "build.ninja"), encoding="utf-8") as rules:
        return {os.path.relpath(path, ROOT) for path in
                re.findall(r"^build \S+: C\S+ (\S+\.cc)", rules.read(), flags=re.MULTILINE)}


def faults_of(path, text):
    return banned_calls(path, text) + lines_of(path, text) + titles(path, text)


def self_test():
    bad = {"::open(path, 0);": 1, "fsync(fd);": 1, "std::filesystem::remove(p);": 1, "throw 1;": 1,
           "auto t = std::chrono::steady_clock::now();": 1, "std::thread t;": 1, "int x = rand();": 1,
           "std::thread::id id;": 0, "operand(1);": 0, "// fsync(fd) would be wrong": 0,
           "for (auto& s : Current()->segments) {": 1, "for (auto& s : version->segments) f()->g();": 0,
           "for (int i = a ? b : c(); i < n()->size(); ++i) {": 0, 'Log("throw");': 0, "file.open(1);": 0}
    for line, count in bad.items():
        assert len(faults_of("src/engine/a.cc", line)) == count, line
    assert not faults_of("src/env/a.cc", "fsync(fd);") and not faults_of("src/server/a.cc", "std::thread t;")
    assert not faults_of("bench/a.cc", "fsync(fd);") and not faults_of("src/wal/a_test.cc", "fsync(fd);")
    assert faults_of("src/a.cc", "// TO" + "DO: later") and faults_of("README.md", "# A\nsee /wo" + "rk/x\n")
    assert faults_of("src/a.cc", "x" * 101) and not faults_of("src/a.cc", "x" * 100)
    assert faults_of("docs/a.md", "text\n") and faults_of("docs/a.md", "# A\n# B\n")
    assert not faults_of("docs/a.md", "# A\n```\n# a comment\n```\n")
    assert dead_links("docs/a.md", "[x](../b.md#c) [y](http://h/z) [z](#here)", {"b.md"}.__contains__) == []
    assert len(dead_links("docs/a.md", "[x](b.md)", {"b.md"}.__contains__)) == 1
    assert unbuilt(["a/b_test.cc", "a/c.cc"], set()) == ["a/b_test.cc: in no target"]
    assert not unbuilt(["a/b_test.cc"], {"a/b_test.cc"})
    print("check_tidy: self test passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    paths, faults = tracked(), []
    for path in paths:
        if path.startswith(("data/", "testdata/", "fuzz/corpus/")) or path == "LICENSE":
            continue
        try:
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                text = file.read()
            faults += faults_of(path, text) + dead_links(path, text, lambda p: os.path.exists(os.path.join(ROOT, p)))
        except UnicodeDecodeError:
            faults.append(f"{path}: not UTF-8")
    if len(sys.argv) == 3 and sys.argv[1] == "--build":
        faults += unbuilt(paths, compiled(sys.argv[2]))
    print("\n".join(faults + [f"check_tidy: {len(paths)} files, {len(faults)} faults"]))
    return 1 if faults or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
