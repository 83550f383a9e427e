// RollupCheck: takes the lines that a segment's rows give and compares them with those of its
// rollup's file, past the cache, as they come. The first difference is named, as kCorruption with
// file and offset, and ends the building.
//
// Thread rule: one thread; the reader must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "rollup/rollup_cursor.h"

namespace tallystick {

class RollupCheck final : public RollupSink {
 public:
  static Result<RollupCheck> Open(const RollupReader& reader);

  Status Add(const RollupLine& line) override { return Keep(Compare(line)); }
  Status EndEntry() override { return Keep(CompareEnd()); }
  // After the last entry: whether the file has no more.
  Status Finish();

  // What is wrong with the file so far; ok if it was the building that failed.
  const Status& status() const { return status_; }
  uint64_t lines() const { return lines_; }  // that the rows gave

 private:
  RollupCheck(const RollupReader& reader, RollupCursor cursor)
      : reader_(&reader), cursor_(std::move(cursor)) {}

  Status Compare(const RollupLine& line);
  Status CompareEnd();
  Status OtherAccounts() const;
  const Status& Keep(Status status) { return status_ = std::move(status); }

  const RollupReader* reader_;
  RollupCursor cursor_;
  Status status_;
  uint64_t lines_ = 0;
  uint64_t entry_ = 0;
};

// What the rows of a segment give, held against its rollup.
struct RollupComparison {
  Status rows;    // why they could not be read, or `cancelled`; then nothing is known of the rollup
  Status rollup;  // what is wrong with it
  uint64_t lines = 0;  // that the rows gave
};
RollupComparison CompareWithRows(const RollupReader& rollup, const SegmentReader& rows,
                                 const std::function<bool()>& stopped);

}  // namespace tallystick
