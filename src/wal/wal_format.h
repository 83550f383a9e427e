// The bytes of a WAL file, shared by writer and reader. docs/formats/wal.md has the byte tables.
//
//   block 0        file header: magic, version, database id, number, salt, checksum of the block
//   block 1...     frames, each on a block border, padded with zeros to the next
//
// A frame is valid if and only if its header carries its file's salt, its length stays in the file,
// and its checksum (XXH3-64 over everything behind the checksum, padding included) is right. A
// valid frame of an unknown type was written by a newer version: it is refused, never taken for a
// torn tail. The salt is drawn anew whenever a file is prepared, so a frame left behind by the
// file's earlier life is never valid.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/coding.h"
#include "base/types.h"
#include "tallystick/event.h"
#include "tallystick/status.h"

namespace tallystick {

inline constexpr char kWalMagic[8] = {'T', 'A', 'L', 'L', 'Y', 'W', 'A', 'L'};
inline constexpr uint32_t kWalFormatVersion = 1;
inline constexpr uint64_t kWalHeaderBytes = kBlockBytes;

struct WalFileHeader {
  DatabaseId database_id;
  FileNumber number;
  uint64_t salt = 0;
};

// On disk: one byte. Values are never reused.
enum class FrameType : uint8_t {
  kData = 1,
  kMark = 2,  // no rows: gives the frame before it a successor
  // 3 is reserved for control records; a reader of this version refuses it.
};

inline constexpr uint64_t kFrameHeaderBytes = 64;

// In the frame, little-endian:
//    0 u64 checksum of bytes 8 .. end of padding
//    8 u64 salt
//   16 u64 frame number
//   24 u64 first LSN (of a mark: the next row's)
//   32 i64 commit time, microseconds since the epoch
//   40 u32 payload bytes
//   44 u32 rows
//   48 u8  type
//   49 15 zero bytes
//   64 payload, then zeros up to the block border
struct FrameHeader {
  uint64_t salt = 0;
  FrameNumber number;
  Lsn first_lsn;
  int64_t commit_time_us = 0;
  uint32_t payload_bytes = 0;
  uint32_t rows = 0;
  FrameType type = FrameType::kData;
};

// Type, rows and payload go together as this version writes them.
bool IsKnownFrame(const FrameHeader& header);

constexpr uint64_t FrameBytes(uint64_t payload_bytes) {
  return RoundUpToBlock(kFrameHeaderBytes + payload_bytes);
}

struct FrameView {
  FrameHeader header;
  uint64_t offset = 0;  // in the file
  uint64_t bytes = 0;   // with padding
  ByteSpan whole;       // header, payload, padding
  ByteSpan payload() const { return whole.subspan(kFrameHeaderBytes, header.payload_bytes); }
};

void EncodeWalFileHeader(const WalFileHeader& header, std::span<std::byte> block);
// kCorruption says which part is wrong.
Result<WalFileHeader> DecodeWalFileHeader(ByteSpan block);

// Writes header, zero padding and checksum around a payload that already stands at
// frame[kFrameHeaderBytes...]. REQUIRES: frame.size() == FrameBytes(header.payload_bytes).
void SealFrame(const FrameHeader& header, std::span<std::byte> frame);

// Makes a frame's checksum right again after a test changed its bytes.
void ResealForTest(std::span<std::byte> frame);

// The bytes of one file, read whole. Borrowed; total on any content.
class WalFileView {
 public:
  WalFileView(ByteSpan file, uint64_t salt) : file_(file), salt_(salt) {}

  std::optional<FrameView> FrameAt(uint64_t offset) const;
  bool SaltAt(uint64_t offset) const;
  // The first block at or behind `offset` that begins a valid frame.
  std::optional<uint64_t> FindFrame(uint64_t offset) const;
  uint64_t bytes() const { return file_.size(); }

 private:
  ByteSpan file_;
  uint64_t salt_;
};

}  // namespace tallystick
