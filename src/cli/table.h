// Aligned tables for people.
//
// Thread rule: one thread at a time.
#pragma once

#include <string>
#include <vector>

namespace tallystick {

// Columns are as wide as their widest cell (in code points); cells that look like numbers stand
// right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  // REQUIRES: as many cells as the header has.
  void Add(std::vector<std::string> row);
  size_t rows() const { return rows_.size(); }

  // Header, rule, rows; each line ends with '\n' and has no blanks before it. Control characters
  // print as '?', so that no cell can break the table or the terminal.
  std::string ToString() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tallystick
