#include "segment/row_sort.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <tuple>

namespace tallystick {
namespace {

// Rows with codes below `count` in each sorted column and timestamps of a range.
void ExpectSorted(uint32_t count, int64_t timestamp_max_ms, uint64_t seed) {
  std::mt19937_64 random(seed);
  constexpr size_t kRows = 3000;
  std::vector<RowCodes> codes(kRows);
  std::vector<int64_t> timestamps(kRows);
  for (size_t i = 0; i < kRows; ++i) {
    // Many rows are equal but for their place.
    if (i > 0 && random() % 3 == 0) {
      codes[i] = codes[random() % i];
      timestamps[i] = timestamps[random() % i];
      continue;
    }
    for (uint32_t& code : codes[i]) code = static_cast<uint32_t>(random() % count);
    timestamps[i] = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(timestamp_max_ms));
  }
  std::vector<uint32_t> expected(kRows);
  std::iota(expected.begin(), expected.end(), 0u);
  std::ranges::stable_sort(expected, {}, [&](uint32_t i) {
    const RowCodes& c = codes[i];
    return std::tuple(c[0], c[1], c[2], c[3], c[4], timestamps[i]);
  });
  const std::vector<uint32_t> counts(kSortedDictionaryColumns, count);
  EXPECT_EQ(SortRows(codes, timestamps, counts), expected) << count << " " << timestamp_max_ms;
}

TEST(RowSort, EveryWayOfSortingGivesTheSameOrder) {
  ExpectSorted(1, 1, 1);                    // nothing but the place
  ExpectSorted(5, 1000, 2);                 // 64 bits
  ExpectSorted(1000, 1'000'000, 3);         // 128 bits
  ExpectSorted(1 << 16, INT64_MAX - 1, 4);  // more
  ExpectSorted(UINT32_MAX, INT64_MAX - 1, 5);
}

TEST(RowSort, OneRow) {
  const std::vector<RowCodes> codes(1);
  const std::vector<int64_t> timestamps = {INT64_MAX};
  EXPECT_EQ(SortRows(codes, timestamps, std::vector<uint32_t>(kSortedDictionaryColumns, 1)),
            std::vector<uint32_t>{0});
}

}  // namespace
}  // namespace tallystick
