// Writes a segment's rows, N.seg: sorted, in columns, once. docs/formats/segment.md has the layout.
//
// Thread rule: a free function; background threads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/decimal.h"
#include "base/types.h"
#include "env/env.h"
#include "env/io_governor.h"
#include "model/row.h"
#include "tallystick/event.h"
#include "tallystick/options.h"

namespace tallystick {

inline constexpr uint32_t kSegmentGroupRows = 8192;
inline constexpr uint32_t kSegmentGroupRowsMax = 65'536;
inline constexpr uint32_t kSegmentDimensionSetsMax = 65'536;
inline constexpr uint64_t kSegmentDimensionSetBytesMax = 16 << 20;

// A frame's commit time: of the rows from first_lsn up to the next entry's.
struct CommitTime {
  Lsn first_lsn;
  int64_t commit_time_us = 0;
  friend bool operator==(const CommitTime&, const CommitTime&) = default;
};

struct SegmentSpec {
  DatabaseId database_id;
  FileNumber number;
  IdentityScope scope = IdentityScope::kGlobal;
  uint32_t group_rows = kSegmentGroupRows;  // rows of a row group; tests make it small
  // More distinct sets of dimensions than this, or longer ones together: a column for each key
  // instead of a dictionary.
  uint32_t dimension_sets_max = kSegmentDimensionSetsMax;
  uint64_t dimension_set_bytes_max = kSegmentDimensionSetBytesMax;
  bool WantsDimensionsByKey(uint32_t sets, uint64_t bytes) const {
    return sets > dimension_sets_max || bytes > dimension_set_bytes_max;
  }
};

// The rows of a segment in LSN order: row i has LSN first_lsn + i. Borrowed during the call.
struct SegmentInput {
  Lsn first_lsn;
  std::span<const RecordView> records;       // valid canonical bytes; at least one
  std::span<const CommitTime> commit_times;  // ascending; the first covers first_lsn
};

// What must come out again when the segment is read.
struct SegmentTotals {
  uint64_t rows = 0;
  uint64_t quarantined = 0;
  ExactSum quantity;  // of the counted rows
  friend bool operator==(const SegmentTotals&, const SegmentTotals&) = default;
};

struct WrittenSegment {
  uint64_t bytes = 0;  // of the file
  uint64_t footer_checksum = 0;
  SegmentTotals totals;
  std::vector<uint32_t> row_of;  // by LSN - first_lsn: the row's number in the file's order
};

// Creates `path` (which must not exist), writes everything, syncs it; the caller syncs the
// directory. On an error the caller removes the file. `governor` may be null.
Result<WrittenSegment> WriteSegment(FileSystem& fs, const std::string& path,
                                    const SegmentSpec& spec, const SegmentInput& input,
                                    IoGovernor* governor);

}  // namespace tallystick
