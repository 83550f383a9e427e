#include "dedupe/sidecar_filter.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "dedupe/sidecar_fixture.h"

namespace tallystick {
namespace {

std::vector<FilterBlock> FilterOf(const std::vector<EventHash>& keys) {
  std::vector<FilterBlock> filter(FilterBlocksFor(keys.size()));
  for (const EventHash& key : keys) {
    AddToBlock(key, &filter[FilterBlockOf(KeyHalves::Of(key), filter.size())]);
  }
  return filter;
}

// As docs/formats/sidecar.md says it, word by word.
bool HasBit(const FilterBlock& block, const EventHash& key, int word) {
  uint32_t half;
  std::memcpy(&half, key.bytes.data() + (word % 2 == 0 ? 8 : 12), sizeof half);
  return (block.words[word] >> ((half >> (word / 2 * 5)) % 32) & 1) != 0;
}

RC_GTEST_PROP(SidecarFilter, AKeyThatIsInIsNeverDenied, ()) {
  const auto bytes = *rc::gen::nonEmpty(rc::gen::arbitrary<std::vector<std::array<uint8_t, 16>>>());
  std::vector<EventHash> keys;
  for (const auto& key : bytes) keys.push_back({key});
  std::vector<uint32_t> candidates;
  ProbeFilter(FilterOf(keys), keys, &candidates);
  RC_ASSERT(candidates.size() == keys.size());
}

TEST(SidecarFilter, ABatchIsAnsweredAsItsKeysAreOneByOne) {
  std::vector<EventHash> in;
  for (uint64_t i = 0; i < 333; ++i) in.push_back(KeyNumber(i));
  const std::vector<FilterBlock> filter = FilterOf(in);
  // Around the number of probes that are under way at once.
  for (const size_t size : {0, 1, 31, 32, 33, 64, 65, 1000}) {
    std::vector<EventHash> keys;
    std::vector<uint32_t> expected = {77};  // what is there already stays
    for (size_t i = 0; i < size; ++i) {
      // Every third key is in.
      const EventHash key = i % 3 == 0 ? in[i / 3 % in.size()] : KeyNumber(1000 + i);
      keys.push_back(key);
      const FilterBlock& block = filter[FilterBlockOf(KeyHalves::Of(key), filter.size())];
      bool all = true;
      for (int word = 0; word < 8; ++word) all = all && HasBit(block, key, word);
      if (all) expected.push_back(static_cast<uint32_t>(i));
    }
    std::vector<uint32_t> candidates = {77};
    ProbeFilter(filter, keys, &candidates);
    EXPECT_EQ(candidates, expected) << size;
    EXPECT_GE(candidates.size(), 1 + (size + 2) / 3);
  }
}

TEST(SidecarFilter, AKeySetsOneBitInEachWordOfOneBlock) {
  FilterBlock block;
  AddToBlock(KeyNumber(1), &block);
  for (int word = 0; word < 8; ++word) {
    EXPECT_EQ(std::popcount(block.words[word]), 1);
    EXPECT_TRUE(HasBit(block, KeyNumber(1), word)) << word;
  }
}

TEST(SidecarFilter, BlocksGoUpWithTheKeys) {
  EXPECT_EQ(FilterBlockOf({0, 0}, 100), 0u);
  EXPECT_EQ(FilterBlockOf({UINT64_MAX, 0}, 100), 99u);
  EXPECT_EQ(FilterBlockOf({uint64_t{1} << 63, 0}, 100), 50u);
  EXPECT_EQ(FilterBlocksFor(1), 1u);
  EXPECT_EQ(FilterBlocksFor(16), 1u);
  EXPECT_EQ(FilterBlocksFor(17), 2u);
}

}  // namespace
}  // namespace tallystick
