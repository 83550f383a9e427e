// Lines and CSV records of a stream, with bounded memory.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <vector>

namespace tallystick {

// A line, or a CSV record, longer than this is reported and skipped.
inline constexpr size_t kLineBytesMax = 1 << 20;

// Lines end with LF or CRLF; the last may have no end.
class LineReader {
 public:
  explicit LineReader(std::istream& in) : in_(in) {}

  struct Line {
    uint64_t number = 0;  // from 1
    std::string text;
    bool too_long = false;  // then text is empty
  };
  // none: the end (or a read error: see the stream).
  std::optional<Line> Next();

 private:
  std::istream& in_;
  uint64_t number_ = 0;
};

// Records as RFC 4180 has them: comma, double quotes, "" inside quotes, line ends inside quotes.
// Blank lines between records are skipped.
class CsvReader {
 public:
  explicit CsvReader(std::istream& in) : in_(in) {}

  struct Record {
    uint64_t line = 0;  // where it begins, from 1
    std::vector<std::string> cells;
    std::string fault;  // why it cannot be read, else empty
  };
  std::optional<Record> Next();

 private:
  // One record's characters; the line end is consumed.
  bool ReadRecord(Record& record);

  std::istream& in_;
  uint64_t line_ = 0;  // lines begun
};

}  // namespace tallystick
