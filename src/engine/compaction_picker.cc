#include "engine/compaction_picker.h"

#include <algorithm>
#include <cmath>

namespace tallystick {
namespace {

// Of the largest segment's tier are those which are at most this part of a tier smaller. Lucene's
// figure: with a fan-in of 8 a tier reaches down to 1/5 of its largest segment.
constexpr double kTierSpan = 0.75;
// Where memtables are flushed by age, small segments are of one tier up to this part of a memtable:
// larger, each merge would write the ones before again and again; smaller, there would be more
// runs.
constexpr uint64_t kSmallestTierOfMemtable = 8;
// So much the tables of the largest merge may take; in smaller ones they have what its maps do not.
constexpr uint64_t kTableMemoryMin = 64ull << 20;

// A merge interrupts one that is this many times as large, where all that are begun need no more
// memory than one may and this part of it.
constexpr uint64_t kInterruptFactor = 4;

uint64_t MapMemory(uint64_t rows) { return rows * 3 / 4; }

double TierOf(const SegmentRun& run, const CompactionLimits& limits) {
  if (run.rows <= limits.tier_rows || limits.tier_rows == 0) return 0;
  const double times = static_cast<double>(run.rows) / static_cast<double>(limits.tier_rows);
  return std::log(times) / std::log(limits.fan_in);
}

// The longest window from `begin` on that keeps to the limits, up to `end`.
CompactionPlan Window(std::span<const SegmentRun> runs, size_t begin, size_t end, uint64_t most,
                      const CompactionLimits& limits) {
  CompactionPlan plan{begin, begin, 0};
  uint64_t memory = 0;
  while (plan.end < end && plan.end - begin < most) {
    const SegmentRun& next = runs[plan.end];
    memory += MergeMemory(next);
    if (plan.rows + next.rows > limits.rows_max || memory > limits.memory_bytes_max) break;
    plan.rows += next.rows;
    ++plan.end;
  }
  return plan;
}

class Picker {
 public:
  Picker(std::span<const SegmentRun> runs, const CompactionLimits& limits)
      : runs_(runs), limits_(limits) {}

  std::optional<CompactionPlan> Pick() {
    for (size_t begin = 0; begin < runs_.size();) {
      size_t end = begin;
      while (end < runs_.size() && !runs_[end].damaged && !runs_[end].waiting) ++end;
      PickOf(begin, end);
      begin = end + 1;
    }
    return best_;
  }

 private:
  // Of runs that may all be merged, tier by tier.
  void PickOf(size_t begin, size_t end) {
    while (begin < end) {
      double highest = 0;
      for (size_t i = begin; i < end; ++i) highest = std::max(highest, TierOf(runs_[i], limits_));
      const double lowest = std::max(0.0, highest - kTierSpan);
      size_t tier_end = end;
      while (TierOf(runs_[tier_end - 1], limits_) < lowest) --tier_end;
      PickOfTier(begin, tier_end);
      begin = tier_end;
    }
  }

  void PickOfTier(size_t begin, size_t end) {
    while (begin < end) {
      const CompactionPlan plan = Window(runs_, begin, end, limits_.fan_in, limits_);
      const size_t count = plan.end - plan.begin;
      const bool full = count == limits_.fan_in || plan.end < end;  // no more than this go together
      if (count >= 2 && full && (!best_.has_value() || plan.rows < best_->rows)) best_ = plan;
      begin = std::max(plan.end, begin + 1);
    }
  }

  const std::span<const SegmentRun> runs_;
  const CompactionLimits& limits_;
  std::optional<CompactionPlan> best_;
};

}  // namespace

std::vector<SegmentRun> RunsOf(const SegmentList& segments) {
  std::vector<SegmentRun> runs;
  runs.reserve(segments.size());
  for (const auto& segment : segments) {
    runs.push_back({.rows = segment->listed().rows,
                    .table_bytes = segment->rows().table_bytes(),
                    .damaged = segment->damaged() || segment->left_out_of_merging(),
                    .waiting = segment->sidecar() == nullptr});
  }
  return runs;
}

uint64_t MergeMemory(const SegmentRun& run) { return MapMemory(run.rows) + 4 * run.table_bytes; }

uint64_t MergeMemory(std::span<const SegmentRun> runs) {
  uint64_t bytes = 0;
  for (const SegmentRun& run : runs) bytes += MergeMemory(run);
  return bytes;
}

CompactionLimits LimitsOf(const OpenOptions& options) {
  return {.fan_in = options.compaction_fan_in,
          .rows_max = options.compaction_rows_max,
          .memory_bytes_max = MapMemory(options.compaction_rows_max) + kTableMemoryMin,
          .tier_rows = options.memtable_rows_max / kSmallestTierOfMemtable};
}

std::optional<CompactionPlan> PickCompaction(std::span<const SegmentRun> runs,
                                             const CompactionLimits& limits) {
  return Picker(runs, limits).Pick();
}

std::optional<CompactionPlan> PickAny(std::span<const SegmentRun> runs,
                                      const CompactionLimits& limits) {
  std::optional<CompactionPlan> best;
  for (size_t begin = 0; begin < runs.size(); ++begin) {
    size_t end = begin;
    while (end < runs.size() && !runs[end].damaged && !runs[end].waiting) ++end;
    const CompactionPlan plan = Window(runs, begin, end, limits.fan_in, limits);
    if (plan.end - plan.begin < 2 || (best.has_value() && plan.rows >= best->rows)) continue;
    best = plan;
  }
  return best;
}

bool MayInterrupt(uint64_t rows, uint64_t rows_under_way, uint64_t memory,
                  const CompactionLimits& limits) {
  return rows <= rows_under_way / kInterruptFactor &&
         memory <= limits.memory_bytes_max + limits.memory_bytes_max / kInterruptFactor;
}

uint32_t MergeableRuns(std::span<const SegmentRun> runs, const CompactionLimits& limits) {
  const auto fit = [&](const SegmentRun& a, const SegmentRun& b) {
    return !a.damaged && !b.damaged && a.rows + b.rows <= limits.rows_max &&
           MergeMemory(a) + MergeMemory(b) <= limits.memory_bytes_max;
  };
  uint32_t count = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    const bool mergeable =
        (i > 0 && fit(runs[i - 1], runs[i])) || (i + 1 < runs.size() && fit(runs[i], runs[i + 1]));
    count += mergeable ? 1 : 0;
  }
  return count;
}

}  // namespace tallystick
