// A segment's rollup: for each account, and for all accounts together, the exact sum and the number
// of its counted rows by product, meter, unit, model, source, kind and UTC hour. It is a pure
// function of the segment: no watermark, no lag; a late event is simply in the segment that it
// arrived in.
//
// Lines are kept only where they pay: those of an account if each stands for eight of its counted
// rows on average, those of all accounts likewise. Whoever finds none reads the rows, and loses
// little.
//
// Thread rule: values and free functions.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "base/decimal.h"
#include "env/env.h"
#include "env/io_governor.h"
#include "segment/segment_reader.h"

namespace tallystick {

inline constexpr int64_t kHourMs = 3'600'000;
inline constexpr uint32_t kRowsPerLineMin = 8;

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

struct Rollup {
  // Entry 0 is all accounts together, entry c + 1 the account with code c. The lines of entry e are
  // starts[e] .. starts[e + 1] - 1, ascending by key; none where they would not pay.
  std::vector<uint64_t> starts;
  std::vector<RollupLine> lines;
  uint32_t rows_per_line_min = kRowsPerLineMin;  // that made them pay
};

// Adds up all rows of the segment. They are read through its reader's cache and verified as they
// are read; kCorruption also where accounts are not in order. Memory: some 100 bytes for each line
// of the largest account and of all accounts together, of each at most one for rows_per_line_min
// counted rows, beside the lines that are kept.
Result<Rollup> BuildRollup(const SegmentReader& segment, uint32_t rows_per_line_min);

// Creates `path` (which must not exist), writes everything, syncs it; the caller syncs the
// directory, and on an error removes the file. `rollup`: of this segment, as BuildRollup made it.
// `governor` may be null.
Status WriteRollup(FileSystem& fs, const std::string& path, const SegmentInfo& segment,
                   const Rollup& rollup, IoGovernor* governor);

std::string RollupFileName(FileNumber number);  // "000123.sum"

}  // namespace tallystick
