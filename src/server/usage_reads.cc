#include "server/usage_reads.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/result.h"
#include "server/explain_json.h"
#include "server/json_writer.h"
#include "server/read_parameters.h"

namespace tallystick {
namespace {

// What two ways of adding up are compared by: fine enough that a row in a wrong place is seen.
constexpr std::string_view kVerifyGroups[] = {
    "product_id", "meter_id", "model_id", "subscription_id", "source", "unit", "kind", "day"};

Result<std::optional<std::string>> Account(const ReadRequest& request) {
  if (request.route != Route::kUsageAll) {
    return std::optional<std::string>(std::string(request.parameter));
  }
  TALLY_ASSIGN_OR_RETURN(const auto account, request.query.Get("account_id"));
  return account ? std::optional<std::string>(std::string(*account)) : std::nullopt;
}

Result<UsageQuery> ParseUsage(const ReadRequest& request, std::span<const LineColumn> columns) {
  const QueryString& parameters = request.query;
  UsageQuery query;
  query.cancelled = request.context.cancelled;
  TALLY_ASSIGN_OR_RETURN(query.account_id, Account(request));
  TALLY_ASSIGN_OR_RETURN(query.from_ms, RequireTime(parameters, "from"));
  TALLY_ASSIGN_OR_RETURN(query.to_ms, RequireTime(parameters, "to"));
  TALLY_ASSIGN_OR_RETURN(query.filters, ParseFilters(parameters));
  TALLY_ASSIGN_OR_RETURN(const auto time_zone, parameters.Get("time_zone"));
  query.time_zone = time_zone.value_or("");
  TALLY_ASSIGN_OR_RETURN(const auto order, parameters.Get("group_order"));
  for (const std::string_view text : SplitList(order.value_or(""))) {
    TALLY_ASSIGN_OR_RETURN(const GroupOrder by, ParseGroupOrder(text, columns));
    query.order.push_back(by);
  }
  TALLY_ASSIGN_OR_RETURN(
      query.group_limit,
      parameters.GetUint("group_limit", 1, std::numeric_limits<uint64_t>::max()));
  // A hint: every way gives the same sums, so any other value will do too.
  TALLY_ASSIGN_OR_RETURN(const auto source, parameters.Get("source"));
  if (source == "raw") query.path = ReadPath::kRows;
  return query;
}

}  // namespace

Result<Listing> ReadUsage(const ReadRequest& request, ReadReply& reply) {
  TALLY_ASSIGN_OR_RETURN(const auto names, request.query.Get("group_by"));
  TALLY_ASSIGN_OR_RETURN(std::vector<Field> group_by, ParseGroupBy(SplitList(names.value_or(""))));
  std::vector<LineColumn> columns = UsageColumns(group_by);
  TALLY_ASSIGN_OR_RETURN(UsageQuery query, ParseUsage(request, columns));
  query.group_by = std::move(group_by);
  TALLY_ASSIGN_OR_RETURN(const ReadPoint point, ParseReadPoint(request.query));
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, ResolveReadPoint(request.db, point, reply.awaited));
  TALLY_ASSIGN_OR_RETURN(UsageResult result, request.db.Aggregate(query));
  reply.memory_bytes = result.memory_bytes;

  LineTable table(std::move(columns));
  Listing listing{.format = request.context.format, .lsn = result.lsn};
  if (listing.format == RowFormat::kCsv) {
    table.AppendCsvHeader(listing.head);
  } else {
    listing.head = "{";
    if (query.group_limit) AppendJsonUintField(listing.head, "groups", result.groups);
    AppendJsonKey(listing.head, "lines");
    listing.head += '[';
  }
  listing.rows = std::make_unique<LineRows>(std::move(result), std::move(table), listing.format,
                                            LineRows::Tail{.watermark = true});
  return listing;
}

Result<bool> LineRows::AppendNext(std::string& out) {
  if (next_ == result_.lines.size()) return false;
  const UsageLine& line = result_.lines[next_++];
  if (format_ == RowFormat::kCsv) {
    table_.AppendCsv(out, line);
  } else {
    table_.AppendJson(out, line);
  }
  return true;
}

void LineRows::AppendTail(std::string& out) const {
  if (tail_.groups) AppendJsonUintField(out, "groups", result_.groups);
  AppendJsonUintField(out, "lsn", result_.lsn.value);
  AppendJsonKey(out, "rows");
  AppendRowSourcesJson(out, result_.rows);
  if (tail_.watermark) AppendJsonIntField(out, "watermark_ms", result_.watermark_ms);
}

Result<Answer> ReadVerify(const ReadRequest& request, ReadReply& reply) {
  UsageQuery query;
  query.account_id = request.parameter;
  query.cancelled = request.context.cancelled;
  TALLY_ASSIGN_OR_RETURN(query.from_ms, RequireTime(request.query, "from"));
  TALLY_ASSIGN_OR_RETURN(query.to_ms, RequireTime(request.query, "to"));
  TALLY_ASSIGN_OR_RETURN(query.group_by, ParseGroupBy(kVerifyGroups));
  TALLY_ASSIGN_OR_RETURN(const ReadPoint point, ParseReadPoint(request.query));
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, ResolveReadPoint(request.db, point, reply.awaited));
  TALLY_ASSIGN_OR_RETURN(const PathComparison comparison, request.db.ComparePaths(query));
  reply.faults = comparison.faults;
  reply.memory_bytes = std::max({comparison.rollups.memory_bytes, comparison.rows.memory_bytes,
                                 comparison.each.memory_bytes});

  return Answer::Json(VerifyToJson(query, comparison));
}

}  // namespace tallystick
