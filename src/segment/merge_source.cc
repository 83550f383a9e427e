#include "segment/merge_source.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "segment/uuid.h"

namespace tallystick {

MergeSource::MergeSource(const SegmentReader& reader, CodeMaps maps, DictionaryView dimensions)
    : file_(reader.file()), maps_(std::move(maps)), dimensions_(dimensions) {}

Status MergeSource::ColumnFault(SegmentColumn column, std::string_view what) const {
  return file_.Fault(entry_.Block(column).offset, what);
}

Result<SegmentFile::Block> MergeSource::Payload(SegmentColumn column) {
  const BlockRef ref = entry_.Block(column);
  const auto begin = raw_.begin() + static_cast<ptrdiff_t>(ref.offset - entry_.offset);
  TALLY_ASSIGN_OR_RETURN(Bytes payload, file_.Open(ref.offset, Bytes(begin, begin + ref.bytes)));
  return std::make_shared<const Bytes>(std::move(payload));
}

Status MergeSource::LoadIntegers(SegmentColumn column, std::vector<uint64_t>* values) {
  values->resize(rows_);
  IntChunk chunk = IntChunk::Constant(entry_.at(column).min);
  SegmentFile::Block block;
  if (entry_.at(column).block_bytes != 0) {
    TALLY_ASSIGN_OR_RETURN(block, Payload(column));
    Decoder decoder(*block);
    if (!IntChunk::Parse(decoder, rows_, &chunk) || decoder.remaining() != 0) {
      return ColumnFault(column, "the chunk does not decode");
    }
  }
  chunk.Unpack(0, *values);
  return Status::Ok();
}

Status MergeSource::LoadCodes() {
  for (size_t c = 0; c < kDictionaryCount; ++c) {
    const std::vector<uint32_t>& map = maps_[c];
    if (c == kDimensionDictionary && file_.footer().dimensions_by_key) continue;
    const SegmentColumn column =
        c == kDimensionDictionary ? SegmentColumn::kDimensions : kDictionaryColumns[c].column;
    TALLY_RETURN_IF_ERROR(LoadIntegers(column, &columns_.codes[c]));
    if (*std::ranges::max_element(columns_.codes[c]) >= map.size()) {
      return ColumnFault(column, "a code is not in the dictionary");
    }
    for (uint64_t& code : columns_.codes[c]) code = map[code];
  }
  return Status::Ok();
}

Status MergeSource::LoadTexts() {
  for (SegmentFile::Block* block : {&event_id_block_, &correction_block_, &dimension_block_}) {
    if (*block != nullptr) kept_.push_back(std::exchange(*block, nullptr));
  }
  TALLY_ASSIGN_OR_RETURN(event_id_block_, Payload(SegmentColumn::kEventId));
  if (!EventIdChunk::Parse(*event_id_block_, rows_, &event_ids_)) {
    return ColumnFault(SegmentColumn::kEventId, "the chunk does not decode");
  }
  corrections_ = {};
  next_correction_ = 0;
  if (entry_.at(SegmentColumn::kCorrectionRef).block_bytes != 0) {
    TALLY_ASSIGN_OR_RETURN(correction_block_, Payload(SegmentColumn::kCorrectionRef));
    if (!CorrectionChunk::Parse(*correction_block_, rows_, &corrections_)) {
      return ColumnFault(SegmentColumn::kCorrectionRef, "the chunk does not decode");
    }
  }
  if (!file_.footer().dimensions_by_key) return Status::Ok();
  TALLY_ASSIGN_OR_RETURN(dimension_block_, Payload(SegmentColumn::kDimensions));
  if (!DimensionChunk::Parse(*dimension_block_, rows_, &dimensions_by_key_)) {
    return ColumnFault(SegmentColumn::kDimensions, "the chunk does not decode");
  }
  return Status::Ok();
}

Status MergeSource::LoadGroup(uint32_t group) {
  group_ = group;
  at_ = 0;
  keys_.clear();
  if (done()) return Status::Ok();
  // One page of the directory is as good as free; it is read past the cache like all of the input.
  TALLY_ASSIGN_OR_RETURN(const Bytes page,
                         file_.Read(file_.footer().DirectoryPage(group / kGroupsPerPage)));
  TALLY_ASSIGN_OR_RETURN(entry_, file_.GroupOfPage(page, group));
  rows_ = file_.footer().rows_of_group(group);
  TALLY_ASSIGN_OR_RETURN(raw_, file_.ReadRaw(entry_.offset, entry_.block_bytes()));
  TALLY_RETURN_IF_ERROR(LoadCodes());
  TALLY_RETURN_IF_ERROR(LoadIntegers(SegmentColumn::kKind, &columns_.kinds));
  TALLY_RETURN_IF_ERROR(LoadIntegers(SegmentColumn::kDisposition, &columns_.dispositions));
  TALLY_RETURN_IF_ERROR(LoadIntegers(SegmentColumn::kTimestamp, &columns_.timestamps));
  TALLY_RETURN_IF_ERROR(LoadIntegers(SegmentColumn::kLsn, &columns_.lsns));
  TALLY_ASSIGN_OR_RETURN(const SegmentFile::Block block, Payload(SegmentColumn::kQuantity));
  QuantityChunk quantities;
  if (!QuantityChunk::Parse(*block, rows_, &quantities)) {
    return ColumnFault(SegmentColumn::kQuantity, "the chunk does not decode");
  }
  columns_.quantities.resize(rows_);
  for (uint32_t i = 0; i < rows_; ++i) columns_.quantities[i] = quantities.Get(i);
  TALLY_RETURN_IF_ERROR(LoadTexts());
  raw_ = {};
  MakeKeys();
  return Status::Ok();
}

void MergeSource::MakeKeys() {
  const auto& codes = columns_.codes;
  keys_.resize(rows_);
  for (uint32_t i = 0; i < rows_; ++i) {
    keys_[i] = {codes[0][i] << 32 | codes[1][i], codes[2][i] << 32 | codes[3][i], codes[4][i],
                columns_.timestamps[i]};
  }
}

uint32_t MergeSource::RunBefore(const MergeKey& bound, bool equal, uint32_t most) const {
  const uint32_t end = std::min(most, left_in_group());
  uint32_t count = 0;
  while (count < end && (equal ? keys_[at_ + count] <= bound : keys_[at_ + count] < bound)) ++count;
  return count;
}

Status MergeSource::TakeEventIds(uint32_t count, GroupRows& out) const {
  if (event_ids_.uuids()) {
    out.event_ids.AddUuids(event_ids_.raw().subspan(at_ * kUuidBytes, count * kUuidBytes));
    return Status::Ok();
  }
  for (uint32_t i = at_; i < at_ + count; ++i) {
    std::string_view id;
    if (!event_ids_.Get(i, nullptr, &id)) {
      return ColumnFault(SegmentColumn::kEventId, "the chunk does not decode");
    }
    out.event_ids.Add(id);
  }
  return Status::Ok();
}

Status MergeSource::TakeCorrections(uint32_t count, uint32_t row, GroupRows& out) {
  while (next_correction_ < corrections_.size() &&
         corrections_.Row(next_correction_) < at_ + count) {
    const uint32_t from = corrections_.Row(next_correction_++);
    std::optional<CorrectionRefView> ref;
    if (from < at_ || !corrections_.Get(from, &ref) || !ref.has_value()) {
      return ColumnFault(SegmentColumn::kCorrectionRef, "the chunk does not decode");
    }
    out.corrections.push_back({row + (from - at_), *ref});
  }
  return Status::Ok();
}

// The count of dimensions and the pairs, as at the end of canonical bytes.
Status MergeSource::TakeDimensions(uint32_t count, GroupRows& out) {
  for (uint32_t i = at_; i < at_ + count; ++i) {
    std::string_view tail;
    if (file_.footer().dimensions_by_key) {
      uint32_t dimensions = 0;
      Bytes pairs;
      if (!dimensions_by_key_.AppendPairs(i, &dimensions, pairs)) {
        return ColumnFault(SegmentColumn::kDimensions, "the chunk does not decode");
      }
      Bytes& kept = *tails_.emplace_back(std::make_unique<Bytes>(VarintBytes(dimensions)));
      StoreVarint(kept.data(), dimensions);
      kept.insert(kept.end(), pairs.begin(), pairs.end());
      tail = AsText(kept);
    } else if (!dimensions_.Get(columns_.codes[kDimensionDictionary][i], &tail)) {
      return ColumnFault(SegmentColumn::kDimensions, "a code is not in the dictionary");
    }
    out.dimension_tails.push_back(tail);
  }
  return Status::Ok();
}

Status MergeSource::TakeTexts(uint32_t count, uint32_t row, bool dimensions_by_key,
                              GroupRows& out) {
  TALLY_DCHECK(count > 0 && count <= left_in_group());
  TALLY_RETURN_IF_ERROR(TakeEventIds(count, out));
  TALLY_RETURN_IF_ERROR(TakeCorrections(count, row, out));
  return dimensions_by_key ? TakeDimensions(count, out) : Status::Ok();
}

Status MergeSource::Advance(uint32_t count) {
  TALLY_DCHECK(count > 0 && count <= left_in_group());
  at_ += count;
  if (left_in_group() > 0) return Status::Ok();
  if (next_correction_ != corrections_.size()) {
    return ColumnFault(SegmentColumn::kCorrectionRef, "a reference is of no row");
  }
  return LoadGroup(group_ + 1);
}

void MergeSource::Release() {
  kept_.clear();
  tails_.clear();
}

}  // namespace tallystick
