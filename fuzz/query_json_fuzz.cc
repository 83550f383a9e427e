// The body of a query, on any bytes.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "server/query_json.h"

namespace tallystick {
namespace {

constexpr std::string_view kRefusals[] = {"invalid_json",   "invalid_shape", "invalid_time",
                                          "invalid_metric", "invalid_order", "invalid_parameter"};

// What was read can be run: every place that a column or an order names is there.
void CheckRead(const QueryJson& read) {
  const UsageQuery& query = read.query;
  TALLY_CHECK(query.account_id.has_value() && IsUtf8(*query.account_id));
  TALLY_CHECK(!(read.point.as_of_lsn && read.point.as_of_ms));
  TALLY_CHECK(query.group_by.size() <= kQueryFieldsMax && query.metrics.size() <= kQueryFieldsMax);
  TALLY_CHECK(query.group_limit.value_or(1) > 0);
  const auto in_range = [&query](GroupOrder::By by, uint32_t index) {
    if (by == GroupOrder::By::kKey) return index < query.group_by.size();
    if (by == GroupOrder::By::kMetric) return index < query.metrics.size();
    return index == 0;
  };
  for (const LineColumn& column : read.columns) {
    TALLY_CHECK(IsUtf8(column.name) && in_range(column.value, column.index));
    TALLY_CHECK(std::ranges::count(read.columns, column.name, &LineColumn::name) == 1);
  }
  for (const GroupOrder& order : query.order) TALLY_CHECK(in_range(order.by, order.index));
  const std::string line = [&] {
    UsageLine values;
    values.keys.resize(query.group_by.size());
    values.metrics.resize(query.metrics.size());
    std::string out;
    LineTable(read.columns).AppendJson(out, values);
    return out;
  }();
  TALLY_CHECK(IsUtf8(line) && line.starts_with('{') && line.ends_with('}'));
}

}  // namespace
}  // namespace tallystick

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto read = ParseQueryJson(input);
  if (!read.ok()) {
    TALLY_CHECK(std::ranges::find(kRefusals, read.status().reason()) != std::end(kRefusals));
    return 0;
  }
  TALLY_CHECK(IsUtf8(input));
  CheckRead(*read);
  // Blanks around it change nothing, and text behind it is seen.
  TALLY_CHECK(ParseQueryJson(" " + std::string(input) + "\n").ok());
  TALLY_CHECK(ParseQueryJson(std::string(input) + "0").status().reason() == "invalid_json");
  return 0;
}
