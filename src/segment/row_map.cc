#include "segment/row_map.h"

#include <bit>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr uint64_t kWordBits = 64;

// The place of the set bit number `n` (from 0) of the word. REQUIRES: it has more than n.
unsigned SelectInWord(uint64_t word, unsigned n) {
  for (; n > 0; --n) word &= word - 1;
  return static_cast<unsigned>(std::countr_zero(word));
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
  for (unsigned ones; (ones = static_cast<unsigned>(std::popcount(word))) <= left;) {
    left -= ones;
    word = high_[++at];
  }
  const uint64_t bit = at * kWordBits + SelectInWord(word, left);
  return static_cast<uint32_t>(((bit - row) << low_bits_) | Low(row));
}

}  // namespace tallystick
