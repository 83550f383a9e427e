#include "query/key_lookup.h"

#include <ranges>

#include "base/check.h"
#include "base/result.h"
#include "model/identity.h"

namespace tallystick {
namespace {

struct Wanted {
  std::string_view account_id;
  std::string_view event_id;
  bool with_account;

  bool Is(Disposition disposition, std::string_view account, std::string_view event) const {
    return disposition == Disposition::kCounted && event == event_id &&
           (!with_account || account == account_id);
  }
};

constexpr SegmentColumns kIdentity = SegmentColumn::kEventId | SegmentColumn::kAccountId |
                                     SegmentColumn::kDisposition | SegmentColumn::kLsn;

Result<std::optional<FoundRow>> WalkSegment(const SegmentReader& rows, uint32_t index,
                                            const Wanted& wanted) {
  SegmentCursor cursor(rows, kIdentity);
  for (uint32_t row = 0; row < rows.info().rows; ++row) {
    TALLY_RETURN_IF_ERROR(cursor.Seek(row));
    const RowView view = cursor.row();
    if (wanted.Is(cursor.disposition(), view.account_id, view.event_id)) {
      return FoundRow{cursor.lsn(), {index, row}};
    }
  }
  return std::optional<FoundRow>();
}

Result<std::optional<FoundRow>> FindInSegment(const LiveSegment& segment, uint32_t index,
                                              const EventHash& key, const Wanted& wanted) {
  const auto sidecar = segment.sidecar();
  if (sidecar == nullptr) return WalkSegment(segment.rows(), index, wanted);
  std::vector<uint32_t> candidates;
  sidecar->Filter({&key, 1}, &candidates);
  if (candidates.empty()) return std::optional<FoundRow>();
  std::optional<SidecarReader::Found> found;
  if (!sidecar->Find({&key, 1}, candidates, {&found, 1}).ok()) {
    return WalkSegment(segment.rows(), index, wanted);
  }
  if (!found.has_value()) return std::optional<FoundRow>();
  SegmentCursor cursor(segment.rows(), kIdentity);
  TALLY_RETURN_IF_ERROR(cursor.Seek(found->row));
  const RowView row = cursor.row();
  if (!wanted.Is(cursor.disposition(), row.account_id, row.event_id)) {
    return std::optional<FoundRow>();
  }
  return FoundRow{cursor.lsn(), {index, found->row}};
}

std::optional<FoundRow> FindInMemory(const View& view, const EventHash& key, const Wanted& wanted) {
  for (const auto& memtable : std::views::reverse(view.version->memtables)) {
    const auto found = memtable->keys().Find(key);
    // Not durable yet, or not in the memtable yet: nobody may see it.
    if (!found.has_value() || found->lsn > view.visible) continue;
    const RecordView record = memtable->Record(found->lsn);
    if (wanted.Is(record.disposition, CanonicalAccountId(record.canonical),
                  CanonicalEventId(record.canonical))) {
      return FoundRow{found->lsn, {}};
    }
  }
  return std::nullopt;
}

}  // namespace

Result<std::optional<FoundRow>> FindEvent(const View& view, std::string_view account_id,
                                          std::string_view event_id, Lsn lsn) {
  const EventHash key = IdHash(view.scope, account_id, event_id);
  const Wanted wanted{account_id, event_id, view.scope == IdentityScope::kAccount};
  std::optional<FoundRow> found = FindInMemory(view, key, wanted);
  const SegmentList& segments = view.version->segments;
  for (uint32_t i = 0; i < segments.size() && !found.has_value(); ++i) {
    if (segments[i]->listed().first_lsn > lsn) break;
    auto in_segment = FindInSegment(*segments[i], i, key, wanted);
    if (!in_segment.ok()) return NoteDamage(*segments[i], in_segment.status());
    found = *in_segment;
  }
  if (found.has_value() && found->lsn > lsn) found.reset();  // later than asked for
  return found;
}

Result<Event> ReadEvent(const View& view, const FoundRow& found) {
  if (found.place.in_memory()) {
    const Memtable& memtable = MemtableOf(view, found.lsn);
    RowView row;
    TALLY_CHECK(DecodeCanonical(memtable.Record(found.lsn).canonical, &row));
    return ToEvent(row, found.lsn, memtable.CommitTimeMicros(found.lsn));
  }
  const LiveSegment& segment = *view.version->segments[found.place.segment];
  SegmentCursor cursor(segment.rows(), kAllSegmentColumns);
  if (Status status = cursor.Seek(found.place.row); !status.ok()) {
    return NoteDamage(segment, std::move(status));
  }
  const auto commit_time = segment.rows().CommitTimeMicros(found.lsn);
  if (!commit_time.ok()) return NoteDamage(segment, commit_time.status());
  return ToEvent(cursor.row(), found.lsn, *commit_time);
}

}  // namespace tallystick
