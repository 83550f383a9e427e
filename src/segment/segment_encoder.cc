#include "segment/segment_encoder.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "base/result.h"
#include "segment/dimension_chunk.h"

namespace tallystick {

using Packing = BlockWriter::Packing;

void GroupRows::Clear() {
  for (auto& column : codes) column.clear();
  for (auto* column : {&kinds, &dispositions, &timestamps, &lsns}) column->clear();
  quantities.clear();
  event_ids.Clear();
  corrections.clear();
  dimension_tails.clear();
}

SegmentEncoder::SegmentEncoder(std::unique_ptr<File> file, const SegmentSpec& spec,
                               bool dimensions_by_key, IoGovernor* governor)
    : out_(std::move(file), SegmentSeed(spec.database_id, spec.number), governor),
      spec_(spec),
      timestamp_min_ms_(std::numeric_limits<int64_t>::max()),
      timestamp_max_ms_(std::numeric_limits<int64_t>::min()) {
  TALLY_CHECK(spec.group_rows > 0 && spec.group_rows <= kSegmentGroupRowsMax);
  footer_.dimensions_by_key = dimensions_by_key;
  AppendSegmentHeader(spec.database_id, spec.number, payload_);
  out_.AppendPlain(payload_);
}

Status SegmentEncoder::WriteIntegers(SegmentColumn column, std::span<const uint64_t> values,
                                     GroupEntry* entry) {
  ColumnEntry& in_directory = entry->columns[ColumnIndex(column)];
  const auto [min, max] = std::ranges::minmax(values);
  in_directory.min = min;
  in_directory.max = max;
  if (min == max) return Status::Ok();
  payload_.clear();
  AppendIntChunk(values, payload_);
  return WriteChunk(column, true, Packing::kNone, entry);
}

Status SegmentEncoder::WriteChunk(SegmentColumn column, bool appended, Packing packing,
                                  GroupEntry* entry) {
  if (!appended) {
    return Status::InvalidArgument("segment_block_too_large", "the texts of a chunk are too large");
  }
  BlockRef ref;
  TALLY_RETURN_IF_ERROR(out_.Append(payload_, packing, &ref));
  entry->columns[ColumnIndex(column)].block_bytes = ref.bytes;
  return Status::Ok();
}

Status SegmentEncoder::WriteDimensions(const GroupRows& rows, GroupEntry* entry) {
  if (!footer_.dimensions_by_key) {
    return WriteIntegers(SegmentColumn::kDimensions, rows.codes[kDimensionDictionary], entry);
  }
  payload_.clear();
  const bool appended = AppendDimensionChunk(rows.dimension_tails, payload_);
  return WriteChunk(SegmentColumn::kDimensions, appended, Packing::kZstd, entry);
}

void SegmentEncoder::NoteAccounts(std::span<const uint64_t> codes) {
  for (size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] == account_starts_.size()) account_starts_.push_back(rows_ + i);
  }
}

Status SegmentEncoder::AddGroup(const GroupRows& rows) {
  TALLY_CHECK(rows.size() > 0 && rows.size() <= spec_.group_rows);
  NoteAccounts(rows.codes[0]);
  GroupEntry& entry = groups_.emplace_back();
  entry.offset = out_.offset();
  entry.quarantined = static_cast<uint32_t>(
      std::accumulate(rows.dispositions.begin(), rows.dispositions.end(), uint64_t{0}));

  payload_.clear();
  bool appended = rows.event_ids.Append(payload_);
  const Packing ids = rows.event_ids.uuids() ? Packing::kNone : Packing::kZstd;
  TALLY_RETURN_IF_ERROR(WriteChunk(SegmentColumn::kEventId, appended, ids, &entry));
  for (size_t c = 0; c < kDictionaryColumns.size(); ++c) {
    TALLY_RETURN_IF_ERROR(WriteIntegers(kDictionaryColumns[c].column, rows.codes[c], &entry));
  }
  TALLY_RETURN_IF_ERROR(WriteIntegers(SegmentColumn::kKind, rows.kinds, &entry));
  TALLY_RETURN_IF_ERROR(WriteIntegers(SegmentColumn::kDisposition, rows.dispositions, &entry));
  TALLY_RETURN_IF_ERROR(WriteIntegers(SegmentColumn::kTimestamp, rows.timestamps, &entry));
  payload_.clear();
  AppendQuantityChunk(rows.quantities, payload_);
  TALLY_RETURN_IF_ERROR(WriteChunk(SegmentColumn::kQuantity, true, Packing::kNone, &entry));
  TALLY_RETURN_IF_ERROR(WriteDimensions(rows, &entry));
  if (!rows.corrections.empty()) {
    payload_.clear();
    appended = AppendCorrectionChunk(rows.corrections, payload_);
    TALLY_RETURN_IF_ERROR(
        WriteChunk(SegmentColumn::kCorrectionRef, appended, Packing::kZstd, &entry));
  }
  TALLY_RETURN_IF_ERROR(WriteIntegers(SegmentColumn::kLsn, rows.lsns, &entry));
  const ColumnEntry& time = entry.at(SegmentColumn::kTimestamp);
  for (const uint64_t end : {time.min, time.max}) {
    timestamp_min_ms_ = std::min(timestamp_min_ms_, static_cast<int64_t>(end));
    timestamp_max_ms_ = std::max(timestamp_max_ms_, static_cast<int64_t>(end));
  }
  rows_ += rows.size();
  return Status::Ok();
}

