#include "query/row_scan.h"

#include <algorithm>
#include <ranges>

#include "base/check.h"
#include "base/result.h"

namespace tallystick {
namespace {

using OnRow = std::function<bool(const RowAt&)>;

constexpr uint32_t kRowsBetweenChecks = 4096;

Status CheckContext(const RowScan& scan, uint64_t row) {
  if (scan.context == nullptr || row % kRowsBetweenChecks != 0) return Status::Ok();
  return scan.context->Check();
}

// False: the caller wants no more.
Result<bool> ScanMemtable(const Memtable& memtable, const RowScan& scan, const OnRow& row) {
  RowAt at;
  Status status;
  uint64_t visited = 0;
  auto visit = [&](Lsn lsn, const RecordView& record) {
    status = CheckContext(scan, ++visited);
    if (!status.ok()) return false;
    at.lsn = lsn;
    at.disposition = record.disposition;
    TALLY_CHECK(DecodeCanonical(record.canonical, &at.row));  // checked when it entered
    return row(at);
  };
  bool go_on = true;
  if (scan.account_id.has_value()) {
    memtable.ForEachOfAccount(*scan.account_id, scan.lsn, [&](Lsn lsn, const RecordView& record) {
      return go_on = visit(lsn, record);
    });
    if (!status.ok()) return status;
    return go_on;
  }
  const Lsn end = std::min(memtable.end_lsn(), Lsn{scan.lsn.value + 1});
  for (Lsn lsn = memtable.first_lsn(); go_on && lsn < end; ++lsn.value) {
    go_on = visit(lsn, memtable.Record(lsn));
  }
  if (!status.ok()) return status;
  return go_on;
}

}  // namespace

Result<bool> ForEachRowOf(const View& view, uint32_t index, RowRange range, const RowScan& scan,
                          const OnRow& row) {
  const SegmentReader& rows = view.version->segments[index]->rows();
  const uint32_t group_rows = rows.info().group_rows;
  SegmentCursor cursor(rows, scan.columns | SegmentColumn::kLsn | SegmentColumn::kDisposition);
  RowAt at;
  at.place.segment = index;
  while (!range.empty()) {
    uint32_t next = range.begin;
    const GroupPart part = TakeGroupPart(group_rows, &range);
    TALLY_ASSIGN_OR_RETURN(const GroupZone zone, rows.Zone(part.group));
    if (zone.timestamp_max_ms < scan.from_ms || zone.timestamp_min_ms >= scan.to_ms ||
        zone.lsn_min > scan.lsn) {
      continue;
    }
    for (; next < range.begin; ++next) {
      TALLY_RETURN_IF_ERROR(CheckContext(scan, next));
      TALLY_RETURN_IF_ERROR(cursor.Seek(next));
      at.lsn = cursor.lsn();
      if (at.lsn > scan.lsn) continue;
      at.disposition = cursor.disposition();
      at.place.row = next;
      at.row = cursor.row();
      if (!row(at)) return false;
    }
  }
  return true;
}

namespace {

Result<bool> ScanSegment(const View& view, uint32_t index, const RowScan& scan, const OnRow& row) {
  const SegmentReader& rows = view.version->segments[index]->rows();
  if (!rows.info().Overlaps(scan.from_ms, scan.to_ms)) return true;
  TALLY_ASSIGN_OR_RETURN(const RowRange range, rows.RowsOfAccount(scan.account_id));
  return ForEachRowOf(view, index, range, scan, row);
}

}  // namespace

Status ForEachRow(const View& view, const RowScan& scan, const OnRow& row) {
  const DataVersion& version = *view.version;
  for (uint32_t i = 0; i < version.segments.size(); ++i) {
    if (version.segments[i]->listed().first_lsn > scan.lsn) return Status::Ok();
    const auto go_on = ScanSegment(view, i, scan, row);
    if (!go_on.ok()) return NoteDamage(*version.segments[i], go_on.status());
    if (!*go_on) return Status::Ok();
  }
  return ForEachRowInMemory(view, scan, row);
}

Status ForEachRowInMemory(const View& view, const RowScan& scan, const OnRow& row) {
  for (const auto& memtable : view.version->memtables) {
    if (memtable->empty()) continue;
    if (memtable->first_lsn() > scan.lsn) break;
    TALLY_ASSIGN_OR_RETURN(const bool go_on, ScanMemtable(*memtable, scan, row));
    if (!go_on) break;
  }
  return Status::Ok();
}

const Memtable& MemtableOf(const View& view, Lsn lsn) {
  for (const auto& memtable : std::views::reverse(view.version->memtables)) {
    if (!memtable->empty() && memtable->first_lsn() <= lsn) return *memtable;
  }
  TALLY_CHECK(false);
}

Status NoteDamage(const LiveSegment& segment, Status status) {
  if (status.code() == StatusCode::kCorruption) segment.MarkDamaged();
  return status;
}

}  // namespace tallystick
