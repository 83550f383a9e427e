// A row is put together from one value of each chunk. Invariants:
//   1. group_ is the row group whose chunks are held, or kNone; after a fault it is kNone, so that
//      nothing of half a group is used.
//   2. All checks are in Seek: what row() gives points into blocks, or buffers, that stay until the
//      group is left.
#include <array>
#include <limits>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "segment/chunk.h"
#include "segment/dimension_chunk.h"
#include "segment/segment_file.h"
#include "segment/segment_reader.h"
#include "segment/uuid.h"

namespace tallystick {
namespace {

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

}  // namespace

struct SegmentCursor::Impl {
  Impl(const SegmentFile& segment_file, SegmentColumns wanted_columns)
      : file(segment_file), wanted(wanted_columns) {}

  bool Wants(SegmentColumn column) const {
    return (wanted & static_cast<SegmentColumns>(column)) != 0;
  }
  Status Seek(uint32_t row_number);
  Status LoadDictionaries();
  Status LoadGroup(uint32_t number);
  Status LoadChunk(SegmentColumn column, const GroupEntry& entry);
  bool ParseChunk(SegmentColumn column, const ColumnEntry& entry, ByteSpan payload);
  // False: the bytes contradict themselves.
  bool Fill(uint32_t in_group);
  bool FillTexts(uint32_t in_group);
  bool FillDimensions(uint32_t in_group);
  bool FillKind(uint32_t in_group);
  const IntChunk& Integers(SegmentColumn column) const { return integers[ColumnIndex(column)]; }

  const SegmentFile& file;
  const SegmentColumns wanted;
  std::array<LoadedDictionary, kDictionaryCount> dictionaries;
  bool dictionaries_loaded = false;

  // Of the current row group.
  uint32_t group = kNone;
  uint32_t group_rows = 0;
  uint64_t group_offset = 0;
  std::array<SegmentFile::Block, kSegmentColumnCount> blocks;
  std::array<IntChunk, kSegmentColumnCount> integers;  // where a column is made of such
  EventIdChunk event_ids;
  QuantityChunk quantities;
  CorrectionChunk corrections;
  DimensionChunk dimensions_by_key;
  std::unique_ptr<char[]> uuid_texts;  // kUuidTextBytes for each row, filled when it is visited
  struct Pairs {
    uint32_t count = 0;
    Bytes bytes;
  };
  std::unordered_map<uint32_t, Pairs> dimension_pairs;  // of the rows that were visited

