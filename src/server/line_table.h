// LineTable: prints lines of sums, as JSON objects or as CSV, with the columns that were asked for.
//
// Thread rule: immutable once made.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tallystick/query.h"
#include "tallystick/status.h"

namespace tallystick {

struct LineColumn {
  std::string name;
  GroupOrder::By value = GroupOrder::By::kKey;  // what of the line
  uint32_t index = 0;                           // of a key or a metric
  bool number = false;                          // a metric that is printed bare: a count
};

// The group keys, each under its own name.
std::vector<LineColumn> KeyColumns(std::span<const Field> group_by);

// The group keys and "corrections", "count", "quantity", "retractions", "usage". A group key that
// is named like one of these is named "dimensions.NAME".
std::vector<LineColumn> UsageColumns(std::span<const Field> group_by);

// One part of a `group_order`: the name of a column, '-' before it for descending. kInvalidArgument
// `invalid_order`.
Result<GroupOrder> ParseGroupOrder(std::string_view text, std::span<const LineColumn> columns);

class LineTable {
 public:
  // In any order; names are distinct.
  explicit LineTable(std::vector<LineColumn> columns);

  // {"corrections":"0","count":2,"meter_id":"t","quantity":"12.5","retractions":"0","usage":"12.5"}
  // A metric without a value is null.
  void AppendJson(std::string& out, const UsageLine& line) const;

  void AppendCsvHeader(std::string& out) const;
  void AppendCsv(std::string& out, const UsageLine& line) const;

 private:
  struct Column {
    LineColumn column;
    std::string json_key;  // `"name":`
  };
  std::vector<Column> columns_;  // by name
};

}  // namespace tallystick
