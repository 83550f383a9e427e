#include "query/quarantine.h"

#include <algorithm>

#include "base/result.h"
#include "model/identity.h"

namespace tallystick {
namespace {

Status AddOfSegment(const LiveSegment& segment, uint32_t index, std::optional<EventHash> id_hash,
                    Lsn lsn, std::vector<FoundRow>* out) {
  TALLY_ASSIGN_OR_RETURN(const std::vector<uint32_t> rows, segment.rows().QuarantinedRows(id_hash));
  const size_t begin = out->size();
  for (const uint32_t row : rows) {
    TALLY_ASSIGN_OR_RETURN(const Lsn at, segment.rows().LsnOfRow(row));
    if (at <= lsn) out->push_back({at, {index, row}});
  }
  std::ranges::sort(out->begin() + static_cast<ptrdiff_t>(begin), out->end(), {}, &FoundRow::lsn);
  return Status::Ok();
}

}  // namespace

Result<std::vector<FoundRow>> FindQuarantined(const View& view,
                                              std::optional<std::string_view> event_id,
                                              std::string_view account_id, Lsn lsn) {
  std::optional<EventHash> id_hash;
  if (event_id.has_value()) id_hash = IdHash(view.scope, account_id, *event_id);
  std::vector<FoundRow> found;
  const SegmentList& segments = view.version->segments;
  for (uint32_t i = 0; i < segments.size(); ++i) {
    Status status = AddOfSegment(*segments[i], i, id_hash, lsn, &found);
    if (!status.ok()) return NoteDamage(*segments[i], std::move(status));
  }
  for (const auto& memtable : view.version->memtables) {
    memtable->ForEachQuarantined(lsn, [&](Lsn at, const RecordView& record) {
      if (event_id.has_value() && CanonicalEventId(record.canonical) != *event_id) return;
      if (event_id.has_value() && view.scope == IdentityScope::kAccount &&
          CanonicalAccountId(record.canonical) != account_id) {
        return;
      }
      found.push_back({at, {}});
    });
  }
  return found;
}

}  // namespace tallystick
