// Golden texts: what a test produced, held against a file of the source tree. With the environment
// variable TALLY_REWRITE_GOLDEN set the file is written instead.
#pragma once

#include <string>

namespace tallystick {

// Empty: equal (or rewritten). Else what differs, with line number. `path` is relative to the
// source tree.
std::string CompareGolden(const std::string& path, const std::string& text);

// 16 bytes a line, offset in front, printable characters behind.
std::string HexDump(const void* data, size_t bytes);

}  // namespace tallystick
