#include "server/line_table.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "base/utf8.h"
#include "server/csv_writer.h"
#include "server/json_writer.h"

namespace tallystick {
namespace {

using By = GroupOrder::By;

struct Sum {
  std::string_view name;
  By value;
};
constexpr Sum kSums[] = {{"corrections", By::kCorrections},
                         {"count", By::kCount},
                         {"quantity", By::kQuantity},
                         {"retractions", By::kRetractions},
                         {"usage", By::kUsage}};

// null: a metric that no row has a value for. Not of kCount.
const std::string* TextOf(const UsageLine& line, const LineColumn& column) {
  switch (column.value) {
    case By::kKey:
      return &line.keys[column.index];
    case By::kQuantity:
      return &line.quantity;
    case By::kUsage:
      return &line.usage;
    case By::kCorrections:
      return &line.corrections;
    case By::kRetractions:
      return &line.retractions;
    case By::kMetric: {
      const std::optional<std::string>& value = line.metrics[column.index];
      return value ? &*value : nullptr;
    }
    case By::kCount:
      break;
  }
  TALLY_CHECK(false);
}

}  // namespace

std::vector<LineColumn> KeyColumns(std::span<const Field> group_by) {
  std::vector<LineColumn> columns;
  for (uint32_t i = 0; i < group_by.size(); ++i) {
    columns.push_back({.name = group_by[i].Name(), .value = By::kKey, .index = i});
  }
  return columns;
}

std::vector<LineColumn> UsageColumns(std::span<const Field> group_by) {
  std::vector<LineColumn> columns = KeyColumns(group_by);
  for (LineColumn& key : columns) {
    if (std::ranges::find(kSums, key.name, &Sum::name) != std::end(kSums)) {
      key.name = "dimensions." + key.name;
    }
  }
  for (const Sum& sum : kSums) {
    columns.push_back({.name = std::string(sum.name), .value = sum.value});
  }
  return columns;
}

Result<GroupOrder> ParseGroupOrder(std::string_view text, std::span<const LineColumn> columns) {
  GroupOrder order;
  order.descending = text.starts_with('-');
  const std::string_view name = text.substr(order.descending ? 1 : 0);
  auto column = std::ranges::find(columns, name, &LineColumn::name);
  if (column == columns.end()) {
    column = std::ranges::find(columns, Field::Parse(name).Name(), &LineColumn::name);
  }
  if (column == columns.end()) {
    return Status::InvalidArgument(
        "invalid_order",
        fmt::format("`group_order`: `{}` is no group key and no sum of the answer", Shown(name)));
  }
  order.by = column->value;
  order.index = column->index;
  return order;
}

LineTable::LineTable(std::vector<LineColumn> columns) {
  std::ranges::sort(columns, {}, &LineColumn::name);
  for (LineColumn& column : columns) {
    std::string key;
    AppendJsonString(key, column.name);
    key += ':';
    columns_.push_back({std::move(column), std::move(key)});
  }
}

void LineTable::AppendJson(std::string& out, const UsageLine& line) const {
  out += '{';
  for (const auto& [column, json_key] : columns_) {
    if (out.back() != '{') out += ',';
    out += json_key;
    if (column.value == By::kCount) {
      AppendJsonUint(out, line.count);
      continue;
    }
    const std::string* const text = TextOf(line, column);
    if (text == nullptr) {
      out += "null";
    } else if (column.number) {
      out += *text;
    } else {
      AppendJsonString(out, *text);
    }
  }
  out += '}';
}

void LineTable::AppendCsvHeader(std::string& out) const {
  for (const auto& [column, json_key] : columns_) {
    if (&column != &columns_.front().column) out += ',';
    AppendCsvText(out, column.name);
  }
  out += kCsvLineEnd;
}

void LineTable::AppendCsv(std::string& out, const UsageLine& line) const {
  for (const auto& [column, json_key] : columns_) {
    if (&column != &columns_.front().column) out += ',';
    if (column.value == By::kCount) {
      AppendJsonUint(out, line.count);
    } else if (const std::string* const text = TextOf(line, column)) {
      AppendCsvText(out, *text);
    }
  }
  out += kCsvLineEnd;
}

}  // namespace tallystick
