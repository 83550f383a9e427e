#include "segment/group_columns.h"

#include <utility>

#include "base/check.h"
#include "base/result.h"

namespace tallystick {

Result<SegmentFile::Block> GroupColumns::Get(const BlockRef& ref) const {
  if (through_ == Through::kCache) return file_.Get(ref);
  TALLY_ASSIGN_OR_RETURN(Bytes payload, file_.Read(ref));
  return std::make_shared<const Bytes>(std::move(payload));
}

Result<GroupEntry> GroupColumns::Entry(uint32_t group) {
  if (through_ == Through::kCache) return file_.Group(group);
  TALLY_CHECK(group < file_.footer().group_count());
  const uint64_t page = group / kGroupsPerPage;
  if (page_ == nullptr || page_number_ != page) {
    TALLY_ASSIGN_OR_RETURN(page_, Get(file_.footer().DirectoryPage(page)));
    page_number_ = page;
  }
  return file_.GroupOfPage(*page_, group);
}

Status GroupColumns::Enter(const GroupPart& part) {
  TALLY_ASSIGN_OR_RETURN(entry_, Entry(part.group));
  group_rows_ = file_.footer().rows_of_group(part.group);
  TALLY_CHECK(part.begin < part.end && part.end <= group_rows_);
  begin_ = part.begin;
  end_ = part.end;
  unpacked_ = {};
  return Status::Ok();
}

ColumnZone GroupColumns::zone(SegmentColumn column) const {
  TALLY_DCHECK(HasZone(column, file_.footer().dimensions_by_key));
  return {entry_.at(column).min, entry_.at(column).max};
}

Result<std::span<const uint64_t>> GroupColumns::Integers(SegmentColumn column) {
  const size_t index = ColumnIndex(column);
  std::vector<uint64_t>& values = integers_[index];
  if (unpacked_[index]) return std::span<const uint64_t>(values);
  TALLY_CHECK(HasZone(column, file_.footer().dimensions_by_key));
  const ColumnEntry& entry = entry_.at(column);
  values.resize(rows());
  IntChunk chunk = IntChunk::Constant(entry.min);
  SegmentFile::Block block;
  if (const BlockRef ref = entry_.Block(column); ref.bytes != 0) {
    TALLY_ASSIGN_OR_RETURN(block, Get(ref));
    Decoder decoder(*block);
    if (!IntChunk::Parse(decoder, group_rows_, &chunk) || decoder.remaining() != 0) {
      return file_.Fault(ref.offset, "the chunk does not decode");
    }
  }
  chunk.Unpack(begin_, values);
  // What is beyond the zone would reach beyond tables that are as large as the zone.
  const uint64_t width = entry.max - entry.min;
  bool beyond = false;
  for (const uint64_t value : values) beyond |= value - entry.min > width;
  if (beyond) {
    return file_.Fault(entry_.Block(column).offset, "a value is beyond the row group's zone");
  }
  unpacked_[index] = true;
  return std::span<const uint64_t>(values);
}

Result<QuantityColumn> GroupColumns::Quantities() {
  const BlockRef ref = entry_.Block(SegmentColumn::kQuantity);
  TALLY_ASSIGN_OR_RETURN(const SegmentFile::Block block, Get(ref));
  QuantityChunk chunk;
  if (!QuantityChunk::Parse(*block, group_rows_, &chunk)) {
    return file_.Fault(ref.offset, "the chunk does not decode");
  }
  QuantityColumn column;
  const IntChunk* narrow = chunk.narrow();
  if (narrow == nullptr) {
    wide_.assign(rows(), {});
    for (uint32_t i = 0; i < rows(); ++i) wide_[i].Add(chunk.Stored(begin_ + i));
    column.wide = wide_;
    return column;
  }
  mantissas_.resize(rows());
  // Unbiased() is another base: the sign bit of every value is turned over.
  std::span<uint64_t> biased(reinterpret_cast<uint64_t*>(mantissas_.data()), mantissas_.size());
  narrow->Unpack(begin_, biased);
  for (uint64_t& value : biased) value = static_cast<uint64_t>(Unbiased(value));
  column.mantissas = mantissas_;
  column.scale = chunk.scale();
  const bool wraps = narrow->bound() < narrow->base();
  column.min = wraps ? INT64_MIN : Unbiased(narrow->base());
  column.max = wraps ? INT64_MAX : Unbiased(narrow->bound());
  return column;
}

}  // namespace tallystick
