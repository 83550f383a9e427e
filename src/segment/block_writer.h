// Writes the blocks of a segment one behind another, through a buffer.
#pragma once

#include <cstdint>
#include <memory>

#include "env/env.h"
#include "env/io_governor.h"
#include "segment/segment_format.h"

namespace tallystick {

class BlockWriter {
 public:
  BlockWriter(std::unique_ptr<File> file, uint64_t seed, IoGovernor* governor);
  ~BlockWriter();

  enum class Packing : uint8_t {
    kNone,
    kZstd,  // if it makes the block smaller
  };
  Status Append(ByteSpan payload, Packing packing, BlockRef* ref);
  // Bytes that are no block.
  void AppendPlain(ByteSpan bytes) { buffer_.insert(buffer_.end(), bytes.begin(), bytes.end()); }
  // Writes what is left and syncs. Nothing may be appended any more.
  Status Finish();

  uint64_t offset() const { return written_ + buffer_.size(); }
  uint64_t content_checksum() const { return content_checksum_; }

 private:
  struct Compressor;

  std::unique_ptr<File> file_;
  const uint64_t seed_;
  IoGovernor* const governor_;
  std::unique_ptr<Compressor> compressor_;
  Bytes buffer_;
  uint64_t written_ = 0;
  uint64_t synced_ = 0;
  uint64_t content_checksum_ = 0;
};

}  // namespace tallystick
