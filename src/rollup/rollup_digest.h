// RollupDigest: what the lines of a rollup come to, so that those that were written and those that
// are read back can be compared without keeping either.
//
// Thread rule: a value.
#pragma once

#include <cstdint>

#include "rollup/rollup.h"

namespace tallystick {

class RollupDigest {
 public:
  // In the order of the file.
  void Add(const RollupLine& line);
  void EndEntry();
  uint64_t lines() const { return lines_; }

  // The lines of all accounts together, where there are any, stand for exactly the counted rows of
  // the segment, and add up to the quantity that its footer says. kCorruption if not.
  Status CheckTotals(const SegmentReader& segment) const;

  friend bool operator==(const RollupDigest&, const RollupDigest&) = default;

 private:
  uint64_t hash_ = 0;  // of all lines and of the ends of entries, chained
  uint64_t lines_ = 0;
  uint64_t entries_ = 0;
  uint64_t lines_of_all_ = 0;  // of entry 0
  uint64_t count_of_all_ = 0;
  ExactSum sum_of_all_;
};

}  // namespace tallystick
