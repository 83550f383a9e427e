// View: what a read sees. A version (segments and memtables) and the LSN up to which it may look;
// immutable, cheap to copy, and it keeps what it names alive.
//
// Invariant: the segments' rows and then the memtables' are adjacent and together exactly 1..n with
// n >= visible.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "memtable/memtable.h"
#include "query/live_segment.h"
#include "tallystick/options.h"

namespace tallystick {

using MemtableList = std::vector<std::shared_ptr<const Memtable>>;
using SegmentList = std::vector<std::shared_ptr<const LiveSegment>>;

struct DataVersion {
  SegmentList segments;    // in LSN order
  MemtableList memtables;  // in LSN order; some may be empty
};

struct View {
  std::shared_ptr<const DataVersion> version;
  Lsn visible;
  IdentityScope scope = IdentityScope::kGlobal;
  uint64_t incarnation = 0;
  int64_t now_ms = 0;            // wall clock, when the view was taken
  int64_t newest_commit_us = 0;  // commit time of the newest frame, 0 if none
};

}  // namespace tallystick
