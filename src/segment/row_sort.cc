// Codes, timestamp and place of a row are packed into one integer of as few bits as this segment
// needs, and the integers sorted by radix: each pass orders by 11 bits more and keeps the order of
// equals, so the bits of the place, which are in order from the start, need no pass.
#include "segment/row_sort.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace tallystick {
namespace {

constexpr unsigned kDigitBits = 11;
constexpr size_t kDigits = size_t{1} << kDigitBits;

template <typename Key>
void RadixSort(std::vector<Key>& keys, unsigned begin_bit, unsigned end_bit) {
  std::vector<Key> other(keys.size());
  for (unsigned bit = begin_bit; bit < end_bit; bit += kDigitBits) {
    const auto digit = [bit](Key key) { return static_cast<size_t>(key >> bit) & (kDigits - 1); };
    std::array<uint32_t, kDigits> place{};
    for (const Key key : keys) ++place[digit(key)];
    if (place[digit(keys[0])] == keys.size()) continue;
    uint32_t sum = 0;
    for (uint32_t& count : place) sum += std::exchange(count, sum);
    for (const Key key : keys) other[place[digit(key)]++] = key;
    keys.swap(other);
  }
}

struct Packing {
  std::array<unsigned, kSortedDictionaryColumns> code_bits;
  unsigned timestamp_bits = 0;
  unsigned place_bits = 0;
  int64_t timestamp_min_ms = 0;

  unsigned bits() const {
    return std::accumulate(code_bits.begin(), code_bits.end(), timestamp_bits + place_bits);
  }
};

template <typename Key>
std::vector<uint32_t> SortPacked(std::span<const RowCodes> codes,
                                 std::span<const int64_t> timestamps_ms, const Packing& packing) {
  std::vector<Key> keys(codes.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    Key key = 0;
    for (size_t c = 0; c < kSortedDictionaryColumns; ++c) {
      key = key << packing.code_bits[c] | codes[i][c];
    }
    key = key << packing.timestamp_bits |
          static_cast<uint64_t>(timestamps_ms[i] - packing.timestamp_min_ms);
    keys[i] = key << packing.place_bits | i;
  }
  RadixSort(keys, packing.place_bits, packing.bits());
  std::vector<uint32_t> order(keys.size());
  const Key mask = (Key{1} << packing.place_bits) - 1;
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint32_t>(keys[i] & mask);
  return order;
}

}  // namespace

std::vector<uint32_t> SortRows(std::span<const RowCodes> codes,
                               std::span<const int64_t> timestamps_ms,
                               std::span<const uint32_t> code_counts) {
  const auto [min, max] = std::ranges::minmax(timestamps_ms);
  Packing packing;
  for (size_t c = 0; c < kSortedDictionaryColumns; ++c) {
    packing.code_bits[c] = static_cast<unsigned>(std::bit_width(code_counts[c] - 1));
  }
  packing.timestamp_min_ms = min;
  packing.timestamp_bits = static_cast<unsigned>(std::bit_width(static_cast<uint64_t>(max - min)));
  packing.place_bits = static_cast<unsigned>(std::bit_width(codes.size() - 1));
  if (packing.bits() <= 64) return SortPacked<uint64_t>(codes, timestamps_ms, packing);
  if (packing.bits() <= 128) return SortPacked<uint128>(codes, timestamps_ms, packing);

  std::vector<uint32_t> order(codes.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, [&](uint32_t a, uint32_t b) {
    for (size_t c = 0; c < kSortedDictionaryColumns; ++c) {
      if (codes[a][c] != codes[b][c]) return codes[a][c] < codes[b][c];
    }
    return timestamps_ms[a] != timestamps_ms[b] ? timestamps_ms[a] < timestamps_ms[b] : a < b;
  });
  return order;
}

}  // namespace tallystick
