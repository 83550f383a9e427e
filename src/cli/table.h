// Aligned tables for people.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tallystick {

// The text with '?' for each control character (of UTF-8: U+0000..001F and U+007F..009F), so that
// it can neither break a line nor reach the terminal.
std::string Printable(std::string_view text);

// How many columns a terminal needs for it: its code points.
size_t Columns(std::string_view text);

// Columns are as wide as their widest cell (in code points); cells that look like numbers stand
// right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  // REQUIRES: as many cells as the header has.
  void Add(std::vector<std::string> row);
  size_t rows() const { return rows_.size(); }

  // Header, rule, rows; each line ends with '\n' and has no blanks before it. Cells are Printable.
  std::string ToString() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tallystick
