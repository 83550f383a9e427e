// A segment's rollup: for each account, and for all accounts together, the exact sum and the number
// of its counted rows by product, meter, unit, model, source, kind and UTC hour. It is a pure
// function of the segment: no watermark, no lag; a late event is simply in the segment that it
// arrived in.
//
// Lines are kept only where they pay: those of an account if each stands for eight of its counted
// rows on average, those of all accounts likewise; and where they are no more than a million, so
// that the memory of making them is bounded. Whoever finds none reads the rows.
//
// Nothing here keeps all lines: they go one by one from the builder to whoever writes or compares
// them. Of a segment of hundreds of millions of rows they would be gigabytes.
//
// Thread rule: values and free functions.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

#include "base/decimal.h"
#include "base/types.h"
#include "segment/segment_reader.h"

namespace tallystick {

inline constexpr int64_t kHourMs = 3'600'000;
inline constexpr uint32_t kRowsPerLineMin = 8;
inline constexpr uint64_t kRollupLinesMax = 1 << 20;  // of one entry

// Where the UTC hour of a time begins; of the very first hour, which does not fit, where 64 bits
// do.
constexpr int64_t HourStartMs(int64_t timestamp_ms) {
  const int64_t into = timestamp_ms % kHourMs;
  int64_t start = 0;
  if (__builtin_sub_overflow(timestamp_ms, into < 0 ? into + kHourMs : into, &start)) {
    return INT64_MIN;
  }
  return start;
}

// What the rows of a line have in common: codes of the segment's dictionaries (as in its chunks, so
// model 0 is absent), the kind, the hour's start.
struct RollupKey {
  uint32_t product = 0;
  uint32_t meter = 0;
  uint32_t unit = 0;
  uint32_t model = 0;
  uint32_t source = 0;
  uint32_t kind = 0;
  int64_t hour_start_ms = 0;
  friend auto operator<=>(const RollupKey&, const RollupKey&) = default;
};

struct RollupLine {
  RollupKey key;
  ExactSum sum;
  uint64_t count = 0;
  friend bool operator==(const RollupLine&, const RollupLine&) = default;
};

// Takes a rollup's lines as they are made: entry 0, of all accounts together, then entry c + 1 of
// the account with code c. An error ends the making and is passed on.
class RollupSink {
 public:
  virtual ~RollupSink() = default;
  // Ascending by key within an entry. None where they would not pay.
  virtual Status Add(const RollupLine& line) = 0;
  virtual Status EndEntry() = 0;
};

// Adds up all rows of the segment, in two passes, since entry 0 comes first and is known last. They
// are read past the cache and verified as they are read; kCorruption also where accounts are not in
// order. kUnavailable `cancelled`: `stopped` (may be empty), which is asked before each row group.
// Memory: some 200 bytes for each line of all accounts together, then for each of one account at a
// time; of either never more than lines_max, nor than one for each rows_per_line_min counted rows.
Status BuildRollup(const SegmentReader& segment, uint32_t rows_per_line_min,
                   const std::function<bool()>& stopped, RollupSink& sink,
                   uint64_t lines_max = kRollupLinesMax);

// The status of what `stopped` ended.
Status RollupStopped();

std::string RollupFileName(FileNumber number);  // "000123.sum"

}  // namespace tallystick
