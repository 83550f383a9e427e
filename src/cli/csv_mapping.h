// From CSV records to events as JSON lines, by a mapping that the user gives.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tallystick/status.h"

namespace tallystick {

// Fields that a mapping can fill: those of an event, `dimensions.NAME`, `correction_ref.NAME`.
struct CsvMapping {
  std::vector<std::string> maps;  // FIELD=COLUMN
  std::vector<std::string> sets;  // FIELD=VALUE
  std::string id_format;          // "trace-{row}-in"; {row} = data row from 1, {COLUMN} = its cell
  bool assume_utc = false;        // times without a zone are UTC
};

class CsvToJson {
 public:
  // Checks everything that can be checked without the file. kInvalidArgument `invalid_mapping`.
  static Result<CsvToJson> Create(const CsvMapping& mapping);

  // Finds the columns. kInvalidArgument `invalid_mapping`: one does not exist, or twice.
  Status SetHeader(std::span<const std::string> columns);

  // Appends the event, one JSON object. `row` counts data rows from 1. kInvalidArgument
  // `invalid_row`: the wrong number of cells, or a time that cannot be read.
  Status AppendEvent(uint64_t row, std::span<const std::string> cells, std::string& out) const;

 private:
  // Literal text, then a column or the row number; a sequence of these makes a value.
  struct Piece {
    enum class Kind : uint8_t { kText, kColumn, kRow };
    Kind kind = Kind::kText;
    std::string text;  // of the text, or the column's name
    size_t column = 0;
  };
  struct Target {
    std::string field;  // "quantity"; for grouped ones the part behind the dot
    std::vector<Piece> value;
    bool required = false;
    bool is_time = false;
  };

  Status AddTarget(std::string_view field, std::vector<Piece> value);
  std::string ValueOf(const Target& target, uint64_t row, std::span<const std::string> cells) const;
  Status AppendField(const Target& target, uint64_t row, std::span<const std::string> cells,
                     std::string& out) const;

  std::vector<Target> plain_;
  std::vector<Target> dimensions_;
  std::vector<Target> correction_ref_;
  size_t columns_ = 0;
  bool assume_utc_ = false;
};

}  // namespace tallystick
