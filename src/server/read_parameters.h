// The query parameters that several reads share. docs/api.md has their meaning.
//
// Thread rule: pure functions, but for ResolveReadPoint.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/query_string.h"
#include "tallystick/db.h"
#include "tallystick/query.h"
#include "tallystick/status.h"

namespace tallystick {

// A point in time, epoch ms. kInvalidArgument `missing_parameter`, `invalid_time`.
Result<int64_t> RequireTime(const QueryString& query, std::string_view name);

// Which state of the database a read is about: `as_of_lsn` or `as_of`, and `min_lsn`.
struct ReadPoint {
  std::optional<Lsn> as_of_lsn;
  std::optional<int64_t> as_of_ms;  // epoch; not together with as_of_lsn
  Lsn min_lsn;                      // to be visible first
};

Result<ReadPoint> ParseReadPoint(const QueryString& query);
// kInvalidArgument `invalid_parameter` where both ways are given.
Status CheckReadPoint(const ReadPoint& point);

// The LSN to read at; none: the newest. May block (Db::LsnAt). kUnavailable: `lsn_not_reached`,
// and `awaited` is set to it, if min_lsn is not visible yet; what LsnAt gives.
Result<std::optional<Lsn>> ResolveReadPoint(const Db& db, const ReadPoint& point, Lsn& awaited);

// product_id, meter_id, model_id, dimensions.NAME: each at most once.
Result<std::vector<Filter>> ParseFilters(const QueryString& query);

// At most this many group keys, metrics and the like in one query.
inline constexpr size_t kQueryFieldsMax = 64;

// The fields of `group_by`; one that is named again is dropped. kInvalidArgument
// `invalid_parameter` if there are too many.
Result<std::vector<Field>> ParseGroupBy(std::span<const std::string_view> names);

// "meter_id, day": the names between commas, trimmed; blank ones are dropped.
std::vector<std::string_view> SplitList(std::string_view text);

}  // namespace tallystick
