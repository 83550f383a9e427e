#include "engine/file_copier.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "base/result.h"

namespace tallystick {
namespace {

constexpr uint64_t kPieceBytes = 256 << 10;  // of the governor's time

}  // namespace

struct FileCopier::Checksum {
  Checksum() { XXH3_64bits_reset(&state); }
  XXH3_state_t state;
};

FileCopier::FileCopier(std::unique_ptr<File> from, std::unique_ptr<File> to, uint64_t bytes,
                       IoGovernor* governor)
    : from_(std::move(from)),
      to_(std::move(to)),
      bytes_(bytes),
      governor_(governor),
      checksum_(std::make_unique<Checksum>()),
      buffer_(std::min(bytes, kPieceBytes)) {}

FileCopier::~FileCopier() = default;

Result<std::unique_ptr<FileCopier>> FileCopier::Start(FileSystem& fs, const std::string& from,
                                                      const std::string& to,
                                                      std::optional<uint64_t> bytes,
                                                      IoGovernor* governor) {
  TALLY_ASSIGN_OR_RETURN(auto source, fs.Open(from, OpenMode::kRead));
  if (!bytes.has_value()) {
    TALLY_ASSIGN_OR_RETURN(bytes, source->Size());
  }
  std::unique_ptr<File> copy;
  if (!to.empty()) {
    TALLY_ASSIGN_OR_RETURN(copy, fs.Open(to, OpenMode::kCreateNew));
  }
  return std::unique_ptr<FileCopier>(
      new FileCopier(std::move(source), std::move(copy), *bytes, governor));
}

Status FileCopier::Step() {
  const uint64_t until = std::min(offset_ + kStepBytes, bytes_);
  while (offset_ < until) {
    const std::span<std::byte> piece =
        std::span(buffer_).first(std::min(until - offset_, kPieceBytes));
    if (governor_ != nullptr) governor_->Acquire(piece.size());
    TALLY_RETURN_IF_ERROR(ReadFully(*from_, offset_, piece));
    XXH3_64bits_update(&checksum_->state, piece.data(), piece.size());
    if (to_ != nullptr) TALLY_RETURN_IF_ERROR(WriteFully(*to_, offset_, piece));
    offset_ += piece.size();
    if (to_ != nullptr && offset_ - synced_ >= kSyncBytes) {
      TALLY_RETURN_IF_ERROR(to_->Sync());
      synced_ = offset_;
    }
  }
  if (offset_ < bytes_) return Status::Ok();
  if (to_ != nullptr) TALLY_RETURN_IF_ERROR(to_->Sync());
  done_ = true;
  return Status::Ok();
}

uint64_t FileCopier::checksum() const { return XXH3_64bits_digest(&checksum_->state); }

}  // namespace tallystick
