#include "segment/segment_tables.h"

#include <cstring>
#include <utility>

#include "base/result.h"

namespace tallystick {
namespace {

constexpr size_t kQuarantinedEntryBytes = 20;

}  // namespace

Result<AccountIndex> AccountIndex::Load(const SegmentFile& file, uint32_t accounts) {
  TALLY_ASSIGN_OR_RETURN(SegmentFile::Block block, file.Get(file.footer().account_index));
  return Parse(file, std::move(block), accounts);
}

Result<AccountIndex> AccountIndex::Parse(const SegmentFile& file, SegmentFile::Block block,
                                         uint32_t accounts) {
  AccountIndex index;
  index.file_ = &file;
  index.block_ = std::move(block);
  Decoder decoder(*index.block_);
  if (accounts == UINT32_MAX || !IntChunk::Parse(decoder, accounts + 1, &index.starts_) ||
      decoder.remaining() != 0) {
    return file.Fault(file.footer().account_index.offset, "the account index does not decode");
  }
  return index;
}

Result<RowRange> AccountIndex::RowsOf(uint32_t code) const {
  const uint64_t begin = starts_.Get(code);
  const uint64_t end = starts_.Get(code + 1);
  if (begin >= end || end > file_->info().rows) {
    return file_->Fault(file_->footer().account_index.offset,
                        "the account index contradicts itself");
  }
  return RowRange{static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
}

Result<CommitTimeTable> CommitTimeTable::Load(const SegmentFile& file) {
  TALLY_ASSIGN_OR_RETURN(SegmentFile::Block block, file.Get(file.footer().commit_times));
  return Parse(file, std::move(block));
}

Result<CommitTimeTable> CommitTimeTable::Parse(const SegmentFile& file, SegmentFile::Block block) {
  CommitTimeTable table;
  table.file_ = &file;
  table.block_ = std::move(block);
  Decoder decoder(*table.block_);
  table.size_ = decoder.Fixed<uint32_t>();
  if (table.size_ == 0 || table.size_ > file.info().rows ||
      !IntChunk::Parse(decoder, table.size_, &table.lsns_) ||
      (table.size_ > 1 && table.lsns_.constant()) ||  // they differ, so each takes a bit at least
      !IntChunk::Parse(decoder, table.size_, &table.times_) || decoder.remaining() != 0) {
    return file.Fault(file.footer().commit_times.offset, "the commit times do not decode");
  }
  return table;
}

Result<int64_t> CommitTimeTable::Find(Lsn lsn) const {
  uint32_t begin = 0;
  for (uint32_t end = size_; begin < end;) {
    const uint32_t middle = begin + (end - begin) / 2;
    (lsns_.Get(middle) <= lsn.value ? begin : end) =
        lsns_.Get(middle) <= lsn.value ? middle + 1 : middle;
  }
  if (begin == 0) {
    return file_->Fault(file_->footer().commit_times.offset, "no commit time covers the row");
  }
  return Get(begin - 1).commit_time_us;
}

Result<QuarantinedList> QuarantinedList::Load(const SegmentFile& file) {
  TALLY_ASSIGN_OR_RETURN(SegmentFile::Block block, file.Get(file.footer().quarantined));
  return Parse(file, std::move(block));
}

Result<QuarantinedList> QuarantinedList::Parse(const SegmentFile& file, SegmentFile::Block block) {
  QuarantinedList list;
  list.block_ = std::move(block);
  if (list.block_->size() != file.info().quarantined * kQuarantinedEntryBytes) {
    return file.Fault(file.footer().quarantined.offset,
                      "the list of quarantined rows has a wrong length");
  }
  list.size_ = static_cast<uint32_t>(file.info().quarantined);
  return list;
}

EventHash QuarantinedList::hash(uint32_t i) const {
  EventHash hash;
  std::memcpy(hash.bytes.data(), block_->data() + i * kQuarantinedEntryBytes, hash.bytes.size());
  return hash;
}

uint32_t QuarantinedList::row(uint32_t i) const {
  return LoadFixed<uint32_t>(block_->data() + i * kQuarantinedEntryBytes + sizeof(EventHash));
}

uint32_t QuarantinedList::LowerBound(const EventHash& wanted) const {
  uint32_t begin = 0;
  for (uint32_t end = size_; begin < end;) {
    const uint32_t middle = begin + (end - begin) / 2;
    const bool below = hash(middle) < wanted;
    (below ? begin : end) = below ? middle + 1 : middle;
  }
  return begin;
}

}  // namespace tallystick
