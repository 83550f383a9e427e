// View: what a read sees. A list of memtables and the LSN up to which it may look; immutable, cheap
// to copy, and it keeps its memtables alive.
//
// Invariant: the memtables' rows are adjacent and together exactly 1..n with n >= visible.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "memtable/memtable.h"
#include "tallystick/options.h"

namespace tallystick {

using MemtableList = std::vector<std::shared_ptr<const Memtable>>;

struct View {
  std::shared_ptr<const MemtableList> memtables;  // in LSN order; some may be empty
  Lsn visible;
  IdentityScope scope = IdentityScope::kGlobal;
  uint64_t incarnation = 0;
  int64_t now_ms = 0;            // wall clock, when the view was taken
  int64_t newest_commit_us = 0;  // commit time of the newest frame, 0 if none
};

}  // namespace tallystick
