#include "server/query_json_read.h"

#include <memory>

#include "base/result.h"
#include "server/hour_rows.h"
#include "server/line_table.h"
#include "server/list_reads.h"
#include "server/query_json.h"
#include "server/usage_reads.h"

namespace tallystick {
namespace {

constexpr std::string_view kJsonHead = R"({"data":[)";

Result<Listing> ReadWholeEvents(const ReadRequest& request, const QueryJson& body) {
  EventsQuery query;
  query.account_id = body.query.account_id;
  query.from_ms = body.query.from_ms;
  query.to_ms = body.query.to_ms;
  query.filters = body.query.filters;
  query.as_of_lsn = body.query.as_of_lsn;
  query.cancelled = body.query.cancelled;
  TALLY_ASSIGN_OR_RETURN(EventStream events, request.db.ListEvents(query));
  const RowFormat format = request.context.format;
  Listing listing{.format = format, .head = EventRows::Head(format, "data"), .lsn = events.lsn()};
  if (body.by_hour) {
    listing.rows = std::make_unique<HourRows>(std::move(events), format);
  } else {
    listing.rows = std::make_unique<EventRows>(std::move(events), format, std::nullopt);
  }
  return listing;
}

Result<Listing> ReadLines(const ReadRequest& request, const QueryJson& body, ReadReply& reply) {
  TALLY_ASSIGN_OR_RETURN(UsageResult result, request.db.Aggregate(body.query));
  reply.memory_bytes = result.memory_bytes;
  LineTable table(body.columns);
  Listing listing{.format = request.context.format, .lsn = result.lsn};
  if (listing.format == RowFormat::kCsv) {
    table.AppendCsvHeader(listing.head);
  } else {
    listing.head = kJsonHead;
  }
  const LineRows::Tail tail{.groups = body.query.group_limit.has_value()};
  listing.rows =
      std::make_unique<LineRows>(std::move(result), std::move(table), listing.format, tail);
  return listing;
}

}  // namespace

Result<Listing> ReadQueryJson(const ReadRequest& request, ReadReply& reply) {
  TALLY_ASSIGN_OR_RETURN(QueryJson body, ParseQueryJson(request.context.body));
  body.query.cancelled = request.context.cancelled;
  TALLY_ASSIGN_OR_RETURN(body.query.as_of_lsn,
                         ResolveReadPoint(request.db, body.point, reply.awaited));
  return body.columns.empty() ? ReadWholeEvents(request, body) : ReadLines(request, body, reply);
}

}  // namespace tallystick
