// Walks over the rows of a view: segments, then memtables.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "model/row.h"
#include "query/query_context.h"
#include "query/view.h"

namespace tallystick {

// Where a row stands: in a segment of the version, or in a memtable.
struct RowPlace {
  static constexpr uint32_t kInMemory = UINT32_MAX;
  uint32_t segment = kInMemory;  // index into DataVersion::segments
  uint32_t row = 0;              // its number in the segment
  bool in_memory() const { return segment == kInMemory; }
};

// What a walk is about. Borrows the account.
struct RowScan {
  const std::optional<std::string>& account_id;  // none: all
  // Rows outside of [from_ms, to_ms) may be left out, and need not be.
  int64_t from_ms = INT64_MIN;
  int64_t to_ms = INT64_MAX;
  Lsn lsn;                          // rows above it are left out
  SegmentColumns columns;           // that `row` looks at; lsn and disposition are always there
  QueryContext* context = nullptr;  // checked now and then; null: no limits
};

struct RowAt {
  Lsn lsn;
  Disposition disposition = Disposition::kCounted;
  RowPlace place;
  RowView row;  // valid during the call
};

// Calls row(RowAt) for the rows of the scan in no stated order until it returns false. kCorruption
// and kIoError where a block that is needed cannot be read: then the walk is not whole.
Status ForEachRow(const View& view, const RowScan& scan,
                  const std::function<bool(const RowAt&)>& row);

// The same for one segment of the view, its rows of `range` only. False: `row` wants no more.
Result<bool> ForEachRowOf(const View& view, uint32_t segment, RowRange range, const RowScan& scan,
                          const std::function<bool(const RowAt&)>& row);
// The same for the memtables.
Status ForEachRowInMemory(const View& view, const RowScan& scan,
                          const std::function<bool(const RowAt&)>& row);

// The memtable of the view with this row. REQUIRES: there is one.
const Memtable& MemtableOf(const View& view, Lsn lsn);

// Passes a status on; a segment whose blocks do not verify is marked damaged.
Status NoteDamage(const LiveSegment& segment, Status status);

}  // namespace tallystick
