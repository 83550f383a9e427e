// Recovery in memory: the rows of the log, through the same tables that ingest fills.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/recovery.h"
#include "memtable/memtable.h"
#include "tallystick/options.h"

namespace tallystick {

struct ReplayResult {
  std::vector<std::shared_ptr<Memtable>> sealed;  // all frames but the last, in LSN order
  std::shared_ptr<Memtable> active;               // the last frame's rows; the log goes on in it
  uint64_t frames = 0;
  uint64_t rows = 0;
};

// What a memtable holds for one WAL file of `file_bytes`.
Memtable::Capacity MemtableCapacity(const OpenOptions& options, uint64_t file_bytes);

// The first file of a process is only as large as the largest batch needs, so that a start does not
// wait for the blocks of a whole one.
uint64_t FirstFileBytes(const OpenOptions& options);

// Small files that follow each other share a memtable; none is spread over two. `progress` gets
// rows done and rows in all.
Result<ReplayResult> ReplayLog(FileSystem& fs, const Layout& layout, const RecoveryPlan& plan,
                               const OpenOptions& options,
                               const std::function<void(uint64_t, uint64_t)>& progress);

}  // namespace tallystick
