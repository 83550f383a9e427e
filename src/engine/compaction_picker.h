// Which segments to merge next: pure functions of what there is.
//
// Size-tiered over adjacent segments. Source: Lucene's LogMergePolicy. Segments that differ in size
// by less than a fan-in are of one tier; where as many of a tier as the fan-in lie side by side,
// they are merged. So each row is written once a tier, and there are log(rows) tiers. Segments
// tile the LSN line, so only neighbours may be merged.
//
// Thread rule: free functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "query/view.h"
#include "tallystick/options.h"

namespace tallystick {

// A live segment, as the picker sees it.
struct SegmentRun {
  uint64_t rows = 0;
  uint64_t table_bytes = 0;  // of its dictionaries and tables, as they stand in the file
  bool damaged = false;      // or otherwise left out for good
  bool waiting = false;      // for its sidecar, or it is being merged already
};
std::vector<SegmentRun> RunsOf(const SegmentList& segments);

struct CompactionLimits {
  uint32_t fan_in = 8;
  uint64_t rows_max = 0;
  uint64_t memory_bytes_max = 0;  // of a merge, by MergeMemory
  uint64_t tier_rows = 0;         // segments up to this size are of the lowest tier
};
CompactionLimits LimitsOf(const OpenOptions& options);

// About what a run adds to the memory of a merge, beside row groups: six bits a row for the maps of
// row numbers, and its tables, unpacked, with those of the output and the codes between them.
uint64_t MergeMemory(const SegmentRun& run);
uint64_t MergeMemory(std::span<const SegmentRun> runs);

// Runs [begin, end) are to be merged.
struct CompactionPlan {
  size_t begin = 0;
  size_t end = 0;
  uint64_t rows = 0;
  friend bool operator==(const CompactionPlan&, const CompactionPlan&) = default;
};

// The smallest merge that is due, so that small segments never wait for a large one.
std::optional<CompactionPlan> PickCompaction(std::span<const SegmentRun> runs,
                                             const CompactionLimits& limits);
// The smallest merge that leaves fewer segments, due or not; none where each is as large as it may
// be.
std::optional<CompactionPlan> PickAny(std::span<const SegmentRun> runs,
                                      const CompactionLimits& limits);

// Whether a merge may begin while a larger one is under way, which goes on after it. `memory`: of
// all that would be begun then.
bool MayInterrupt(uint64_t rows, uint64_t rows_under_way, uint64_t memory,
                  const CompactionLimits& limits);

// How many runs a merge could still take away or make larger: what back-pressure goes by. Those at
// the limits do not count.
uint32_t MergeableRuns(std::span<const SegmentRun> runs, const CompactionLimits& limits);

}  // namespace tallystick