Status SegmentEncoder::WriteTables(SegmentTables& tables) {
  for (size_t c = 0; c < kDictionaryCount; ++c) {
    if (c == kDimensionDictionary && footer_.dimensions_by_key) continue;
    TALLY_RETURN_IF_ERROR(
        out_.Append(tables.dictionaries[c], Packing::kZstd, &footer_.dictionaries[c]));
  }
  account_starts_.push_back(rows_);
  payload_.clear();
  AppendIntChunk(account_starts_, payload_);
  TALLY_RETURN_IF_ERROR(out_.Append(payload_, Packing::kNone, &footer_.account_index));
  TALLY_RETURN_IF_ERROR(WriteCommitTimes(tables.commit_times));
  return WriteQuarantined(tables.quarantined);
}

Status SegmentEncoder::WriteCommitTimes(std::span<const CommitTime> commit_times) {
  std::vector<uint64_t> lsns, times;
  for (const CommitTime& time : commit_times) {
    lsns.push_back(time.first_lsn.value);
    times.push_back(Biased(time.commit_time_us));
  }
  payload_.clear();
  PutFixed<uint32_t>(payload_, static_cast<uint32_t>(lsns.size()));
  AppendIntChunk(lsns, payload_);
  AppendIntChunk(times, payload_);
  return out_.Append(payload_, Packing::kNone, &footer_.commit_times);
}

Status SegmentEncoder::WriteQuarantined(std::vector<std::pair<EventHash, uint32_t>>& quarantined) {
  if (quarantined.empty()) return Status::Ok();
  std::ranges::sort(quarantined);
  payload_.clear();
  for (const auto& [hash, row] : quarantined) {
    PutFixed(payload_, hash.bytes);
    PutFixed<uint32_t>(payload_, row);
  }
  return out_.Append(payload_, Packing::kNone, &footer_.quarantined);
}

Status SegmentEncoder::WriteDirectory() {
  footer_.directory_offset = out_.offset();
  for (size_t begin = 0; begin < groups_.size(); begin += kGroupsPerPage) {
    payload_.clear();
    const size_t end = std::min<size_t>(begin + kGroupsPerPage, groups_.size());
    for (size_t i = begin; i < end; ++i) AppendGroupEntry(groups_[i], payload_);
    BlockRef ref;
    TALLY_RETURN_IF_ERROR(out_.Append(payload_, Packing::kNone, &ref));
  }
  return Status::Ok();
}

Result<WrittenSegment> SegmentEncoder::Finish(Lsn first_lsn, const SegmentTotals& totals,
                                              SegmentTables tables) {
  TALLY_CHECK(rows_ == totals.rows);
  TALLY_RETURN_IF_ERROR(WriteTables(tables));
  TALLY_RETURN_IF_ERROR(WriteDirectory());
  const uint64_t bytes = out_.offset() + kSegmentTailBytes;
  footer_.info = {.database_id = spec_.database_id,
                  .number = spec_.number,
                  .first_lsn = first_lsn,
                  .last_lsn = {first_lsn.value + rows_ - 1},
                  .rows = rows_,
                  .quarantined = totals.quarantined,
                  .bytes = bytes,
                  .group_rows = spec_.group_rows,
                  .timestamp_min_ms = timestamp_min_ms_,
                  .timestamp_max_ms = timestamp_max_ms_};
  footer_.scope = spec_.scope;
  footer_.quantity = totals.quantity;
  footer_.content_checksum = out_.content_checksum();
  payload_.clear();
  AppendSegmentTail(footer_, payload_);
  out_.AppendPlain(payload_);
  TALLY_RETURN_IF_ERROR(out_.Finish());
  return WrittenSegment{.bytes = bytes,
                        .footer_checksum = footer_.info.footer_checksum,
                        .totals = totals,
                        .row_of = {}};
}

}  // namespace tallystick
