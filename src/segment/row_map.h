// RowMap: where each row of a segment stands in the segment that it was merged into.
//
// A merge keeps the order of each input's rows, so the map ascends, and is kept as such: some
// 3 + log2(merged rows / rows) bits a row, whatever the rows are. Source: Elias 1974, Fano 1971, in
// the form of Vigna, "Quasi-succinct indices" (2013): the low bits of each number packed, the high
// bits in unary, found by a sample every 32 rows and counting ones from there.
//
// Thread rule: one writer; once it is complete, any number of readers.
#pragma once

#include <cstdint>
#include <vector>

namespace tallystick {

class RowMap {
 public:
  // REQUIRES: rows <= merged_rows <= 2^32.
  RowMap(uint64_t rows, uint64_t merged_rows);

  // The next `count` rows go to first, first + 1, ... REQUIRES: `first` is above all before it, and
  // no more than `rows` are added.
  void Append(uint64_t first, uint32_t count);
  uint64_t size() const { return size_; }

  // REQUIRES: row < size().
  uint32_t At(uint32_t row) const;
  // For looking up many rows that are anywhere: PrefetchSample of all of them, then PrefetchBits,
  // then At seldom waits for memory. REQUIRES: row < size().
  void PrefetchSample(uint32_t row) const {
    __builtin_prefetch(&samples_[row / kSampleRows]);
    __builtin_prefetch(&low_[uint64_t{row} * low_bits_ / kWordBits]);
  }
  void PrefetchBits(uint32_t row) const {
    __builtin_prefetch(&high_[samples_[row / kSampleRows] / kWordBits]);
  }

 private:
  static constexpr uint32_t kSampleRows = 32;
  static constexpr uint64_t kWordBits = 64;

  void SetLow(uint64_t row, uint64_t value);
  uint64_t Low(uint64_t row) const;

  unsigned low_bits_ = 0;
  uint64_t size_ = 0;
  std::vector<uint64_t> low_;      // low_bits_ of each
  std::vector<uint64_t> high_;     // for row i, bit (number >> low_bits_) + i
  std::vector<uint32_t> samples_;  // by row / kSampleRows: the place of its bit in high_
};

}  // namespace tallystick
