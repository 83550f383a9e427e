// The rows of a stretch of the LSN line, from whichever files have them.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "engine/repair_facts.h"
#include "model/row.h"

namespace tallystick {

// Rows in LSN order, some LSNs left out. What the records point to belongs to the chunk.
struct RepairChunk {
  static constexpr int64_t kTimeUnknown = INT64_MIN;

  Bytes arena;
  std::vector<RecordView> records;
  std::vector<Lsn> lsns;                 // their old ones
  std::vector<int64_t> commit_times_us;  // kTimeUnknown: the table of them is lost
};

class RepairRows {
 public:
  // Borrows both.
  RepairRows(FileSystem& fs, const RepairFacts& facts);

  // Calls `each` with the rows of `range`, at most rows_max of them and some hundred MB at a time,
  // in LSN order. Every row that InspectForRepair found readable must be; the first error ends it.
  Status ForEachChunk(LsnRange range, uint32_t rows_max,
                      const std::function<Status(const RepairChunk&)>& each);

  // All that any file has, but for what is left out.
  const LsnSet& present() const { return present_; }
  void LeaveOut(const LsnSet& lsns);

 private:
  struct Slot {
    uint64_t offset = 0;  // in the arena
    uint32_t bytes = 0;
    bool filled = false;
    Disposition disposition = Disposition::kCounted;
    int64_t commit_time_us = 0;
  };

  Status Collect(LsnRange range, RepairChunk* chunk);
  Status FromSegment(const FoundSegment& segment, LsnRange range, Bytes* arena);
  Status FromGroup(const FoundSegment& segment, uint32_t group, LsnRange range,
                   const std::vector<CommitTime>& times, Bytes* arena);
  Status FromFrame(const FoundFrame& frame, LsnRange range, Bytes* arena);
  const std::vector<CommitTime>& TimesOf(const FoundSegment& segment);
  Slot* Empty(Lsn lsn, LsnRange range);

  FileSystem& fs_;
  const RepairFacts& facts_;
  std::vector<const FoundSegment*> segments_;  // the most trusted first
  LsnSet present_;
  LsnSet left_out_;
  std::map<const FoundSegment*, std::vector<CommitTime>> times_;
  std::vector<Slot> slots_;  // by LSN - range.first
};

}  // namespace tallystick
