#include "server/read_parameters.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/result.h"
#include "base/text.h"
#include "server/time_parse.h"

namespace tallystick {
namespace {

constexpr std::string_view kFilterParameters[] = {"meter_id", "model_id", "product_id"};
constexpr std::string_view kDimensionPrefix = "dimensions.";

// A time that is too far away to be counted in microseconds stays in the far future or past.
int64_t MicrosOfMs(int64_t ms) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max() / 1000;
  return std::clamp(ms, -kMax, kMax) * 1000;
}

}  // namespace

Result<int64_t> RequireTime(const QueryString& query, std::string_view name) {
  TALLY_ASSIGN_OR_RETURN(const std::string_view text, query.Require(name));
  auto time = ParseTime(text);
  if (!time.ok()) return time.status().WithContext(fmt::format("parameter `{}`", name));
  return *time;
}

Result<ReadPoint> ParseReadPoint(const QueryString& query) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  ReadPoint point;
  TALLY_ASSIGN_OR_RETURN(const auto as_of_lsn, query.GetUint("as_of_lsn", 0, kMax));
  if (as_of_lsn) point.as_of_lsn = Lsn{*as_of_lsn};
  TALLY_ASSIGN_OR_RETURN(const auto as_of, query.Get("as_of"));
  if (as_of) {
    TALLY_ASSIGN_OR_RETURN(point.as_of_ms, RequireTime(query, "as_of"));
  }
  TALLY_ASSIGN_OR_RETURN(const auto min_lsn, query.GetUint("min_lsn", 0, kMax));
  point.min_lsn = Lsn{min_lsn.value_or(0)};
  TALLY_RETURN_IF_ERROR(CheckReadPoint(point));
  return point;
}

Status CheckReadPoint(const ReadPoint& point) {
  if (!point.as_of_lsn || !point.as_of_ms) return Status::Ok();
  return Status::InvalidArgument("invalid_parameter",
                                 "only one of `as_of` and `as_of_lsn` can be given");
}

Result<std::optional<Lsn>> ResolveReadPoint(const Db& db, const ReadPoint& point, Lsn& awaited) {
  const Lsn visible = db.VisibleLsn();
  if (visible < point.min_lsn) {
    awaited = point.min_lsn;
    return Status::Unavailable("lsn_not_reached",
                               fmt::format("min_lsn is {}, the newest visible LSN is {}",
                                           point.min_lsn.value, visible.value));
  }
  if (!point.as_of_ms) return point.as_of_lsn;
  TALLY_ASSIGN_OR_RETURN(const Lsn lsn, db.LsnAt(MicrosOfMs(*point.as_of_ms)));
  return std::optional<Lsn>(lsn);
}

Result<std::vector<Filter>> ParseFilters(const QueryString& query) {
  std::vector<Filter> filters;
  for (const auto& [name, value] : query.parameters()) {
    const bool known =
        std::ranges::find(kFilterParameters, std::string_view(name)) != std::end(kFilterParameters);
    if (!known && !name.starts_with(kDimensionPrefix)) continue;
    TALLY_ASSIGN_OR_RETURN(const auto once, query.Get(name));
    filters.push_back({Field::Parse(name), {std::string(once.value())}});
  }
  return filters;
}

Result<std::vector<Field>> ParseGroupBy(std::span<const std::string_view> names) {
  std::vector<Field> fields;
  for (const std::string_view name : names) {
    Field field = Field::Parse(name);
    if (std::ranges::find(fields, field.Name(), &Field::Name) != fields.end()) continue;
    if (fields.size() == kQueryFieldsMax) {
      return Status::InvalidArgument(
          "invalid_parameter", fmt::format("`group_by` has more than {} fields", kQueryFieldsMax));
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

std::vector<std::string_view> SplitList(std::string_view text) {
  std::vector<std::string_view> names;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view name = TrimBlanks(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

}  // namespace tallystick
