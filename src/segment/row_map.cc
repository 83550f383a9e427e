#include "segment/row_map.h"

#include <bit>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr uint64_t kEachByte = 0x0101'0101'0101'0101;

// Byte i: how many bits are set in bytes 0 to i of the word. Without an instruction for it, which
// not every x86-64 has.
uint64_t OnesUpToByte(uint64_t word) {
  word -= word >> 1 & 0x5555'5555'5555'5555;
  word = (word & 0x3333'3333'3333'3333) + (word >> 2 & 0x3333'3333'3333'3333);
  return ((word + (word >> 4)) & 0x0f0f'0f0f'0f0f'0f0f) * kEachByte;
}

// The place of the set bit number `n` (from 0) of the word; `ones` is its OnesUpToByte. Source:
// Vigna, "Broadword implementation of rank/select queries" (2008), then bit by bit in the byte.
// REQUIRES: the word has more than n bits set.
unsigned SelectInWord(uint64_t word, uint64_t ones, unsigned n) {
  constexpr uint64_t kHighBits = 0x80 * kEachByte;
  // The high bit of byte i stays set where no more than n ones are in bytes 0 to i.
  const uint64_t behind = (((n * kEachByte | kHighBits) - ones) & kHighBits) >> 7;
  const unsigned byte = static_cast<unsigned>(behind * kEachByte >> 56) * 8;
  n -= static_cast<unsigned>((ones << 8) >> byte & 0xff);
  uint64_t left = word >> byte;
  for (; n > 0; --n) left &= left - 1;
  return byte + static_cast<unsigned>(std::countr_zero(left));
}

}  // namespace

RowMap::RowMap(uint64_t rows, uint64_t merged_rows) {
  TALLY_CHECK(rows > 0 && rows <= merged_rows && merged_rows <= uint64_t{1} << 32);
  low_bits_ = static_cast<unsigned>(std::bit_width(merged_rows / rows)) - 1;
  low_.resize((rows * low_bits_ + kWordBits - 1) / kWordBits + 1);
  high_.resize((rows + (merged_rows >> low_bits_)) / kWordBits + 1);
  samples_.reserve((rows + kSampleRows - 1) / kSampleRows);
}

void RowMap::SetLow(uint64_t row, uint64_t value) {
  if (low_bits_ == 0) return;
  const uint64_t bits = value & ((uint64_t{1} << low_bits_) - 1);
  const uint64_t at = row * low_bits_;
  const auto shift = static_cast<unsigned>(at % kWordBits);
  low_[at / kWordBits] |= bits << shift;
  if (shift + low_bits_ > kWordBits) low_[at / kWordBits + 1] |= bits >> (kWordBits - shift);
}

uint64_t RowMap::Low(uint64_t row) const {
  if (low_bits_ == 0) return 0;
  const uint64_t at = row * low_bits_;
  const auto shift = static_cast<unsigned>(at % kWordBits);
  uint64_t bits = low_[at / kWordBits] >> shift;
  if (shift + low_bits_ > kWordBits) bits |= low_[at / kWordBits + 1] << (kWordBits - shift);
  return bits & ((uint64_t{1} << low_bits_) - 1);
}

void RowMap::Append(uint64_t first, uint32_t count) {
  for (uint64_t number = first; number < first + count; ++number, ++size_) {
    SetLow(size_, number);
    const uint64_t bit = (number >> low_bits_) + size_;
    high_[bit / kWordBits] |= uint64_t{1} << (bit % kWordBits);
    if (size_ % kSampleRows == 0) samples_.push_back(static_cast<uint32_t>(bit));
  }
}

uint32_t RowMap::At(uint32_t row) const {
  TALLY_DCHECK(row < size_);
  const uint64_t sample = samples_[row / kSampleRows];
  uint64_t at = sample / kWordBits;
  // Bits before the sample's belong to rows before it.
  uint64_t word = high_[at] & (~uint64_t{0} << (sample % kWordBits));
  unsigned left = row % kSampleRows;
  uint64_t ones = OnesUpToByte(word);
  for (; ones >> 56 <= left; ones = OnesUpToByte(word)) {
    left -= static_cast<unsigned>(ones >> 56);
    word = high_[++at];
  }
  const uint64_t bit = at * kWordBits + SelectInWord(word, ones, left);
  return static_cast<uint32_t>(((bit - row) << low_bits_) | Low(row));
}

}  // namespace tallystick
