// SegmentChecker: CheckSegment (segment_reader.h) in bounded pieces.
//
// Thread rule: one thread; the reader must outlive it.
#pragma once

#include <cstdint>
#include <memory>

#include "segment/segment_reader.h"

namespace tallystick {

class SegmentChecker {
 public:
  explicit SegmentChecker(const SegmentReader& reader);
  ~SegmentChecker();

  // Checks the next so many row groups, before the first everything that stands behind them, after
  // the last that nothing is missing. False: all of the file is as it should be. After an error it
  // must not be called again.
  Result<bool> Step(uint32_t groups);
  const SegmentTotals& totals() const;  // of the rows so far. REQUIRES: a Step was ok

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tallystick
