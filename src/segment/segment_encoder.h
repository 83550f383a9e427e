// SegmentEncoder: puts the rows and tables of a segment into its file. Who calls it brings the rows
// in the order of the sort, a row group at a time (from a memtable, or merged from segments).
//
// Invariants:
//   1. Blocks are written once, in the order of the file, each from a whole payload.
//   2. The footer comes last, so that a file that was cut off anywhere has none.
//
// Thread rule: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "segment/block_writer.h"
#include "segment/chunk.h"
#include "segment/segment_format.h"
#include "segment/segment_writer.h"

namespace tallystick {

// The rows of one row group, column by column.
struct GroupRows {
  std::array<std::vector<uint64_t>, kDictionaryCount> codes;
  std::vector<uint64_t> kinds, dispositions, timestamps, lsns;
  std::vector<Quantity> quantities;  // without trailing zeros
  EventIdBuilder event_ids;
  std::vector<CorrectionChunk::Item> corrections;
  std::vector<std::string_view> dimension_tails;  // where dimensions have no codes

  uint32_t size() const { return static_cast<uint32_t>(lsns.size()); }
  void Clear();
};

// What stands behind the row groups.
struct SegmentTables {
  std::array<Bytes, kDictionaryCount> dictionaries;  // as DictionaryBuilder::Finish makes them
  std::span<const CommitTime> commit_times;
  std::vector<std::pair<EventHash, uint32_t>> quarantined;  // identity hash, row; in any order
};

class SegmentEncoder {
 public:
  // `spec` outlives it. `file` is new and empty.
  SegmentEncoder(std::unique_ptr<File> file, const SegmentSpec& spec, bool dimensions_by_key,
                 IoGovernor* governor);

  // REQUIRES: spec.group_rows rows, but for the last group, which may have fewer.
  Status AddGroup(const GroupRows& rows);
  // Writes everything else and syncs the file. `totals`: of all rows, from another source than the
  // rows that were added, so that reading them back proves something. row_of stays empty.
  Result<WrittenSegment> Finish(Lsn first_lsn, const SegmentTotals& totals, SegmentTables tables);

 private:
  Status WriteIntegers(SegmentColumn column, std::span<const uint64_t> values, GroupEntry* entry);
  Status WriteChunk(SegmentColumn column, bool appended, BlockWriter::Packing packing,
                    GroupEntry* entry);
  Status WriteDimensions(const GroupRows& rows, GroupEntry* entry);
  void NoteAccounts(std::span<const uint64_t> codes);
  Status WriteTables(SegmentTables& tables);
  Status WriteCommitTimes(std::span<const CommitTime> commit_times);
  Status WriteQuarantined(std::vector<std::pair<EventHash, uint32_t>>& quarantined);
  Status WriteDirectory();

  BlockWriter out_;
  const SegmentSpec& spec_;
  SegmentFooter footer_;
  uint64_t rows_ = 0;
  int64_t timestamp_min_ms_;
  int64_t timestamp_max_ms_;
  std::vector<uint64_t> account_starts_;
  std::vector<GroupEntry> groups_;
  Bytes payload_;
};

}  // namespace tallystick
