#include "cli/table.h"

#include <algorithm>

#include "base/check.h"

namespace tallystick {
namespace {

bool LooksLikeNumber(const std::string& text) {
  const size_t from = text.starts_with('-') ? 1 : 0;
  return text.size() > from && text.find_first_not_of("0123456789.,", from) == std::string::npos;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (byte < 0x20 || byte == 0x7f) {
      out += '?';
    } else if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {
      out += '?';
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

size_t Columns(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](unsigned char c) { return (c & 0xc0) != 0x80; }));
}

void Table::Add(std::vector<std::string> row) {
  TALLY_CHECK(row.size() == header_.size());
  for (std::string& cell : row) cell = Printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::ToString() const {
  std::vector<size_t> width(header_.size());
  std::vector<bool> right(header_.size(), true);
  for (size_t i = 0; i < header_.size(); ++i) {
    width[i] = Columns(header_[i]);
    for (const auto& row : rows_) {
      width[i] = std::max(width[i], Columns(row[i]));
      if (!row[i].empty() && !LooksLikeNumber(row[i])) right[i] = false;
    }
    if (rows_.empty()) right[i] = false;
  }

  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string padding(width[i] - Columns(cells[i]), ' ');
      if (i > 0) text += "  ";
      text += right[i] ? padding + cells[i] : cells[i] + padding;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + '\n';
  };
  line(header_);
  std::vector<std::string> rule;
  for (const size_t columns : width) rule.emplace_back(columns, '-');
  line(rule);
  for (const auto& row : rows_) line(row);
  return out;
}

}  // namespace tallystick
