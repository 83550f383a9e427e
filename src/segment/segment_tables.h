// The small tables behind a segment's rows. Each is a view into a block that it keeps. Load takes
// it through the cache; Parse is given the payload. kCorruption, with file and offset, if it does
// not decode.
#pragma once

#include <cstdint>

#include "base/types.h"
#include "segment/chunk.h"
#include "segment/segment_file.h"

namespace tallystick {

// Account code -> rows. The first row of each account in ascending order of the codes, then the
// number of all rows.
class AccountIndex {
 public:
  static Result<AccountIndex> Load(const SegmentFile& file, uint32_t accounts);
  static Result<AccountIndex> Parse(const SegmentFile& file, SegmentFile::Block block,
                                    uint32_t accounts);
  // REQUIRES: code < accounts.
  Result<RowRange> RowsOf(uint32_t code) const;
  uint64_t Start(uint32_t code) const { return starts_.Get(code); }

 private:
  const SegmentFile* file_ = nullptr;
  SegmentFile::Block block_;
  IntChunk starts_;
};

// u32 number of them, their first LSNs and times as integers.
class CommitTimeTable {
 public:
  static Result<CommitTimeTable> Load(const SegmentFile& file);
  static Result<CommitTimeTable> Parse(const SegmentFile& file, SegmentFile::Block block);
  uint32_t size() const { return size_; }
  // REQUIRES: i < size().
  CommitTime Get(uint32_t i) const { return {{lsns_.Get(i)}, Unbiased(times_.Get(i))}; }
  // The last entry at or before `lsn`.
  Result<int64_t> Find(Lsn lsn) const;

 private:
  const SegmentFile* file_ = nullptr;
  SegmentFile::Block block_;
  uint32_t size_ = 0;
  IntChunk lsns_;
  IntChunk times_;
};

// 16 bytes of hash and u32 row each, ascending. REQUIRES: the segment has such rows.
class QuarantinedList {
 public:
  static Result<QuarantinedList> Load(const SegmentFile& file);
  static Result<QuarantinedList> Parse(const SegmentFile& file, SegmentFile::Block block);
  uint32_t size() const { return size_; }
  // REQUIRES: i < size().
  EventHash hash(uint32_t i) const;
  uint32_t row(uint32_t i) const;
  // The first entry whose hash is not below this one, or size().
  uint32_t LowerBound(const EventHash& hash) const;

 private:
  SegmentFile::Block block_;
  uint32_t size_ = 0;
};

}  // namespace tallystick
