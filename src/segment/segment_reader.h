// Reads a segment's rows, N.seg. Opening reads the footer only, whatever the size; everything else
// is read when it is asked for, by position, and verified before it is believed.
//
// Errors: kCorruption and kIoError, with file and offset. A damaged block fails what needs it and
// nothing else.
//
// Thread rule: SegmentReader from any thread. A cursor belongs to one thread and keeps the blocks
// of its current row group; its reader must outlive it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "env/env.h"
#include "model/row.h"
#include "segment/block_cache.h"
#include "segment/segment_writer.h"
#include "tallystick/event.h"

namespace tallystick {

class SegmentFile;

struct SegmentInfo {
  DatabaseId database_id;
  FileNumber number;
  Lsn first_lsn;
  Lsn last_lsn;
  uint64_t rows = 0;
  uint64_t quarantined = 0;
  uint64_t bytes = 0;  // of the file
  uint64_t footer_checksum = 0;
  uint32_t group_rows = 0;
  int64_t timestamp_min_ms = 0;
  int64_t timestamp_max_ms = 0;

  // Whether there may be rows in [from_ms, to_ms).
  bool Overlaps(int64_t from_ms, int64_t to_ms) const {
    return timestamp_min_ms < to_ms && timestamp_max_ms >= from_ms;
  }
};

// Which columns a reader wants; the others stay empty in its rows.
enum class SegmentColumn : uint32_t {
  kEventId = 1 << 0,
  kAccountId = 1 << 1,
  kProductId = 1 << 2,
  kMeterId = 1 << 3,
  kUnit = 1 << 4,
  kModelId = 1 << 5,
  kSubscriptionId = 1 << 6,
  kSource = 1 << 7,
  kKind = 1 << 8,
  kDisposition = 1 << 9,
  kTimestamp = 1 << 10,
  kQuantity = 1 << 11,
  kDimensions = 1 << 12,
  kCorrectionRef = 1 << 13,
  kLsn = 1 << 14,
};
using SegmentColumns = uint32_t;  // of SegmentColumn bits
inline constexpr SegmentColumns kAllSegmentColumns = (1u << 15) - 1;
constexpr SegmentColumns operator|(SegmentColumn a, SegmentColumn b) {
  return static_cast<SegmentColumns>(a) | static_cast<SegmentColumns>(b);
}
constexpr SegmentColumns operator|(SegmentColumns a, SegmentColumn b) {
  return a | static_cast<SegmentColumns>(b);
}

struct RowRange {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool empty() const { return begin == end; }
};

// Rows begin..end-1 of a row group.
struct GroupPart {
  uint32_t group = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

// Takes what lies in the first row group off the front of `rows`. REQUIRES: not empty.
inline GroupPart TakeGroupPart(uint32_t group_rows, RowRange* rows) {
  const uint32_t group = rows->begin / group_rows;
  const uint64_t first = uint64_t{group} * group_rows;
  const uint64_t end = std::min<uint64_t>(rows->end - first, group_rows);
  const GroupPart part{group, static_cast<uint32_t>(rows->begin - first),
                       static_cast<uint32_t>(end)};
  rows->begin = static_cast<uint32_t>(first + end);
  return part;
}

// What a row group is known to hold without reading its rows.
struct GroupZone {
  int64_t timestamp_min_ms = 0;
  int64_t timestamp_max_ms = 0;
  Lsn lsn_min;
  Lsn lsn_max;
};

class SegmentReader {
 public:
  // `expected`: what the manifest says. A file of another database, another number or another
  // content is kCorruption. With footer_checksum 0 the content is not compared (inspect).
  struct Expected {
    DatabaseId database_id;
    FileNumber number;
    uint64_t footer_checksum = 0;
  };
  static Result<std::unique_ptr<SegmentReader>> Open(FileSystem& fs, const std::string& path,
                                                     const Expected& expected, BlockCache& cache);
  ~SegmentReader();

  const SegmentInfo& info() const;
  SegmentTotals totals() const;  // as the footer says
  const std::string& path() const;
  uint32_t group_count() const;
  // Of its dictionaries, account index, commit times, quarantined list: what is read at a piece.
  uint64_t table_bytes() const;

  // The account's rows, adjacent in the sort order; empty if it has none. Without one: all rows.
  Result<RowRange> RowsOfAccount(std::optional<std::string_view> account_id) const;
  // By account code: its first row; and the number of rows at the end.
  Result<std::vector<uint32_t>> AccountStarts() const;
  Result<GroupZone> Zone(uint32_t group) const;
  Result<Lsn> LsnOfRow(uint32_t row) const;
  Result<int64_t> CommitTimeMicros(Lsn lsn) const;
  Result<std::vector<CommitTime>> CommitTimes() const;
  // Row numbers of the quarantined rows, ascending; of all, or of one identity (IdHash, not the
  // conflict key). Reads nothing where there are none.
  Result<std::vector<uint32_t>> QuarantinedRows(std::optional<EventHash> id_hash) const;

  const SegmentFile& file() const { return *file_; }  // for the code of this folder

 private:
  explicit SegmentReader(std::unique_ptr<SegmentFile> file);
  std::unique_ptr<SegmentFile> file_;
};

// Rows one at a time. Seek is cheap inside a row group and reads the chunks of `columns` at its
// first row of another.
class SegmentCursor {
 public:
  SegmentCursor(const SegmentReader& reader, SegmentColumns columns);
  SegmentCursor(SegmentCursor&&) noexcept;
  ~SegmentCursor();

  Status Seek(uint32_t row);
  // Of the current row. Views stay valid until the cursor goes to another row group.
  Lsn lsn() const;
  Disposition disposition() const;
  int64_t timestamp_ms() const;
  RowView row() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Reads the whole file: every checksum, every row, the order of the sort, every LSN of the range
// exactly once, the account index, the zones, the quarantined list. What it found, or the first
// fault. Used after every write, by verify, and by inspect. The cache is left alone. `progress`
// (may be empty) is called after each row group with the rows done so far.
Result<SegmentTotals> CheckSegment(const SegmentReader& reader,
                                   const std::function<void(uint64_t)>& progress);

std::string SegmentFileName(FileNumber number);  // "000123.seg"

}  // namespace tallystick
