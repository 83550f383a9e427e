// The filter of a sidecar: a blocked Bloom filter of 16 bits a key. Source: Putze, Sanders,
// Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007), in the form with one bit in
// each word of a block as in Apache Parquet.
//
// A key belongs to one block of 256 bits and sets one bit in each of its 8 words. The block comes
// from the leading half of the key, in order, so that keys in order go through the blocks in order
// (a filter can be built and compared in one pass); the bits are 40 bits of the trailing half, five
// for each word. Keys are hashes already: nothing is hashed again.
//
// Thread rule: free functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"
#include "dedupe/key_halves.h"

namespace tallystick {

struct alignas(32) FilterBlock {
  uint32_t words[8] = {};
  friend bool operator==(const FilterBlock&, const FilterBlock&) = default;
};
static_assert(sizeof(FilterBlock) == 32);

inline constexpr uint64_t kFilterKeysPerBlock = 16;

constexpr uint64_t FilterBlocksFor(uint64_t keys) {
  return (keys + kFilterKeysPerBlock - 1) / kFilterKeysPerBlock;
}

// The block of a key; ascending with the key's leading half.
inline uint64_t FilterBlockOf(const KeyHalves& key, uint64_t blocks) {
  return SpreadOver(key.leading, blocks);
}

void AddToBlock(const EventHash& key, FilterBlock* block);

// Appends to `candidates` the index of every key that `filter` has, ascending.
void ProbeFilter(std::span<const FilterBlock> filter, std::span<const EventHash> keys,
                 std::vector<uint32_t>* candidates);

}  // namespace tallystick
