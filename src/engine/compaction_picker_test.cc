#include "engine/compaction_picker.h"

#include <gtest/gtest.h>

#include <random>

namespace tallystick {
namespace {

CompactionLimits Limits() {
  return {
      .fan_in = 8, .rows_max = 256'000'000, .memory_bytes_max = 256'000'000, .tier_rows = 300'000};
}

std::vector<SegmentRun> Runs(const std::vector<uint64_t>& rows) {
  std::vector<SegmentRun> runs;
  for (const uint64_t count : rows) runs.push_back({.rows = count});
  return runs;
}

void Merge(std::vector<SegmentRun>& runs, const CompactionPlan& plan) {
  runs[plan.begin].rows = plan.rows;
  runs.erase(runs.begin() + static_cast<ptrdiff_t>(plan.begin) + 1,
             runs.begin() + static_cast<ptrdiff_t>(plan.end));
}

TEST(CompactionPicker, WaitsForAFullTier) {
  EXPECT_FALSE(PickCompaction({}, Limits()).has_value());
  EXPECT_FALSE(PickCompaction(Runs(std::vector<uint64_t>(7, 300'000)), Limits()).has_value());
  EXPECT_EQ(PickCompaction(Runs(std::vector<uint64_t>(8, 300'000)), Limits()),
            (CompactionPlan{0, 8, 2'400'000}));
}

TEST(CompactionPicker, SegmentsUpToAMemtableAreOfOneTier) {
  EXPECT_EQ(PickCompaction(Runs({1, 300'000, 5, 40'000, 2, 2, 299'999, 8}), Limits()),
            (CompactionPlan{0, 8, 640'017}));
}

TEST(CompactionPicker, TheSmallestMergeGoesFirst) {
  std::vector<uint64_t> rows(8, 2'400'000);
  rows.insert(rows.end(), 8, 300'000);
  EXPECT_EQ(PickCompaction(Runs(rows), Limits()), (CompactionPlan{8, 16, 2'400'000}));
}

TEST(CompactionPicker, LeavesOutWhatIsDamagedOrWaits) {
  for (const bool damaged : {true, false}) {
    std::vector<SegmentRun> runs = Runs(std::vector<uint64_t>(12, 300'000));
    (damaged ? runs[3].damaged : runs[3].waiting) = true;
    EXPECT_EQ(PickCompaction(runs, Limits()), (CompactionPlan{4, 12, 2'400'000}));
  }
}

TEST(CompactionPicker, KeepsToTheLimits) {
  // Only six fit together, and there will never be more.
  EXPECT_EQ(PickCompaction(Runs(std::vector<uint64_t>(8, 40'000'000)), Limits()),
            (CompactionPlan{0, 6, 240'000'000}));
  EXPECT_FALSE(PickCompaction(Runs(std::vector<uint64_t>(8, 150'000'000)), Limits()).has_value());
  std::vector<SegmentRun> runs = Runs(std::vector<uint64_t>(8, 300'000));
  for (SegmentRun& run : runs) run.table_bytes = 10'000'000;
  EXPECT_EQ(PickCompaction(runs, Limits()), (CompactionPlan{0, 6, 1'800'000}));
  for (SegmentRun& run : runs) run.rows = 30'000'000;  // whose maps need the memory
  EXPECT_EQ(PickCompaction(runs, Limits()), (CompactionPlan{0, 4, 120'000'000}));
}

TEST(CompactionPicker, CountsTheRunsThatMergingHasNotDoneWith) {
  EXPECT_EQ(MergeableRuns({}, Limits()), 0u);
  EXPECT_EQ(MergeableRuns(Runs({300'000}), Limits()), 0u);
  EXPECT_EQ(MergeableRuns(Runs({200'000'000, 200'000'000, 100'000'000}), Limits()), 0u);
  EXPECT_EQ(MergeableRuns(Runs({200'000'000, 200'000'000, 300'000, 300'000}), Limits()), 3u);
  std::vector<SegmentRun> runs = Runs({300'000, 300'000, 300'000});
  runs[1].damaged = true;
  EXPECT_EQ(MergeableRuns(runs, Limits()), 0u);
}

TEST(CompactionPicker, MuchSmallerMergesInterruptWhileMemoryLasts) {
  EXPECT_TRUE(MayInterrupt(2'400'000, 9'600'000, 10'000'000, Limits()));
  EXPECT_FALSE(MayInterrupt(2'400'000, 9'599'999, 10'000'000, Limits()));
  EXPECT_TRUE(MayInterrupt(1, 100, 320'000'000, Limits()));
  EXPECT_FALSE(MayInterrupt(1, 100, 320'000'001, Limits()));
  // The largest merge, and three that interrupt one another.
  const auto runs = Runs({256'000'000, 64'000'000, 16'000'000, 4'000'000});
  EXPECT_TRUE(MayInterrupt(4'000'000, 16'000'000, MergeMemory(runs), Limits()));
}

TEST(CompactionPicker, AnyTakesWhatFits) {
  EXPECT_FALSE(PickAny(Runs({5}), Limits()).has_value());
  EXPECT_EQ(PickAny(Runs({250'000'000, 5}), Limits()), (CompactionPlan{0, 2, 250'000'005}));
  EXPECT_EQ(PickAny(Runs({250'000'000, 5, 7}), Limits()), (CompactionPlan{1, 3, 12}));
  EXPECT_EQ(PickAny(Runs({255'999'999, 5, 7}), Limits()), (CompactionPlan{1, 3, 12}));
}

// Half a million accounts in every memtable, and in what is made of them too: the runs stay few.
TEST(CompactionPicker, MergesSegmentsOfManyAccounts) {
  CompactionLimits limits = Limits();
  limits.tier_rows = 39'250;
  std::vector<SegmentRun> runs;
  for (int flush = 0; flush < 2'000; ++flush) {
    runs.push_back({.rows = 300'000, .table_bytes = 10'000'000});
    while (const auto plan = PickCompaction(runs, limits)) Merge(runs, *plan);
  }
  EXPECT_LE(runs.size(), 40u);
}

// Flushes of any size, merged whenever a merge is due: the runs stay few, each row is written a few
// times, and nothing is left due.
TEST(CompactionPicker, KeepsRunsAndWritesFew) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    CompactionLimits limits = Limits();
    limits.tier_rows = 39'250;
    // Half of the seeds flush mostly by age.
    const uint64_t usual = seed % 2 == 0 ? 314'000 : 2'000;
    std::vector<SegmentRun> runs;
    uint64_t flushed = 0, merged = 0;
    uint32_t most = 0;
    while (flushed < 5'000 * usual) {
      const uint64_t rows = random() % 8 == 0 ? 1 + random() % 314'000 : usual;
      flushed += rows;
      runs.push_back({.rows = rows});
      while (const auto plan = PickCompaction(runs, limits)) {
        ASSERT_GE(plan->end - plan->begin, 2u);
        ASSERT_LE(plan->rows, Limits().rows_max);
        merged += plan->rows;
        Merge(runs, *plan);
      }
      most = std::max(most, MergeableRuns(runs, limits));
    }
    EXPECT_LE(most, 28u);
    EXPECT_LE(merged, 5 * flushed);
    EXPECT_LE(runs.size(), 40u);
  }
}

}  // namespace
}  // namespace tallystick
