#include "query/key_lookup.h"

#include "model/identity.h"

namespace tallystick {

std::optional<FoundRow> FindKey(const View& view, const EventHash& key, Lsn lsn) {
  for (auto memtable = view.memtables->rbegin(); memtable != view.memtables->rend(); ++memtable) {
    const auto found = (*memtable)->keys().Find(key);
    if (!found.has_value()) continue;
    if (found->lsn > lsn) return std::nullopt;  // later than asked for, or not durable yet
    return FoundRow{found->lsn, found->payload_hash, memtable->get()};
  }
  return std::nullopt;
}

std::optional<FoundRow> FindEvent(const View& view, std::string_view account_id,
                                  std::string_view event_id, Lsn lsn) {
  const auto found = FindKey(view, IdHash(view.scope, account_id, event_id), lsn);
  if (!found.has_value()) return std::nullopt;
  const RecordView record = found->memtable->Record(found->lsn);
  if (record.disposition != Disposition::kCounted ||
      CanonicalEventId(record.canonical) != event_id) {
    return std::nullopt;
  }
  if (view.scope == IdentityScope::kAccount && CanonicalAccountId(record.canonical) != account_id) {
    return std::nullopt;
  }
  return found;
}

}  // namespace tallystick
