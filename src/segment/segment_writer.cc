// Writes a segment: collect, sort, encode.
//
//   collect   each record is decoded once, in LSN order: its dictionary columns become codes
//   sort      dictionaries and rows are ranked (row_sort.h)
//   encode    row group by row group; what is no code is taken from the record again, whose first
//             bytes hold it
//
// Invariants:
//   1. The input is read, never copied: beyond the output buffer there are some dozens of bytes a
//      row, and the dictionaries' views.
//   2. Blocks are written once, in the order of the file, each from a whole payload.
//   3. The footer comes last, so that a file that was cut off anywhere has none.
#include "segment/segment_writer.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "model/identity.h"
#include "segment/block_writer.h"
#include "segment/chunk.h"
#include "segment/dictionary.h"
#include "segment/dimension_chunk.h"
#include "segment/row_sort.h"

namespace tallystick {
namespace {

using Packing = BlockWriter::Packing;

// In sort order records stand anywhere, so they are fetched into the cache this far ahead; what
// points to them twice as far.
constexpr size_t kPrefetchRows = 16;
// Of a record, enough for what ReadHead takes where the id is a UUID.
constexpr size_t kPrefetchBytes = 64;

// The count of dimensions and the pairs, as they stand at the end of the canonical bytes.
std::string_view DimensionTail(ByteSpan canonical, const RowView& row) {
  const size_t bytes = VarintBytes(row.dimension_count) + row.dimension_bytes.size();
  return AsText(canonical.last(bytes));
}

// What the encoder takes from the first bytes of valid canonical bytes (model/row.h has the table);
// the columns behind the event id are codes by then.
struct Head {
  EventKind kind;
  bool has_correction_ref;
  Quantity quantity;
  std::string_view event_id;
};

Head ReadHead(ByteSpan canonical) {
  constexpr uint8_t kHasCorrectionRef = 4;
  Decoder decoder(canonical);
  Head head;
  head.kind = static_cast<EventKind>(decoder.Fixed<uint8_t>());
  head.quantity.scale = decoder.Fixed<uint8_t>();
  const auto mantissa_bytes = decoder.Fixed<uint8_t>();
  head.has_correction_ref = (decoder.Fixed<uint8_t>() & kHasCorrectionRef) != 0;
  decoder.Fixed<int64_t>();  // timestamp
  const ByteSpan mantissa = decoder.Raw(mantissa_bytes);
  uint128 value = 0;
  if (!mantissa.empty() && (mantissa.back() & std::byte{0x80}) != std::byte{0}) value = ~value;
  std::memcpy(&value, mantissa.data(), mantissa.size());
  head.quantity.mantissa = static_cast<int128>(value);
  head.event_id = decoder.Text();
  TALLY_CHECK(decoder.ok());
  return head;
}

RowView Decode(const RecordView& record) {
  RowView row;
  TALLY_CHECK(DecodeCanonical(record.canonical, &row));
  return row;
}

class Writer {
 public:
  Writer(BlockWriter& out, const SegmentSpec& spec, const SegmentInput& input)
      : out_(out), spec_(spec), input_(input) {}

  Result<WrittenSegment> Write();

 private:
  void Collect();
  Status RankCodes();
  void Sort();
  Status WriteGroups();
  Status WriteGroup(uint32_t begin, uint32_t end);
  void Gather(uint32_t begin, uint32_t end);
  void GatherRow(uint32_t row);
  Status WriteIntegers(SegmentColumn column, std::span<const uint64_t> values, GroupEntry* entry);
  Status WriteChunk(SegmentColumn column, bool appended, Packing packing, GroupEntry* entry);
  Status WriteDimensions(GroupEntry* entry);
  Status WriteTables();
  Status WriteQuarantined();
  Status WriteDirectory();

  size_t rows() const { return input_.records.size(); }

  BlockWriter& out_;
  const SegmentSpec& spec_;
  const SegmentInput& input_;
  SegmentFooter footer_;
  WrittenSegment written_;

  // By place in the input.
  std::vector<RowCodes> codes_;
  std::vector<int64_t> timestamps_ms_;
  std::array<DictionaryBuilder, kDictionaryCount> dictionaries_;
  std::array<Bytes, kDictionaryCount> dictionary_blocks_;

  // By row of the file.
  std::vector<uint32_t> order_;
  std::vector<uint64_t> account_starts_;
  std::vector<GroupEntry> groups_;
  std::vector<std::pair<EventHash, uint32_t>> quarantined_;

