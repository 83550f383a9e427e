// One pass over the pages in key order. Since the filter's blocks and the directory
// are in the same order, both are compared along the way with what the keys make of them, in
// constant memory but for one bit a row.
#include "dedupe/sidecar_check.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "dedupe/sidecar_cursor.h"
#include "dedupe/sidecar_file.h"
#include "dedupe/sidecar_filter.h"
#include "dedupe/sidecar_reader.h"

namespace tallystick {
namespace {

constexpr uint64_t kPieceBlocks = 8192;
constexpr uint64_t kPagesAtOnce = 64;

// The filter that the keys make, held block by block against the one in the file.
class FilterCheck {
 public:
  explicit FilterCheck(const SidecarFile& file)
      : file_(file), blocks_(file.layout().filter_bytes / sizeof(FilterBlock)) {
    XXH3_64bits_reset(&checksum_);
  }

  Status Add(const EventHash& key) {
    const uint64_t block = FilterBlockOf(KeyHalves::Of(key), blocks_);
    while (at_ < block) TALLY_RETURN_IF_ERROR(CompareBlock());
    AddToBlock(key, &expected_);
    return Status::Ok();
  }
  Status Finish() {
    while (at_ < blocks_) TALLY_RETURN_IF_ERROR(CompareBlock());
    if (XXH3_64bits_digest(&checksum_) != file_.filter_checksum()) {
      return file_.Corrupt(file_.layout().filter_offset, "the filter does not verify");
    }
    return Status::Ok();
  }

 private:
  Status CompareBlock() {
    if (at_ % kPieceBlocks == 0) {
      piece_.resize(std::min(blocks_ - at_, kPieceBlocks));
      const auto bytes = std::as_writable_bytes(std::span(piece_));
      TALLY_RETURN_IF_ERROR(file_.ReadFilter(at_ * sizeof(FilterBlock), bytes));
      XXH3_64bits_update(&checksum_, bytes.data(), bytes.size());
    }
    if (piece_[at_ % kPieceBlocks] != expected_) {
      return file_.Corrupt(file_.layout().filter_offset + at_ * sizeof(FilterBlock),
                           "the filter is not that of the keys");
    }
    expected_ = {};
    ++at_;
    return Status::Ok();
  }

  const SidecarFile& file_;
  const uint64_t blocks_;
  uint64_t at_ = 0;       // the block that keys are added to
  FilterBlock expected_;  // what they have made of it
  std::vector<FilterBlock> piece_;
  XXH3_state_t checksum_;
};

// What one entry after the other must keep to.
class EntryCheck {
 public:
  EntryCheck(const SidecarFile& file, const std::vector<uint64_t>& directory)
      : file_(file), directory_(directory), seen_(file.layout().rows), filter_(file) {}

  Status Add(const SidecarEntry& entry) {
    const KeyHalves key = KeyHalves::Of(entry.key);
    const uint64_t page = entries_ / kSidecarEntriesPerPage;
    const auto corrupt = [&](std::string_view what) {
      return file_.Corrupt(file_.layout().PageOffset(page),
                           fmt::format("entry {} {}", entries_ % kSidecarEntriesPerPage, what));
    };
    if (last_.has_value() && key <= *last_) return corrupt("is not above the one before it");
    if (entry.row >= seen_.size()) return corrupt("has a row number beyond the segment's rows");
    if (seen_[entry.row]) return corrupt("has a row number that another one has");
    if (entries_ % kSidecarEntriesPerPage == 0 && directory_[page] != key.leading) {
      return corrupt("is not what the page directory says");
    }
    seen_[entry.row] = true;
    last_ = key;
    ++entries_;
    return filter_.Add(entry.key);
  }
  Status Finish() { return filter_.Finish(); }

 private:
  const SidecarFile& file_;
  const std::vector<uint64_t>& directory_;
  std::vector<bool> seen_;  // by row
  std::optional<KeyHalves> last_;
  uint64_t entries_ = 0;
  FilterCheck filter_;
};

// Behind the last page's entries.
Status CheckPadding(const SidecarFile& file) {
  std::byte page[kSidecarPageBytes];
  const uint64_t last = file.layout().pages - 1;
  TALLY_RETURN_IF_ERROR(file.ReadPages(last, page));
  const std::byte* end = SidecarEntryAt(page, file.layout().EntriesOfPage(last));
  if (std::any_of(end, static_cast<const std::byte*>(page) + sizeof page,
                  [](std::byte b) { return b != std::byte{0}; })) {
    return file.Corrupt(file.layout().PageOffset(last), "the last page is not filled with zeros");
  }
  return Status::Ok();
}

}  // namespace

struct SidecarChecker::Impl {
  Impl(const SidecarReader& reader, const SidecarFile& sidecar_file, OnEntry on_entry)
      : file(sidecar_file), cursor(reader), entry(std::move(on_entry)) {}

  Status Begin() {
    TALLY_RETURN_IF_ERROR(file.CheckHeader());
    TALLY_RETURN_IF_ERROR(CheckPadding(file));
    TALLY_ASSIGN_OR_RETURN(directory, file.ReadDirectory());
    check.emplace(file, directory);
    return Status::Ok();
  }
  // False: there are no more.
  Result<bool> CheckEntries(uint64_t count) {
    for (; count > 0; --count) {
      TALLY_RETURN_IF_ERROR(cursor.Next());
      if (cursor.done()) return false;
      TALLY_RETURN_IF_ERROR(check->Add(cursor.entry()));
      if (entry) entry(cursor.entry());
    }
    return true;
  }

  const SidecarFile& file;
  SidecarCursor cursor;
  const OnEntry entry;
  std::vector<uint64_t> directory;
  std::optional<EntryCheck> check;  // once the directory is read
};

SidecarChecker::SidecarChecker(const SidecarReader& reader, OnEntry on_entry)
    : impl_(std::make_unique<Impl>(reader, reader.file(), std::move(on_entry))) {}
SidecarChecker::~SidecarChecker() = default;

Result<bool> SidecarChecker::Step(uint64_t pages) {
  if (!impl_->check.has_value()) TALLY_RETURN_IF_ERROR(impl_->Begin());
  TALLY_ASSIGN_OR_RETURN(const bool more, impl_->CheckEntries(pages * kSidecarEntriesPerPage));
  if (more) return true;
  TALLY_RETURN_IF_ERROR(impl_->check->Finish());
  return false;
}

Status CheckSidecar(const SidecarReader& reader) {
  SidecarChecker checker(reader, {});
  bool more = true;
  while (more) {
    TALLY_ASSIGN_OR_RETURN(more, checker.Step(kPagesAtOnce));
  }
  return Status::Ok();
}

}  // namespace tallystick
