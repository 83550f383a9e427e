#include "dedupe/sidecar_filter.h"

#include <algorithm>
#include <cstring>

#include "dedupe/sidecar_format.h"

namespace tallystick {
namespace {

// A probe waits for memory and for nothing else; so many are under way at once.
constexpr size_t kProbesAhead = 32;

// Words 0, 2, 4, 6 take their five bits from the lower 32 bits of the trailing half as it stands in
// memory, words 1, 3, 5, 7 from the upper ones.
struct BlockBits {
  explicit BlockBits(const EventHash& key) {
    std::memcpy(&low, key.bytes.data() + 8, sizeof low);
    std::memcpy(&high, key.bytes.data() + 12, sizeof high);
  }
  uint32_t Even(int pair) const { return low >> (5 * pair) & 31; }
  uint32_t Odd(int pair) const { return high >> (5 * pair) & 31; }

  uint32_t low = 0;
  uint32_t high = 0;
};

bool BlockHas(const FilterBlock& block, const EventHash& key) {
  const BlockBits bits(key);
  uint32_t all = 1;
  for (int pair = 0; pair < 4; ++pair) {
    all &= block.words[2 * pair] >> bits.Even(pair);
    all &= block.words[2 * pair + 1] >> bits.Odd(pair);
  }
  return all != 0;
}

}  // namespace

void AddToBlock(const EventHash& key, FilterBlock* block) {
  const BlockBits bits(key);
  for (int pair = 0; pair < 4; ++pair) {
    block->words[2 * pair] |= uint32_t{1} << bits.Even(pair);
    block->words[2 * pair + 1] |= uint32_t{1} << bits.Odd(pair);
  }
}

void ProbeFilter(std::span<const FilterBlock> filter, std::span<const EventHash> keys,
                 std::vector<uint32_t>* candidates) {
  if (filter.empty()) return;
  const auto block_of = [&](const EventHash& key) {
    return &filter[FilterBlockOf(KeyHalves::Of(key), filter.size())];
  };
  const FilterBlock* ahead[kProbesAhead];
  const size_t first = std::min(keys.size(), kProbesAhead);
  for (size_t i = 0; i < first; ++i) {
    ahead[i] = block_of(keys[i]);
    __builtin_prefetch(ahead[i]);
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    const FilterBlock* block = ahead[i % kProbesAhead];
    if (i + kProbesAhead < keys.size()) {
      ahead[i % kProbesAhead] = block_of(keys[i + kProbesAhead]);
      __builtin_prefetch(ahead[i % kProbesAhead]);
    }
    if (BlockHas(*block, keys[i])) candidates->push_back(static_cast<uint32_t>(i));
  }
}

}  // namespace tallystick
