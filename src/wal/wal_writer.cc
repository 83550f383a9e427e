// Invariants:
//  1. A block that a successful Append covered is never written again while the file is listed.
//  2. At most one write is outstanding: the next frame starts after the one before it is durable.
//  3. Once poison_ is set, no byte is written and no sync called.
#include "wal/wal_writer.h"

#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "env/number_name.h"

namespace tallystick {
namespace {

constexpr uint64_t kFillChunkBytes = 1 << 20;

// Drawn from randomness and number: even a random source that repeats gives every file its own.
uint64_t DrawSalt(Random& random, FileNumber number) {
  const uint64_t seed[2] = {random.Next64(), number.value};
  const uint64_t salt = XXH3_64bits(seed, sizeof seed);
  return salt == 0 ? 1 : salt;  // 0 is what an unwritten block carries
}

struct OpenedFile {
  std::unique_ptr<File> file;
  bool direct;
};

Result<OpenedFile> OpenForLog(FileSystem& fs, const std::string& path, OpenMode mode, bool direct) {
  if (direct) {
    auto file = fs.Open(path, mode, {.direct_dsync = true});
    if (file.ok()) return OpenedFile{std::move(file).value(), true};
    if (file.status().reason() != "direct_refused") return file.status();
  }
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, mode));
  return OpenedFile{std::move(file), false};
}

// Writes the header, and on a new file zeros behind it, so that later writes allocate nothing.
Status WriteInitialBlocks(File& file, const WalFileHeader& header, uint64_t bytes) {
  AlignedBuffer chunk(std::min(bytes, kFillChunkBytes));
  EncodeWalFileHeader(header, chunk.span().first(kBlockBytes));
  for (uint64_t offset = 0; offset < bytes; offset += chunk.size()) {
    const uint64_t now = std::min<uint64_t>(chunk.size(), bytes - offset);
    TALLY_RETURN_IF_ERROR(WriteFully(file, offset, chunk.span().first(now)));
    if (offset == 0) std::ranges::fill(chunk.span().first(kBlockBytes), std::byte{0});
  }
  return Status::Ok();
}

Result<WalFileHeader> ReadHeader(File& file) {
  AlignedBuffer block(kBlockBytes);
  TALLY_RETURN_IF_ERROR(ReadFully(file, 0, block.span()));
  return DecodeWalFileHeader(block.span());
}

Result<std::unique_ptr<WalWriter>> PrepareAt(FileSystem& fs, Random& random,
                                             const WalFileSpec& spec, const std::string& path,
                                             bool recycled, bool direct) {
  TALLY_ASSIGN_OR_RETURN(
      OpenedFile opened,
      OpenForLog(fs, path, recycled ? OpenMode::kReadWrite : OpenMode::kCreateNew, direct));
  WalFileHeader header{spec.database_id, spec.number, DrawSalt(random, spec.number)};
  if (recycled) {
    TALLY_ASSIGN_OR_RETURN(const uint64_t size, opened.file->Size());
    if (size != spec.file_bytes) {
      return Status::FailedPrecondition("wrong_size", path + ": not a whole WAL file");
    }
    if (TALLY_MUTANT("stale_frame_believed")) {
      TALLY_ASSIGN_OR_RETURN(const WalFileHeader old, ReadHeader(*opened.file));
      header.salt = old.salt;
    }
  }
  TALLY_RETURN_IF_ERROR(
      WriteInitialBlocks(*opened.file, header, recycled ? kBlockBytes : spec.file_bytes));
  if (!opened.direct) TALLY_RETURN_IF_ERROR(opened.file->Sync());
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, spec.dir));
  return std::make_unique<WalWriter>(std::move(opened.file), header, spec.file_bytes,
                                     opened.direct);
}

}  // namespace

std::string WalFileName(FileNumber number) { return NumberName(number.value); }

FrameBuffer::FrameBuffer(size_t payload_bytes) : buffer_(FrameBytes(payload_bytes)) {}

void FrameBuffer::Append(ByteSpan bytes) {
  if (bytes.empty()) return;
  const size_t needed = FrameBytes(payload_bytes_ + bytes.size());
  if (needed > buffer_.size()) {
    AlignedBuffer larger(std::max(needed, 2 * buffer_.size()));
    std::memcpy(larger.data(), buffer_.data(), kFrameHeaderBytes + payload_bytes_);
    buffer_ = std::move(larger);
  }
  std::memcpy(buffer_.data() + kFrameHeaderBytes + payload_bytes_, bytes.data(), bytes.size());
  payload_bytes_ += bytes.size();
}

ByteSpan FrameBuffer::Seal(FrameHeader header) {
  header.payload_bytes = static_cast<uint32_t>(payload_bytes_);
  auto frame = buffer_.span().first(FrameBytes(payload_bytes_));
  SealFrame(header, frame);
  return frame;
}

Result<std::unique_ptr<WalWriter>> WalWriter::Prepare(FileSystem& fs, Random& random,
                                                      const WalFileSpec& spec,
                                                      std::optional<FileNumber> recycle) {
  TALLY_CHECK(spec.file_bytes % kBlockBytes == 0 && spec.file_bytes > kWalHeaderBytes);
  const std::string path = JoinPath(spec.dir, WalFileName(spec.number));
  if (recycle.has_value()) {
    TALLY_RETURN_IF_ERROR(fs.Rename(JoinPath(spec.dir, WalFileName(*recycle)), path));
  }
  auto writer = PrepareAt(fs, random, spec, path, recycle.has_value(), spec.direct_io);
  if (!writer.ok() && writer.status().reason() == "direct_refused") {
    // Some file systems take the flag at open and refuse the first write.
    if (!recycle.has_value()) TALLY_RETURN_IF_ERROR(fs.Remove(path));
    writer = PrepareAt(fs, random, spec, path, recycle.has_value(), false);
  }
  if (!writer.ok())
    IgnoreError(fs.Remove(path), "an unlisted file is an orphan that recovery removes");
  return writer;
}

Status WalWriter::WriteDurably(ByteSpan bytes) {
  TALLY_RETURN_IF_ERROR(WriteFully(*file_, offset_, bytes));
  if (direct_ || TALLY_MUTANT("sync_skipped")) return Status::Ok();
  return file_->Sync();
}

Status WalWriter::Append(FrameHeader header, FrameBuffer& frame) {
  if (!poison_.ok() && !(TALLY_MUTANT("mark_after_poison") && header.type == FrameType::kMark)) {
    return poison_;
  }
  TALLY_CHECK(FrameBytes(frame.payload_bytes()) <= file_bytes_ - offset_);
  header.salt = header_.salt;
  const ByteSpan bytes = frame.Seal(header);
  Status written = WriteDurably(bytes);
  if (!written.ok() && TALLY_MUTANT("sync_retried")) written = WriteDurably(bytes);
  if (!written.ok()) {
    poison_ = Status::Unavailable(
        "log_poisoned", "the log takes nothing until it is reopened: " + written.ToString());
    return poison_;
  }
  offset_ += bytes.size();
  return Status::Ok();
}

Status WalWriter::AppendCopy(ByteSpan frame) {
  // Its own salt is where the header has it, so the copy reads as the frame that it was.
  const auto old_salt = LoadFixed<uint64_t>(frame.data() + 8);
  const auto view = WalFileView(frame, old_salt).FrameAt(0);
  TALLY_CHECK(view.has_value());
  FrameBuffer copy(view->header.payload_bytes);
  copy.Append(view->payload());
  return Append(view->header, copy);
}

}  // namespace tallystick
