// The answer begins with the corrections, which are events of any number and come row by row; all
// behind them, bounded by the memory of a query, is made beforehand.
#include "server/explain_reads.h"

#include "base/result.h"
#include "server/explain_json.h"
#include "server/json_writer.h"
#include "server/read_parameters.h"

namespace tallystick {
namespace {

// The corrections and retractions, each with its original.
class CorrectionRows final : public RowSource {
 public:
  CorrectionRows(const Db& db, EventStream events, std::string tail)
      : db_(db), events_(std::move(events)), tail_(std::move(tail)) {}

  Result<bool> AppendNext(std::string& out) override {
    TALLY_ASSIGN_OR_RETURN(const std::optional<Event> event, events_.Next());
    if (!event) return false;
    TALLY_ASSIGN_OR_RETURN(const EventLookup lookup,
                           db_.GetEvent(event->event_id, event->account_id, events_.lsn()));
    AppendEventJson(out, *event, lookup.original);
    return true;
  }

  void AppendTail(std::string& out) const override { out += tail_; }

 private:
  const Db& db_;
  EventStream events_;
  const std::string tail_;
};

}  // namespace

Result<Listing> ReadExplain(const ReadRequest& request, ReadReply& reply) {
  UsageQuery query;
  query.account_id = request.parameter;
  query.cancelled = request.context.cancelled;
  query.explain = true;
  TALLY_ASSIGN_OR_RETURN(query.from_ms, RequireTime(request.query, "from"));
  TALLY_ASSIGN_OR_RETURN(query.to_ms, RequireTime(request.query, "to"));
  TALLY_ASSIGN_OR_RETURN(query.group_by, ParseGroupBy(kExplainGroups));
  TALLY_ASSIGN_OR_RETURN(const bool analyze, request.query.GetBool("analyze"));
  TALLY_ASSIGN_OR_RETURN(const ReadPoint point, ParseReadPoint(request.query));
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, ResolveReadPoint(request.db, point, reply.awaited));
  TALLY_ASSIGN_OR_RETURN(const UsageResult result, request.db.Aggregate(query));
  reply.memory_bytes = result.memory_bytes;

  EventsQuery corrections;
  corrections.account_id = query.account_id;
  corrections.from_ms = query.from_ms;
  corrections.to_ms = query.to_ms;
  corrections.filters = {{Field::Parse("kind"), {"Correction", "Retraction"}}};
  corrections.as_of_lsn = result.lsn;
  corrections.cancelled = query.cancelled;
  TALLY_ASSIGN_OR_RETURN(EventStream events, request.db.ListEvents(corrections));

  Listing listing{.head = "{", .lsn = result.lsn};
  AppendJsonTextField(listing.head, "account_id", request.parameter);
  AppendJsonKey(listing.head, "corrections");
  listing.head += '[';
  listing.rows = std::make_unique<CorrectionRows>(request.db, std::move(events),
                                                  ExplainTailToJson(query, result, analyze));
  return listing;
}

}  // namespace tallystick
