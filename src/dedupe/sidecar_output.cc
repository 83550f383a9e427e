#include "dedupe/sidecar_output.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <utility>

#include "base/check.h"
#include "base/coding.h"
#include "base/mutant.h"
#include "base/result.h"

namespace tallystick {
namespace {

constexpr size_t kWriteBytes = 256 << 10;

}  // namespace

struct SidecarOutput::Checksum {
  Checksum() { XXH3_64bits_reset(&state); }
  XXH3_state_t state;
};

SidecarOutput::SidecarOutput(std::unique_ptr<File> file, const SidecarBinding& binding,
                             IoGovernor* governor)
    : file_(std::move(file)),
      binding_(binding),
      governor_(governor),
      layout_(SidecarLayout::For(binding.rows)),
      seed_(SidecarSeed(binding)),
      filter_blocks_(layout_.filter_bytes / sizeof(FilterBlock)),
      filter_checksum_(std::make_unique<Checksum>()) {
  pages_.buffer.reserve(kWriteBytes + kSidecarPageBytes);
  filter_.offset = layout_.filter_offset;
  filter_.buffer.reserve(kWriteBytes + sizeof(FilterBlock));
  directory_.reserve(layout_.directory_bytes);
  AppendSidecarHeader(binding_, pages_.buffer);
  page_.resize(sizeof(uint64_t));
}

SidecarOutput::~SidecarOutput() = default;

Result<std::unique_ptr<SidecarOutput>> SidecarOutput::Create(FileSystem& fs,
                                                             const std::string& path,
                                                             const SidecarBinding& binding,
                                                             IoGovernor* governor) {
  TALLY_CHECK(binding.rows > 0 && binding.rows <= kSidecarRowsMax);
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreateNew));
  return std::unique_ptr<SidecarOutput>(new SidecarOutput(std::move(file), binding, governor));
}

Status SidecarOutput::Refuse(std::string_view why) const {
  return Status::Corruption(fmt::format("{} is not written: {}", file_->path(), why));
}

Status SidecarOutput::Write(Part& part) {
  if (part.buffer.empty()) return Status::Ok();
  TALLY_RETURN_IF_ERROR(WriteGoverned(*file_, part.offset, part.buffer, governor_));
  part.offset += part.buffer.size();
  unsynced_ += part.buffer.size();
  part.buffer.clear();
  if (unsynced_ < kSyncBytes) return Status::Ok();
  unsynced_ = 0;
  return file_->Sync();
}

Status SidecarOutput::EndPage() {
  page_.resize(kSidecarPageBytes);
  PutFixed(directory_, KeyHalves::At(SidecarEntryAt(page_, 0)).leading);
  const uint64_t page = directory_.size() / sizeof(uint64_t) - 1;
  SealSidecarPage(seed_, page, page_);
  pages_.buffer.insert(pages_.buffer.end(), page_.begin(), page_.end());
  page_.assign(sizeof(uint64_t), std::byte{0});
  return pages_.buffer.size() < kWriteBytes ? Status::Ok() : Write(pages_);
}

Status SidecarOutput::EndFilterBlock() {
  const ByteSpan bytes = std::as_bytes(std::span(&filter_block_, 1));
  filter_.buffer.insert(filter_.buffer.end(), bytes.begin(), bytes.end());
  filter_block_ = {};
  ++filter_at_;
  return filter_.buffer.size() < kWriteBytes ? Status::Ok() : WriteFilter();
}

Status SidecarOutput::WriteFilter() {
  XXH3_64bits_update(&filter_checksum_->state, filter_.buffer.data(), filter_.buffer.size());
  return Write(filter_);
}

// Blocks ascend with the keys.
Status SidecarOutput::AddToFilter(const EventHash& key) {
  if (TALLY_MUTANT("filter_key_missing") && entries_ == binding_.rows / 2) return Status::Ok();
  const uint64_t block = FilterBlockOf(KeyHalves::Of(key), filter_blocks_);
  while (filter_at_ < block) TALLY_RETURN_IF_ERROR(EndFilterBlock());
  AddToBlock(key, &filter_block_);
  return Status::Ok();
}

Status SidecarOutput::Add(const SidecarEntry& entry) {
  if (entries_ == binding_.rows) {
    return Refuse(fmt::format("there are more entries than the {} rows", binding_.rows));
  }
  if (entry.row >= binding_.rows) {
    return Refuse(fmt::format("row {} is beyond the {} rows", entry.row, binding_.rows));
  }
  if (entries_ > 0) {
    const KeyHalves before = KeyHalves::Of(last_.key), now = KeyHalves::Of(entry.key);
    if (now == before) {
      return Refuse(fmt::format("rows {} and {} have the same key", last_.row, entry.row));
    }
    if (now < before) return Refuse(fmt::format("the key of row {} is out of order", entry.row));
  }
  TALLY_RETURN_IF_ERROR(AddToFilter(entry.key));
  const size_t at = page_.size();
  page_.resize(at + kSidecarEntryBytes);
  StoreSidecarEntry(entry, page_.data() + at);
  last_ = entry;
  ++entries_;
  return entries_ % kSidecarEntriesPerPage == 0 ? EndPage() : Status::Ok();
}

Status SidecarOutput::Finish() {
  if (entries_ != binding_.rows) {
    return Refuse(fmt::format("{} entries for {} rows", entries_, binding_.rows));
  }
  if (page_.size() > sizeof(uint64_t)) TALLY_RETURN_IF_ERROR(EndPage());
  TALLY_RETURN_IF_ERROR(Write(pages_));
  SidecarFooter footer;
  footer.binding = binding_;
  footer.directory_checksum = XXH3_64bits(directory_.data(), directory_.size());
  Part directory{layout_.directory_offset, std::move(directory_)};
  TALLY_RETURN_IF_ERROR(Write(directory));
  while (filter_at_ < filter_blocks_) TALLY_RETURN_IF_ERROR(EndFilterBlock());
  TALLY_RETURN_IF_ERROR(WriteFilter());
  footer.filter_checksum = XXH3_64bits_digest(&filter_checksum_->state);
  AppendSidecarFooter(footer, filter_.buffer);
  TALLY_RETURN_IF_ERROR(Write(filter_));
  return file_->Sync();
}

}  // namespace tallystick
