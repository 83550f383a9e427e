// Reads the file from its first byte to its last and holds everything that is said twice against
// each other. Invariants:
//   1. Every byte is either in a block that was verified and decoded, or in the header or the tail,
//      of which there is only one right form: blocks tile what is between them.
//   2. Nothing is taken from the cache, and nothing is put there.
#include "segment/segment_check.h"

#include <utility>

#include "base/result.h"
#include "segment/dimension_chunk.h"
#include "segment/group_check.h"
#include "segment/segment_file.h"
#include "segment/segment_reader.h"

namespace tallystick {
namespace {

bool IsId(SegmentColumn column) {
  return column == SegmentColumn::kAccountId || column == SegmentColumn::kProductId ||
         column == SegmentColumn::kMeterId;
}

}  // namespace

struct SegmentChecker::Impl {
  explicit Impl(const SegmentFile& segment_file)
      : file_(segment_file), footer_(segment_file.footer()) {}

  // The next block, which must be this one.
  Result<BlockCache::Block> Next(const BlockRef& ref);
  Status Begin();
  Status LoadTables();
  Status LoadDirectory();
  Status CheckDictionaries() const;
  Status CheckCommitTimes() const;
  Status CheckGroup();
  Status End();

  const SegmentFile& file_;
  const SegmentFooter& footer_;
  uint64_t at_ = 0;                  // where the next block must begin
  std::vector<uint64_t> checksums_;  // of the blocks behind the row groups
  uint64_t content_checksum_ = 0;    // of the row groups' blocks
  CheckedTables tables_;
  std::vector<BlockCache::Block> directory_;
  std::optional<GroupChecker> rows_;  // once the tables are loaded
  uint32_t group_ = 0;                // the next one
};

Result<BlockCache::Block> SegmentChecker::Impl::Next(const BlockRef& ref) {
  if (ref.offset != at_) return file_.Fault(at_, "there are bytes that belong to no block");
  at_ += ref.bytes;
  TALLY_ASSIGN_OR_RETURN(Bytes raw, file_.ReadRaw(ref.offset, ref.bytes));
  checksums_.push_back(StoredBlockChecksum(raw));
  TALLY_ASSIGN_OR_RETURN(Bytes payload, file_.Open(ref.offset, std::move(raw)));
  return std::make_shared<const Bytes>(std::move(payload));
}

// They stand behind the row groups, but rows are checked against them.
Status SegmentChecker::Impl::LoadTables() {
  at_ = footer_.dictionaries[0].offset;
  for (size_t i = 0; i < kDictionaryCount; ++i) {
    if (i == kDimensionDictionary && footer_.dimensions_by_key) continue;
    LoadedDictionary& dictionary = tables_.dictionaries[i];
    TALLY_ASSIGN_OR_RETURN(dictionary.block, Next(footer_.dictionaries[i]));
    if (!DictionaryView::Parse(*dictionary.block, &dictionary.view)) {
      return file_.Fault(footer_.dictionaries[i].offset, "the dictionary does not decode");
    }
  }
  TALLY_ASSIGN_OR_RETURN(BlockCache::Block block, Next(footer_.account_index));
  TALLY_ASSIGN_OR_RETURN(
      tables_.account_index,
      AccountIndex::Parse(file_, std::move(block), tables_.dictionaries[0].view.size()));
  TALLY_ASSIGN_OR_RETURN(block, Next(footer_.commit_times));
  TALLY_ASSIGN_OR_RETURN(tables_.commit_times, CommitTimeTable::Parse(file_, std::move(block)));
  if (file_.info().quarantined > 0) {
    TALLY_ASSIGN_OR_RETURN(block, Next(footer_.quarantined));
    TALLY_ASSIGN_OR_RETURN(tables_.quarantined, QuarantinedList::Parse(file_, std::move(block)));
  }
  return LoadDirectory();
}

Status SegmentChecker::Impl::LoadDirectory() {
  for (uint64_t page = 0; page * kGroupsPerPage < footer_.group_count(); ++page) {
    const BlockRef ref = footer_.DirectoryPage(page);
    TALLY_ASSIGN_OR_RETURN(directory_.emplace_back(), Next(ref));
    if (directory_.back()->size() != ref.bytes - kBlockTrailerBytes) {
      return file_.Fault(ref.offset, "the page of the directory has a wrong length");
    }
  }
  return Status::Ok();
}

Status SegmentChecker::Impl::CheckDictionaries() const {
  for (size_t i = 0; i < kDictionaryCount; ++i) {
    const DictionaryView& view = tables_.dictionaries[i].view;
    bool good = view.IsWhole();
    std::string_view text;
    if (i < kDictionaryColumns.size() && IsId(kDictionaryColumns[i].column)) {
      good = good && view.Get(0, &text) && !text.empty();  // an empty one would come first
    }
    for (uint32_t code = 0; good && i == kDimensionDictionary && code < view.size(); ++code) {
      good = view.Get(code, &text) && IsDimensionSet(text);
    }
    if (!good) return file_.Fault(footer_.dictionaries[i].offset, "the dictionary is wrong");
  }
  return Status::Ok();
}

Status SegmentChecker::Impl::CheckCommitTimes() const {
  const SegmentInfo& info = file_.info();
  const CommitTimeTable& times = tables_.commit_times;
  bool good = times.Get(0).first_lsn <= info.first_lsn &&
              times.Get(times.size() - 1).first_lsn <= info.last_lsn;
  for (uint32_t i = 1; i < times.size(); ++i) {
    good = good && times.Get(i).first_lsn > times.Get(i - 1).first_lsn &&
           times.Get(i).commit_time_us >= times.Get(i - 1).commit_time_us;
  }
  if (good) return Status::Ok();
  return file_.Fault(footer_.commit_times.offset, "the commit times are not in order");
}

Status SegmentChecker::Impl::CheckGroup() {
  TALLY_ASSIGN_OR_RETURN(const GroupEntry entry,
                         file_.GroupOfPage(*directory_[group_ / kGroupsPerPage], group_));
  if (entry.offset != at_) return file_.Fault(at_, "there are bytes that belong to no block");
  TALLY_ASSIGN_OR_RETURN(const Bytes raw, file_.ReadRaw(at_, entry.block_bytes()));
  for (const ColumnEntry& column : entry.columns) {
    if (column.block_bytes == 0) continue;
    if (column.block_bytes < kBlockTrailerBytes) return file_.Fault(at_, "a block is too short");
    at_ += column.block_bytes;
    const ByteSpan until = ByteSpan(raw).first(at_ - entry.offset);
    content_checksum_ = ChainChecksum(content_checksum_, StoredBlockChecksum(until));
  }
  return rows_->Check(group_++, entry, raw);
}

// Everything but the row groups.
Status SegmentChecker::Impl::Begin() {
  TALLY_ASSIGN_OR_RETURN(const Bytes header, file_.ReadRaw(0, kSegmentHeaderBytes));
  const Status right = CheckSegmentHeader(header, file_.info().database_id, file_.info().number);
  if (!right.ok()) return file_.Fault(0, right.message());
  TALLY_RETURN_IF_ERROR(LoadTables());
  TALLY_RETURN_IF_ERROR(CheckDictionaries());
  TALLY_RETURN_IF_ERROR(CheckCommitTimes());
  rows_.emplace(file_, tables_);
  at_ = kSegmentHeaderBytes;
  return Status::Ok();
}

Status SegmentChecker::Impl::End() {
  if (at_ != footer_.dictionaries[0].offset) {
    return file_.Fault(at_, "there are bytes that belong to no block");
  }
  TALLY_RETURN_IF_ERROR(rows_->Finish());
  for (const uint64_t checksum : checksums_) {
    content_checksum_ = ChainChecksum(content_checksum_, checksum);
  }
  if (content_checksum_ == footer_.content_checksum) return Status::Ok();
  return file_.Fault(file_.info().bytes - kSegmentTailBytes,
                     "the content is not that of the footer");
}

SegmentChecker::SegmentChecker(const SegmentReader& reader)
    : impl_(std::make_unique<Impl>(reader.file())) {}
SegmentChecker::~SegmentChecker() = default;

Result<bool> SegmentChecker::Step(uint32_t groups) {
  if (!impl_->rows_.has_value()) TALLY_RETURN_IF_ERROR(impl_->Begin());
  const uint32_t all = impl_->footer_.group_count();
  for (; groups > 0 && impl_->group_ < all; --groups) TALLY_RETURN_IF_ERROR(impl_->CheckGroup());
  if (impl_->group_ < all) return true;
  TALLY_RETURN_IF_ERROR(impl_->End());
  return false;
}

const SegmentTotals& SegmentChecker::totals() const { return impl_->rows_->totals(); }

Result<SegmentTotals> CheckSegment(const SegmentReader& reader,
                                   const std::function<void(uint64_t)>& progress) {
  SegmentChecker checker(reader);
  bool more = true;
  while (more) {
    TALLY_ASSIGN_OR_RETURN(more, checker.Step(1));
    if (progress) progress(checker.totals().rows);
  }
  return checker.totals();
}

}  // namespace tallystick
