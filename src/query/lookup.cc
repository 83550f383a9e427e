#include "query/lookup.h"

#include "base/result.h"
#include "query/key_lookup.h"
#include "query/quarantine.h"
#include "query/row_filter.h"

namespace tallystick {
Result<EventLookup> GetEvent(const View& view, std::string_view event_id,
                             std::string_view account_id, std::optional<Lsn> as_of_lsn) {
  TALLY_ASSIGN_OR_RETURN(const Lsn lsn, ResolveLsn(view, as_of_lsn));
  if (view.scope == IdentityScope::kAccount && account_id.empty()) {
    return Status::InvalidArgument("account_id_required",
                                   "account_id is required: here an event id means one event only "
                                   "together with its account");
  }
  TALLY_ASSIGN_OR_RETURN(const auto found, FindEvent(view, account_id, event_id, lsn));
  EventLookup lookup;
  if (found.has_value()) {
    TALLY_ASSIGN_OR_RETURN(lookup.event, ReadEvent(view, *found));
  }
  if (!found.has_value() || (!account_id.empty() && lookup.event.account_id != account_id)) {
    return Status::NotFound("event_not_found",
                            "there is no event '" + std::string(event_id.substr(0, 256)) + "'");
  }
  lookup.event_lsn = found->lsn;
  TALLY_ASSIGN_OR_RETURN(const auto conflicts,
                         FindQuarantined(view, event_id, lookup.event.account_id, lsn));
  lookup.conflicts = conflicts.size();
  if (lookup.event.correction_ref.has_value()) {
    const std::string& original_id = lookup.event.correction_ref->original_event_id;
    EventLookup::Original original{original_id, std::nullopt};
    TALLY_ASSIGN_OR_RETURN(const auto row_of_original,
                           FindEvent(view, lookup.event.account_id, original_id, lsn));
    if (row_of_original.has_value()) original.lsn = row_of_original->lsn;
    lookup.original = std::move(original);
  }
  lookup.lsn = lsn;
  return lookup;
}

}  // namespace tallystick
