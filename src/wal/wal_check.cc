#include "wal/wal_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "wal/wal_writer.h"

namespace tallystick {
namespace {

struct OpenedWal {
  std::unique_ptr<File> file;
  AlignedBuffer header{kWalHeaderBytes};
};

Result<OpenedWal> OpenAndReadHeader(FileSystem& fs, const std::string& path, bool direct_io) {
  OpenedWal opened;
  TALLY_ASSIGN_OR_RETURN(opened.file, fs.Open(path, OpenMode::kRead, {.direct_dsync = direct_io}));
  TALLY_RETURN_IF_ERROR(ReadFully(*opened.file, 0, opened.header.span()));
  return opened;
}

}  // namespace

Result<std::unique_ptr<WalFileChecker>> WalFileChecker::Open(FileSystem& fs, const std::string& dir,
                                                             const DatabaseId& database_id,
                                                             FileNumber number, bool direct_io) {
  return OpenPath(fs, JoinPath(dir, WalFileName(number)), database_id, number, direct_io);
}

Result<std::unique_ptr<WalFileChecker>> WalFileChecker::OpenPath(FileSystem& fs,
                                                                 const std::string& path,
                                                                 const DatabaseId& database_id,
                                                                 FileNumber number,
                                                                 bool direct_io) {
  auto opened = OpenAndReadHeader(fs, path, direct_io);
  // Some file systems refuse direct I/O at open, others at the first read.
  if (!opened.ok() && direct_io) opened = OpenAndReadHeader(fs, path, false);
  if (!opened.ok()) return opened.status();
  const auto header = DecodeWalFileHeader(opened->header.span());
  if (!header.ok()) return header.status().WithContext(path + " at offset 0");
  if (header->database_id != database_id || header->number != number) {
    return Status::Corruption(
        fmt::format("{} at offset 16: the file says that it is number {} of "
                    "database {}",
                    path, header->number.value, header->database_id.ToHex()));
  }
  TALLY_ASSIGN_OR_RETURN(const uint64_t bytes, opened->file->Size());
  return std::unique_ptr<WalFileChecker>(
      new WalFileChecker(std::move(opened->file), bytes, header->salt));
}

Status WalFileChecker::Fault(std::string_view what) const {
  return Status::Corruption(fmt::format("{} at offset {}: frame {} {}", file_->path(), offset_,
                                        position_.next_frame.value, what));
}

Status WalFileChecker::StartAtFirst() {
  TALLY_ASSIGN_OR_RETURN(const ByteSpan bytes, Read(kBlockBytes));
  if (bytes.size() < kBlockBytes) return Fault("is not there");
  // As SealFrame lays it out. What is not right here does not verify as a frame either.
  position_.next_frame = {LoadFixed<uint64_t>(bytes.data() + 16)};
  position_.next_lsn = {LoadFixed<uint64_t>(bytes.data() + 24)};
  return Status::Ok();
}

// So many bytes from offset_ on, or as many as there are, in whole blocks.
Result<ByteSpan> WalFileChecker::Read(uint64_t bytes) {
  const uint64_t left = file_bytes_ - std::min(file_bytes_, offset_);
  const uint64_t wanted = std::min(RoundUpToBlock(bytes), left / kBlockBytes * kBlockBytes);
  if (buffer_.size() < wanted) buffer_ = AlignedBuffer(wanted);
  const std::span<std::byte> out = buffer_.span().first(wanted);
  TALLY_RETURN_IF_ERROR(ReadFully(*file_, offset_, out));
  return ByteSpan(out);
}

Result<bool> WalFileChecker::Step(FrameNumber end, uint64_t bytes_max) {
  if (position_.next_frame >= end) return false;
  TALLY_ASSIGN_OR_RETURN(ByteSpan bytes, Read(bytes_max));
  uint64_t at = 0;
  while (position_.next_frame < end) {
    const WalFileView view(bytes, salt_);
    const auto frame = view.FrameAt(at);
    if (!frame.has_value()) {
      if (at > 0) return true;  // the next piece begins with it
      // A frame longer than the piece says so, if its header can be believed.
      const uint64_t needed =
          view.SaltAt(0) ? FrameBytes(LoadFixed<uint32_t>(bytes.data() + 40)) : 0;
      if (needed <= bytes.size()) return Fault("does not verify");
      const size_t before = bytes.size();
      TALLY_ASSIGN_OR_RETURN(bytes, Read(needed));
      if (bytes.size() == before) return Fault("does not verify");
      continue;
    }
    const FrameHeader& header = frame->header;
    // The first row of a file follows on that of another.
    const bool follows =
        offset_ == kWalHeaderBytes || (header.first_lsn == position_.next_lsn &&
                                       header.commit_time_us > position_.commit_time_after_us);
    if (!IsKnownFrame(header) || header.number != position_.next_frame || !follows) {
      return Fault("is not what stands there");
    }
    position_ = {
        {header.number.value + 1}, {header.first_lsn.value + header.rows}, header.commit_time_us};
    offset_ += frame->bytes;
    at += frame->bytes;
  }
  return false;
}

}  // namespace tallystick