  // Of the row group being written.
  struct Columns {
    std::array<std::vector<uint64_t>, kDictionaryCount> codes;
    std::vector<uint64_t> kinds, dispositions, timestamps, lsns;
    std::vector<Quantity> quantities;
    EventIdBuilder event_ids;
    std::vector<CorrectionChunk::Item> corrections;
    std::vector<std::string_view> dimension_tails;
    void Clear();
  } columns_;
  Bytes payload_;
};

void Writer::Columns::Clear() {
  for (auto& column : codes) column.clear();
  for (auto* column : {&kinds, &dispositions, &timestamps, &lsns}) column->clear();
  quantities.clear();
  event_ids.Clear();
  corrections.clear();
  dimension_tails.clear();
}

void Writer::Collect() {
  codes_.resize(rows());
  timestamps_ms_.resize(rows());
  DictionaryBuilder& sets = dictionaries_[kDimensionDictionary];
  for (size_t i = 0; i < rows(); ++i) {
    const RowView row = Decode(input_.records[i]);
    timestamps_ms_[i] = row.timestamp_ms;
    RowCodes& codes = codes_[i];
    const std::array<std::optional<std::string_view>, kDictionaryColumns.size()> texts = {
        row.account_id, row.product_id,      row.meter_id, row.unit,
        row.model_id,   row.subscription_id, row.source};
    for (size_t c = 0; c < texts.size(); ++c) {
      if (!texts[c].has_value()) continue;  // code 0
      codes[c] = dictionaries_[c].Add(*texts[c]) + (kDictionaryColumns[c].nullable ? 1 : 0);
    }
    if (footer_.dimensions_by_key) continue;
    codes[kDimensionDictionary] = sets.Add(DimensionTail(input_.records[i].canonical, row));
    footer_.dimensions_by_key = sets.size() > spec_.dimension_sets_max;
  }
}

Status Writer::RankCodes() {
  std::array<std::vector<uint32_t>, kDictionaryCount> ranks;
  for (size_t c = 0; c < kDictionaryCount; ++c) {
    if (c == kDimensionDictionary && footer_.dimensions_by_key) continue;
    auto ranked = dictionaries_[c].Finish(dictionary_blocks_[c]);
    if (!ranked.has_value()) {
      return Status::InvalidArgument("segment_block_too_large", "a dictionary is too large");
    }
    const bool nullable = c < kDictionaryColumns.size() && kDictionaryColumns[c].nullable;
    if (nullable) {
      for (uint32_t& rank : *ranked) ++rank;
      ranked->insert(ranked->begin(), 0);
    }
    ranks[c] = std::move(*ranked);
  }
  const size_t ranked = footer_.dimensions_by_key ? kDimensionDictionary : kDictionaryCount;
  for (RowCodes& codes : codes_) {
    for (size_t c = 0; c < ranked; ++c) codes[c] = ranks[c][codes[c]];
  }
  return Status::Ok();
}

void Writer::Sort() {
  std::array<uint32_t, kSortedDictionaryColumns> counts;
  for (size_t c = 0; c < counts.size(); ++c) {
    counts[c] = dictionaries_[c].size() + (kDictionaryColumns[c].nullable ? 1 : 0);
  }
  order_ = SortRows(codes_, timestamps_ms_, counts);
  written_.row_of.resize(rows());
  for (uint32_t row = 0; row < rows(); ++row) written_.row_of[order_[row]] = row;
}

void Writer::GatherRow(uint32_t row) {
  const uint32_t place = order_[row];
  const RecordView& record = input_.records[place];
  const ByteSpan canonical = record.canonical;
  const RowCodes& codes = codes_[place];
  if (codes[0] == account_starts_.size()) account_starts_.push_back(row);
  for (size_t c = 0; c < kDictionaryCount; ++c) columns_.codes[c].push_back(codes[c]);
  columns_.timestamps.push_back(static_cast<uint64_t>(timestamps_ms_[place]));
  columns_.lsns.push_back(input_.first_lsn.value + place);
  columns_.dispositions.push_back(static_cast<uint64_t>(record.disposition));

  const Head head = ReadHead(canonical);
  columns_.kinds.push_back(static_cast<uint64_t>(head.kind));
  columns_.quantities.push_back(head.quantity);
  columns_.event_ids.Add(head.event_id);
  if (record.disposition == Disposition::kCounted) {
    written_.totals.quantity.Add(head.quantity);
  } else {
    ++written_.totals.quarantined;
    quarantined_.emplace_back(IdHash(spec_.scope, CanonicalAccountId(canonical), head.event_id),
                              row);
  }
  if (!head.has_correction_ref && !footer_.dimensions_by_key) return;
  const RowView whole = Decode(record);
  if (whole.correction_ref.has_value()) {
    columns_.corrections.push_back({row % spec_.group_rows, *whole.correction_ref});
  }
  columns_.dimension_tails.push_back(DimensionTail(canonical, whole));
}

void Writer::Gather(uint32_t begin, uint32_t end) {
  columns_.Clear();
  for (uint32_t row = begin; row < end; ++row) {
    // Not in a function of its own: g++ 12 takes one that only prefetches for one without effect.
    if (row + 2 * kPrefetchRows < rows()) {
      const uint32_t far = order_[row + 2 * kPrefetchRows];
      __builtin_prefetch(&input_.records[far]);
      __builtin_prefetch(&codes_[far]);
      __builtin_prefetch(&timestamps_ms_[far]);
      const std::byte* canonical = input_.records[order_[row + kPrefetchRows]].canonical.data();
      __builtin_prefetch(canonical);
      __builtin_prefetch(canonical + kPrefetchBytes);
    }
    GatherRow(row);
  }
}

Status Writer::WriteIntegers(SegmentColumn column, std::span<const uint64_t> values,
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

Status Writer::WriteChunk(SegmentColumn column, bool appended, Packing packing, GroupEntry* entry) {
  if (!appended) {
    return Status::InvalidArgument("segment_block_too_large", "the texts of a chunk are too large");
  }
  BlockRef ref;
  TALLY_RETURN_IF_ERROR(out_.Append(payload_, packing, &ref));
  entry->columns[ColumnIndex(column)].block_bytes = ref.bytes;
  return Status::Ok();
}

Status Writer::WriteDimensions(GroupEntry* entry) {
  if (!footer_.dimensions_by_key) {
    return WriteIntegers(SegmentColumn::kDimensions, columns_.codes[kDimensionDictionary], entry);
  }
  payload_.clear();
  const bool appended = AppendDimensionChunk(columns_.dimension_tails, payload_);
  return WriteChunk(SegmentColumn::kDimensions, appended, Packing::kZstd, entry);
}

Status Writer::WriteGroup(uint32_t begin, uint32_t end) {
  const uint64_t quarantined_before = written_.totals.quarantined;
  Gather(begin, end);
  GroupEntry& entry = groups_.emplace_back();
  entry.offset = out_.offset();
  entry.quarantined = static_cast<uint32_t>(written_.totals.quarantined - quarantined_before);

  payload_.clear();
  bool appended = columns_.event_ids.Append(payload_);
  const Packing ids = columns_.event_ids.uuids() ? Packing::kNone : Packing::kZstd;
  TALLY_RETURN_IF_ERROR(WriteChunk(SegmentColumn::kEventId, appended, ids, &entry));
  for (size_t c = 0; c < kDictionaryColumns.size(); ++c) {
    TALLY_RETURN_IF_ERROR(WriteIntegers(kDictionaryColumns[c].column, columns_.codes[c], &entry));
  }
  TALLY_RETURN_IF_ERROR(WriteIntegers(SegmentColumn::kKind, columns_.kinds, &entry));
  TALLY_RETURN_IF_ERROR(WriteIntegers(SegmentColumn::kDisposition, columns_.dispositions, &entry));
  TALLY_RETURN_IF_ERROR(WriteIntegers(SegmentColumn::kTimestamp, columns_.timestamps, &entry));
  payload_.clear();
  AppendQuantityChunk(columns_.quantities, payload_);
  TALLY_RETURN_IF_ERROR(WriteChunk(SegmentColumn::kQuantity, true, Packing::kNone, &entry));
  TALLY_RETURN_IF_ERROR(WriteDimensions(&entry));
  if (!columns_.corrections.empty()) {
    payload_.clear();
    appended = AppendCorrectionChunk(columns_.corrections, payload_);
    TALLY_RETURN_IF_ERROR(
        WriteChunk(SegmentColumn::kCorrectionRef, appended, Packing::kZstd, &entry));
  }
  return WriteIntegers(SegmentColumn::kLsn, columns_.lsns, &entry);
}

Status Writer::WriteGroups() {
  const auto end = static_cast<uint32_t>(rows());
  for (uint32_t begin = 0; begin < end;) {
    const uint32_t group_end = begin + std::min(end - begin, spec_.group_rows);
    TALLY_RETURN_IF_ERROR(WriteGroup(begin, group_end));
    begin = group_end;
  }
  return Status::Ok();
}

Status Writer::WriteTables() {
  for (size_t c = 0; c < kDictionaryCount; ++c) {
    if (c == kDimensionDictionary && footer_.dimensions_by_key) continue;
    TALLY_RETURN_IF_ERROR(
        out_.Append(dictionary_blocks_[c], Packing::kZstd, &footer_.dictionaries[c]));
  }
  account_starts_.push_back(rows());
  payload_.clear();
  AppendIntChunk(account_starts_, payload_);
  TALLY_RETURN_IF_ERROR(out_.Append(payload_, Packing::kNone, &footer_.account_index));

  std::vector<uint64_t> lsns, times;
  for (const CommitTime& time : input_.commit_times) {
    lsns.push_back(time.first_lsn.value);
    times.push_back(Biased(time.commit_time_us));
  }
  payload_.clear();
  PutFixed<uint32_t>(payload_, static_cast<uint32_t>(lsns.size()));
  AppendIntChunk(lsns, payload_);
  AppendIntChunk(times, payload_);
  TALLY_RETURN_IF_ERROR(out_.Append(payload_, Packing::kNone, &footer_.commit_times));
  return WriteQuarantined();
}

Status Writer::WriteQuarantined() {
  if (quarantined_.empty()) return Status::Ok();
  std::ranges::sort(quarantined_);
  payload_.clear();
  for (const auto& [hash, row] : quarantined_) {
    PutFixed(payload_, hash.bytes);
    PutFixed<uint32_t>(payload_, row);
  }
  return out_.Append(payload_, Packing::kNone, &footer_.quarantined);
}

Status Writer::WriteDirectory() {
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

Result<WrittenSegment> Writer::Write() {
  payload_.clear();
  AppendSegmentHeader(spec_.database_id, spec_.number, payload_);
  out_.AppendPlain(payload_);
  Collect();
  TALLY_RETURN_IF_ERROR(RankCodes());
  Sort();
  TALLY_RETURN_IF_ERROR(WriteGroups());
  TALLY_RETURN_IF_ERROR(WriteTables());
  TALLY_RETURN_IF_ERROR(WriteDirectory());

  written_.totals.rows = rows();
  written_.bytes = out_.offset() + kSegmentTailBytes;
  const auto [min, max] = std::ranges::minmax(timestamps_ms_);
  footer_.info = {.database_id = spec_.database_id,
                  .number = spec_.number,
                  .first_lsn = input_.first_lsn,
                  .last_lsn = {input_.first_lsn.value + rows() - 1},
                  .rows = rows(),
                  .quarantined = written_.totals.quarantined,
                  .bytes = written_.bytes,
                  .group_rows = spec_.group_rows,
                  .timestamp_min_ms = min,
                  .timestamp_max_ms = max};
  footer_.scope = spec_.scope;
  footer_.quantity = written_.totals.quantity;
  footer_.content_checksum = out_.content_checksum();
  payload_.clear();
  AppendSegmentTail(footer_, payload_);
  out_.AppendPlain(payload_);
  TALLY_RETURN_IF_ERROR(out_.Finish());
  written_.footer_checksum = footer_.info.footer_checksum;
  return std::move(written_);
}

}  // namespace

Result<WrittenSegment> WriteSegment(FileSystem& fs, const std::string& path,
                                    const SegmentSpec& spec, const SegmentInput& input,
                                    IoGovernor* governor) {
  TALLY_CHECK(!input.records.empty() && input.records.size() <= UINT32_MAX);
  TALLY_CHECK(spec.group_rows > 0 && spec.group_rows <= kSegmentGroupRowsMax);
  TALLY_CHECK(!input.commit_times.empty() && input.commit_times[0].first_lsn <= input.first_lsn);
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreateNew));
  BlockWriter out(std::move(file), SegmentSeed(spec.database_id, spec.number), governor);
  return Writer(out, spec, input).Write();
}

}  // namespace tallystick
