// MergeSource: one input of a merge, a row group at a time, with the codes of the merged
// dictionaries.
//
// Thread rule: one thread; the reader must outlive it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <vector>

#include "segment/dimension_chunk.h"
#include "segment/segment_encoder.h"
#include "segment/segment_file.h"
#include "segment/segment_reader.h"

namespace tallystick {

// What rows are sorted by, but for the LSN: inputs follow one another on the LSN line, and the rows
// of one are in order.
struct MergeKey {
  uint64_t account_product = 0;
  uint64_t meter_unit = 0;
  uint64_t model = 0;
  uint64_t timestamp = 0;
  friend auto operator<=>(const MergeKey&, const MergeKey&) = default;
};

// Codes of a segment -> codes of the merged one, by dictionary; empty: there are none. Code 0 of a
// column whose values may be absent is counted.
using CodeMaps = std::array<std::vector<uint32_t>, kDictionaryCount>;

class MergeSource {
 public:
  // `dimensions`: the segment's dictionary of dimension sets, where it has one and the merged
  // segment has none; else empty. It must outlive what is appended.
  MergeSource(const SegmentReader& reader, CodeMaps maps, DictionaryView dimensions);

  // Goes to the first row. REQUIRES: called once, first.
  Status Start() { return LoadGroup(0); }
  bool done() const { return group_ == file_.footer().group_count(); }
  // Of the current row. REQUIRES: !done().
  const MergeKey& key() const { return keys_[at_]; }
  // How many rows from the current one on, at most `most` and not beyond the row group, come before
  // `bound` (with `equal`, also those that equal it).
  uint32_t RunBefore(const MergeKey& bound, bool equal, uint32_t most) const;
  uint32_t left_in_group() const { return static_cast<uint32_t>(keys_.size()) - at_; }

  uint32_t at() const { return at_; }
  // All of the current row group but texts.
  const GroupRows& columns() const { return columns_; }

  // Appends the texts of the next `count` rows to `out`, where the first of them is row `row`. What
  // `out` borrows from this row group stays valid until Release.
  Status TakeTexts(uint32_t count, uint32_t row, bool dimensions_by_key, GroupRows& out);
  // Goes behind the next `count` rows, of which the texts were taken.
  Status Advance(uint32_t count);
  // Nothing that was taken is borrowed any more.
  void Release();

 private:
  Status LoadGroup(uint32_t group);
  Status LoadIntegers(SegmentColumn column, std::vector<uint64_t>* values);
  Status LoadCodes();
  Status LoadTexts();
  Result<SegmentFile::Block> Payload(SegmentColumn column);
  void MakeKeys();
  Status TakeEventIds(uint32_t count, GroupRows& out) const;
  Status TakeCorrections(uint32_t count, uint32_t row, GroupRows& out);
  Status TakeDimensions(uint32_t count, GroupRows& out);
  Status ColumnFault(SegmentColumn column, std::string_view what) const;

  const SegmentFile& file_;
  const CodeMaps maps_;
  const DictionaryView dimensions_;

  // Of the current row group.
  uint32_t group_ = 0;
  uint32_t at_ = 0;
  uint32_t rows_ = 0;
  GroupEntry entry_;
  Bytes raw_;  // its blocks as they stand in the file
  GroupRows columns_;
  std::vector<MergeKey> keys_;
  EventIdChunk event_ids_;
  CorrectionChunk corrections_;
  uint32_t next_correction_ = 0;
  DimensionChunk dimensions_by_key_;
  SegmentFile::Block event_id_block_, correction_block_, dimension_block_;

  std::vector<SegmentFile::Block> kept_;  // blocks of groups that were left, still borrowed from
  std::vector<std::unique_ptr<Bytes>> tails_;  // dimensions that were put together
};

}  // namespace tallystick
