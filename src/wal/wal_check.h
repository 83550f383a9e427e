// WalFileChecker: reads a listed log file again, frame by frame, while others may be appended to
// it.
//
// Unlike recovery (wal_reader.h) it knows how far the file must go, so nothing of what it is asked
// for may be missing, and nothing behind that is looked at.
//
// Errors: kCorruption and kIoError with file and offset.
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "env/env.h"
#include "wal/wal_format.h"
#include "wal/wal_reader.h"

namespace tallystick {

class WalFileChecker {
 public:
  // Verifies the header. `direct_io`: read past the page cache where the file system takes it, so
  // that a page that was read just before a direct write to it is never taken for the file.
  static Result<std::unique_ptr<WalFileChecker>> Open(FileSystem& fs, const std::string& dir,
                                                      const DatabaseId& database_id,
                                                      FileNumber number, bool direct_io);

  // The same of a copy that has another name.
  static Result<std::unique_ptr<WalFileChecker>> OpenPath(FileSystem& fs, const std::string& path,
                                                          const DatabaseId& database_id,
                                                          FileNumber number, bool direct_io);

  // Verifies frames, some `bytes_max` of them or one, from `next` on up to the one before `end`.
  // The file's first frame is `next` at the first call. False: all are there.
  Result<bool> Step(FrameNumber end, uint64_t bytes_max);
  void StartAt(FrameNumber next) { position_.next_frame = next; }
  // Begins with whatever frame stands first: position() says which, for the caller to judge.
  Status StartAtFirst();
  uint64_t offset() const { return offset_; }  // of what is verified
  const WalPosition& position() const { return position_; }

 private:
  WalFileChecker(std::unique_ptr<File> file, uint64_t file_bytes, uint64_t salt)
      : file_(std::move(file)), file_bytes_(file_bytes), salt_(salt) {}
  Result<ByteSpan> Read(uint64_t bytes);
  Status Fault(std::string_view what) const;

  const std::unique_ptr<File> file_;
  const uint64_t file_bytes_;
  const uint64_t salt_;
  WalPosition position_;
  uint64_t offset_ = kWalHeaderBytes;
  AlignedBuffer buffer_;
};

}  // namespace tallystick
