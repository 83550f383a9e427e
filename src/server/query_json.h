// The body of POST /v1/query/json: read and checked, not yet run.
//
// Thread rule: pure functions.
#pragma once

#include <string_view>
#include <vector>

#include "server/line_table.h"
#include "server/read_parameters.h"
#include "tallystick/query.h"
#include "tallystick/status.h"

namespace tallystick {

// A body may have this many bytes, as sent and expanded; beyond: 413.
inline constexpr size_t kQueryBodyBytesMax = 2 << 20;

struct QueryJson {
  // Of the lines; what whole events are picked by, where there are no columns. `as_of_lsn` is not
  // set: see `point`.
  UsageQuery query;
  // What each line is printed as: the group keys and the metrics. Empty: events are asked for.
  std::vector<LineColumn> columns;
  bool by_hour = false;  // events are added up by hour (of lines: meaningless)
  ReadPoint point;
};

// Reads any text. Keys that are none of the query's are ignored, as usageDb does. kInvalidArgument:
//   invalid_json       not JSON; the message has the position
//   invalid_shape      no object, or a key that is missing, repeated or of a wrong type; names it
//   invalid_time       `from`, `to` or `as_of`
//   invalid_metric     an unknown function, or one that cannot be applied to its field
//   invalid_order      `group_order` names nothing of the answer
//   invalid_parameter  both `as_of` and `as_of_lsn`, or too many fields
Result<QueryJson> ParseQueryJson(std::string_view text);

}  // namespace tallystick
