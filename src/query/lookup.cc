#include "query/lookup.h"

#include "base/check.h"
#include "base/result.h"
#include "query/key_lookup.h"
#include "query/row_filter.h"

namespace tallystick {
namespace {

uint64_t CountConflicts(const View& view, const RowView& event, Lsn lsn) {
  uint64_t count = 0;
  for (const auto& memtable : *view.memtables) {
    memtable->ForEachQuarantined(lsn, [&](Lsn, const RecordView& record) {
      if (CanonicalEventId(record.canonical) != event.event_id) return;
      if (view.scope == IdentityScope::kAccount &&
          CanonicalAccountId(record.canonical) != event.account_id) {
        return;
      }
      ++count;
    });
  }
  return count;
}

}  // namespace

Result<EventLookup> GetEvent(const View& view, std::string_view event_id,
                             std::string_view account_id, std::optional<Lsn> as_of_lsn) {
  TALLY_ASSIGN_OR_RETURN(const Lsn lsn, ResolveLsn(view, as_of_lsn));
  if (view.scope == IdentityScope::kAccount && account_id.empty()) {
    return Status::InvalidArgument("account_id_required",
                                   "account_id is required: here an event id means one event only "
                                   "together with its account");
  }
  const auto found = FindEvent(view, account_id, event_id, lsn);
  RowView row;
  if (found.has_value()) {
    TALLY_CHECK(DecodeCanonical(found->memtable->Record(found->lsn).canonical, &row));
  }
  if (!found.has_value() || (!account_id.empty() && row.account_id != account_id)) {
    return Status::NotFound("event_not_found",
                            "there is no event '" + std::string(event_id.substr(0, 256)) + "'");
  }
  EventLookup lookup;
  lookup.event = ToEvent(row, found->lsn, found->memtable->CommitTimeMicros(found->lsn));
  lookup.event_lsn = found->lsn;
  lookup.conflicts = CountConflicts(view, row, lsn);
  if (row.correction_ref.has_value()) {
    const std::string_view original_id = row.correction_ref->original_event_id;
    EventLookup::Original original{std::string(original_id), std::nullopt};
    if (const auto row_of_original = FindEvent(view, row.account_id, original_id, lsn)) {
      original.lsn = row_of_original->lsn;
    }
    lookup.original = std::move(original);
  }
  lookup.lsn = lsn;
  return lookup;
}

}  // namespace tallystick
