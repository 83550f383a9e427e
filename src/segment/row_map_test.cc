#include "segment/row_map.h"

#include <gtest/gtest.h>

#include <random>

namespace tallystick {
namespace {

// Deals `rows` numbers below `merged` to a map in runs, and compares.
void Check(uint64_t rows, uint64_t merged, uint32_t run_max, uint64_t seed) {
  SCOPED_TRACE(testing::Message() << rows << " of " << merged << ", seed " << seed);
  std::mt19937_64 random(seed);
  RowMap map(rows, merged);
  std::vector<uint64_t> expected;
  uint64_t gaps = merged - rows;
  for (uint64_t next = 0; expected.size() < rows;) {
    const uint64_t gap = gaps == 0 ? 0 : random() % (2 * gaps / (rows - expected.size() + 1) + 2);
    const uint64_t skipped = std::min(gap, gaps);
    gaps -= skipped;
    next += skipped;
    const auto run =
        static_cast<uint32_t>(std::min<uint64_t>(1 + random() % run_max, rows - expected.size()));
    map.Append(next, run);
    for (uint32_t i = 0; i < run; ++i) expected.push_back(next++);
  }
  ASSERT_EQ(map.size(), rows);
  for (uint32_t row = 0; row < rows; ++row) ASSERT_EQ(map.At(row), expected[row]) << "row " << row;
}

TEST(RowMap, GivesBackWhatWasAppended) {
  uint64_t seed = 0;
  for (const uint64_t rows : {1, 2, 63, 64, 65, 1000, 8192}) {
    for (const uint64_t factor : {1, 2, 3, 8, 100, 5000}) {
      for (const uint32_t run : {1, 4, 300}) Check(rows, rows * factor, run, ++seed);
    }
  }
}

TEST(RowMap, HoldsTheLargestRowNumber) {
  RowMap map(2, uint64_t{1} << 32);
  map.Append(0, 1);
  map.Append((uint64_t{1} << 32) - 1, 1);
  EXPECT_EQ(map.At(0), 0u);
  EXPECT_EQ(map.At(1), UINT32_MAX);
}

// All of the others' rows stand between two of these.
TEST(RowMap, SkipsOneLongGap) {
  RowMap map(200, 1'000'000);
  map.Append(0, 100);
  map.Append(999'900, 100);
  for (uint32_t row = 0; row < 100; ++row) {
    EXPECT_EQ(map.At(row), row);
    EXPECT_EQ(map.At(100 + row), 999'900 + row);
  }
}

}  // namespace
}  // namespace tallystick
