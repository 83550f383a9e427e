// Preparing WAL files, and appending frames to one.
//
// Thread rule: a WalWriter belongs to one thread at a time (the committer).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "env/env.h"
#include "wal/wal_format.h"

namespace tallystick {

struct WalFileSpec {
  std::string dir;  // of all WAL files
  DatabaseId database_id;
  FileNumber number;
  uint64_t file_bytes = 0;
  bool direct_io = true;  // fall back to write + sync where the file system refuses
};

std::string WalFileName(FileNumber number);  // "000042"

// A group's frame while it is put together: the payload goes to `payload()`, behind room for the
// header, in one aligned buffer that is written as it is. Kept and reused; grows by itself.
class FrameBuffer {
 public:
  explicit FrameBuffer(size_t payload_bytes);
  // Forgets the payload.
  void Clear() { payload_bytes_ = 0; }
  void Append(ByteSpan bytes);
  size_t payload_bytes() const { return payload_bytes_; }
  ByteSpan payload() const { return {buffer_.data() + kFrameHeaderBytes, payload_bytes_}; }
  // Header, padding and checksum; the result is what stands on disk.
  ByteSpan Seal(FrameHeader header);

 private:
  mutable AlignedBuffer buffer_;
  size_t payload_bytes_ = 0;
};

// Appends frames to one prepared file. Any failed write or sync poisons it: the reason is kept and
// every later call gives it again, without touching the file (a second fsync may claim success for
// pages that the kernel dropped).
class WalWriter {
 public:
  WalWriter(std::unique_ptr<File> file, const WalFileHeader& header, uint64_t file_bytes,
            bool direct)
      : file_(std::move(file)), header_(header), file_bytes_(file_bytes), direct_(direct) {}

  // A new file, its blocks allocated and written once, header, sync, directory sync; or, with
  // `recycle`, that file (whole, of this size, named by no manifest) under the new number with a
  // new salt. On an error the file is removed again as far as that works, and must never be listed.
  static Result<std::unique_ptr<WalWriter>> Prepare(FileSystem& fs, Random& random,
                                                    const WalFileSpec& spec,
                                                    std::optional<FileNumber> recycle);

  // For data: a block is always kept for a mark behind it.
  bool Fits(uint64_t payload_bytes) const {
    return FrameBytes(payload_bytes) + kBlockBytes <= file_bytes_ - offset_;
  }
  bool FitsMark() const { return kBlockBytes <= file_bytes_ - offset_; }
  // Returns when the frame is durable. header.salt is set here. REQUIRES: it fits.
  Status Append(FrameHeader header, FrameBuffer& frame);

  // A whole frame of another file, as WalPlan::last_frame has it, under this file's salt.
  Status AppendCopy(ByteSpan frame);

  const Status& poison() const { return poison_; }
  FileNumber number() const { return header_.number; }
  uint64_t offset() const { return offset_; }  // bytes used
  uint64_t file_bytes() const { return file_bytes_; }

 private:
  Status WriteDurably(ByteSpan bytes);

  std::unique_ptr<File> file_;
  WalFileHeader header_;
  uint64_t file_bytes_;
  bool direct_;
  uint64_t offset_ = kWalHeaderBytes;
  Status poison_;
};

}  // namespace tallystick
