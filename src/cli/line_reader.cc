#include "cli/line_reader.h"

namespace tallystick {
namespace {

constexpr int kEnd = std::char_traits<char>::eof();

}  // namespace

std::optional<LineReader::Line> LineReader::Next() {
  std::streambuf& in = *in_.rdbuf();
  if (in.sgetc() == kEnd) return std::nullopt;
  Line line;
  line.number = ++number_;
  for (int c = in.sbumpc(); c != kEnd && c != '\n'; c = in.sbumpc()) {
    if (line.text.size() < kLineBytesMax) {
      line.text.push_back(static_cast<char>(c));
    } else {
      line.too_long = true;
    }
  }
  if (line.too_long) line.text.clear();
  if (line.text.ends_with('\r')) line.text.pop_back();
  return line;
}

std::optional<CsvReader::Record> CsvReader::Next() {
  while (in_.rdbuf()->sgetc() != kEnd) {
    Record record;
    record.line = ++line_;
    if (ReadRecord(record)) return record;
  }
  return std::nullopt;
}

// Returns false for a blank line.
bool CsvReader::ReadRecord(Record& record) {
  std::streambuf& in = *in_.rdbuf();
  std::string cell;
  size_t bytes = 0;
  bool quoted = false;  // inside quotes
  bool was_quoted = false;
  const auto end_cell = [&] {
    record.cells.push_back(std::move(cell));
    cell.clear();
    was_quoted = false;
  };
  for (int c = in.sbumpc();; c = in.sbumpc()) {
    if (c == kEnd) {
      if (quoted) record.fault = "a quote is not closed";
      break;
    }
    if (++bytes > kLineBytesMax) {
      record.fault = "the record is too long";
      cell.clear();
    }
    if (quoted) {
      if (c == '\n') ++line_;
      if (c != '"') {
        cell.push_back(static_cast<char>(c));
      } else if (in.sgetc() == '"') {
        in.sbumpc();
        cell.push_back('"');
      } else {
        quoted = false;
      }
    } else if (c == '\n') {
      break;
    } else if (c == ',') {
      end_cell();
    } else if (c == '"' && cell.empty() && !was_quoted) {
      quoted = was_quoted = true;
    } else if (c == '\r' && (in.sgetc() == '\n' || in.sgetc() == kEnd)) {
      continue;
    } else if (was_quoted) {
      record.fault = "text behind a closing quote";
    } else {
      cell.push_back(static_cast<char>(c));
    }
  }
  const bool blank = record.cells.empty() && cell.empty() && !was_quoted && record.fault.empty();
  end_cell();
  return !blank;
}

}  // namespace tallystick