  RowView row;
  Lsn lsn;
  Disposition disposition = Disposition::kCounted;
};

Status SegmentCursor::Impl::LoadDictionaries() {
  for (size_t i = 0; i < kDictionaryColumns.size(); ++i) {
    if (!Wants(kDictionaryColumns[i].column)) continue;
    TALLY_ASSIGN_OR_RETURN(dictionaries[i], LoadDictionary(file, i));
  }
  if (Wants(SegmentColumn::kDimensions) && !file.footer().dimensions_by_key) {
    TALLY_ASSIGN_OR_RETURN(dictionaries[kDimensionDictionary],
                           LoadDictionary(file, kDimensionDictionary));
  }
  dictionaries_loaded = true;
  return Status::Ok();
}

bool SegmentCursor::Impl::ParseChunk(SegmentColumn column, const ColumnEntry& entry,
                                     ByteSpan payload) {
  switch (column) {
    case SegmentColumn::kEventId:
      uuid_texts.reset();
      return EventIdChunk::Parse(payload, group_rows, &event_ids);
    case SegmentColumn::kQuantity:
      return QuantityChunk::Parse(payload, group_rows, &quantities);
    case SegmentColumn::kCorrectionRef:
      corrections = {};
      return entry.block_bytes == 0 || CorrectionChunk::Parse(payload, group_rows, &corrections);
    default:
      break;
  }
  if (!HasZone(column, file.footer().dimensions_by_key)) {
    dimension_pairs.clear();
    return DimensionChunk::Parse(payload, group_rows, &dimensions_by_key);
  }
  IntChunk& chunk = integers[ColumnIndex(column)];
  chunk = IntChunk::Constant(entry.min);
  if (entry.block_bytes == 0) return true;
  Decoder decoder(payload);
  return IntChunk::Parse(decoder, group_rows, &chunk) && decoder.remaining() == 0;
}

Status SegmentCursor::Impl::LoadChunk(SegmentColumn column, const GroupEntry& entry) {
  SegmentFile::Block& block = blocks[ColumnIndex(column)];
  const BlockRef ref = entry.Block(column);
  block.reset();
  if (ref.bytes != 0) {
    TALLY_ASSIGN_OR_RETURN(block, file.Get(ref));
  }
  if (!ParseChunk(column, entry.at(column), block == nullptr ? ByteSpan() : ByteSpan(*block))) {
    return file.Fault(ref.offset, "the chunk does not decode");
  }
  return Status::Ok();
}

Status SegmentCursor::Impl::LoadGroup(uint32_t number) {
  if (!dictionaries_loaded) TALLY_RETURN_IF_ERROR(LoadDictionaries());
  group = kNone;
  TALLY_ASSIGN_OR_RETURN(const GroupEntry entry, file.Group(number));
  group_rows = file.footer().rows_of_group(number);
  group_offset = entry.offset;
  for (size_t i = 0; i < kSegmentColumnCount; ++i) {
    const auto column = static_cast<SegmentColumn>(1u << i);
    if (Wants(column)) TALLY_RETURN_IF_ERROR(LoadChunk(column, entry));
  }
  group = number;
  return Status::Ok();
}

bool SegmentCursor::Impl::FillTexts(uint32_t in_group) {
  if (Wants(SegmentColumn::kEventId)) {
    if (event_ids.uuids() && uuid_texts == nullptr) {
      uuid_texts = std::make_unique_for_overwrite<char[]>(size_t{group_rows} * kUuidTextBytes);
    }
    char* buffer = uuid_texts == nullptr ? nullptr : &uuid_texts[size_t{in_group} * kUuidTextBytes];
    if (!event_ids.Get(in_group, buffer, &row.event_id)) return false;
  }
  const std::array<std::string_view*, kDictionaryColumns.size()> required = {
      &row.account_id, &row.product_id, &row.meter_id, &row.unit, nullptr, nullptr, &row.source};
  const std::array<std::optional<std::string_view>*, kDictionaryColumns.size()> optional = {
      nullptr, nullptr, nullptr, nullptr, &row.model_id, &row.subscription_id, nullptr};
  for (size_t i = 0; i < kDictionaryColumns.size(); ++i) {
    if (!Wants(kDictionaryColumns[i].column)) continue;
    const uint64_t code = Integers(kDictionaryColumns[i].column).Get(in_group);
    std::string_view text;
    if (kDictionaryColumns[i].nullable) {
      if (code != 0 && !dictionaries[i].view.Get(code - 1, &text)) return false;
      *optional[i] = code == 0 ? std::nullopt : std::optional(text);
    } else {
      if (!dictionaries[i].view.Get(code, &text)) return false;
      *required[i] = text;
    }
  }
  return true;
}

bool SegmentCursor::Impl::FillDimensions(uint32_t in_group) {
  if (file.footer().dimensions_by_key) {
    const auto [at, added] = dimension_pairs.try_emplace(in_group);
    Pairs& pairs = at->second;
    if (added && !dimensions_by_key.AppendPairs(in_group, &pairs.count, pairs.bytes)) {
      dimension_pairs.erase(at);
      return false;
    }
    row.dimension_count = pairs.count;
    row.dimension_bytes = pairs.bytes;
    return true;
  }
  std::string_view tail;
  const uint64_t code = Integers(SegmentColumn::kDimensions).Get(in_group);
  if (!dictionaries[kDimensionDictionary].view.Get(code, &tail)) return false;
  Decoder decoder(AsByteSpan(tail));
  const uint64_t count = decoder.Varint();
  row.dimension_bytes = decoder.Raw(decoder.remaining());
  // Each pair takes two bytes at least.
  if (!decoder.ok() || count > row.dimension_bytes.size() / 2) return false;
  row.dimension_count = static_cast<uint32_t>(count);
  return true;
}

bool SegmentCursor::Impl::FillKind(uint32_t in_group) {
  if (Wants(SegmentColumn::kKind)) {
    const uint64_t kind = Integers(SegmentColumn::kKind).Get(in_group);
    if (kind > static_cast<uint64_t>(EventKind::kRetraction)) return false;
    row.kind = static_cast<EventKind>(kind);
  }
  if (Wants(SegmentColumn::kDisposition)) {
    const uint64_t value = Integers(SegmentColumn::kDisposition).Get(in_group);
    if (value > static_cast<uint64_t>(Disposition::kQuarantined)) return false;
    disposition = static_cast<Disposition>(value);
  }
  return true;
}

bool SegmentCursor::Impl::Fill(uint32_t in_group) {
  if (Wants(SegmentColumn::kTimestamp)) {
    row.timestamp_ms = static_cast<int64_t>(Integers(SegmentColumn::kTimestamp).Get(in_group));
  }
  if (Wants(SegmentColumn::kLsn)) lsn = {Integers(SegmentColumn::kLsn).Get(in_group)};
  if (Wants(SegmentColumn::kQuantity)) row.quantity = quantities.Get(in_group);
  if (Wants(SegmentColumn::kCorrectionRef) && corrections.size() != 0 &&
      !corrections.Get(in_group, &row.correction_ref)) {
    return false;
  }
  return FillKind(in_group) && FillTexts(in_group) &&
         (!Wants(SegmentColumn::kDimensions) || FillDimensions(in_group));
}

Status SegmentCursor::Impl::Seek(uint32_t row_number) {
  const SegmentInfo& info = file.info();
  if (row_number >= info.rows) {
    return Status::InvalidArgument("no_such_row",
                                   file.path() + " has no row " + std::to_string(row_number));
  }
  const uint32_t wanted_group = row_number / info.group_rows;
  if (wanted_group != group) {
    row = {};
    TALLY_RETURN_IF_ERROR(LoadGroup(wanted_group));
  }
  if (Fill(row_number % info.group_rows)) return Status::Ok();
  row = {};
  return file.Fault(group_offset, "row " + std::to_string(row_number) + " does not decode");
}

SegmentCursor::SegmentCursor(const SegmentReader& reader, SegmentColumns columns)
    : impl_(std::make_unique<Impl>(reader.file(), columns)) {}
SegmentCursor::SegmentCursor(SegmentCursor&&) noexcept = default;
SegmentCursor::~SegmentCursor() = default;

Status SegmentCursor::Seek(uint32_t row) { return impl_->Seek(row); }
Lsn SegmentCursor::lsn() const { return impl_->lsn; }
Disposition SegmentCursor::disposition() const { return impl_->disposition; }
int64_t SegmentCursor::timestamp_ms() const { return impl_->row.timestamp_ms; }
RowView SegmentCursor::row() const { return impl_->row; }

}  // namespace tallystick
