#include "wal/wal_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/mutant.h"

namespace tallystick {
namespace {

constexpr size_t kHeaderChecksumAt = kBlockBytes - sizeof(uint64_t);
static_assert(sizeof kWalMagic == 8);

uint64_t FrameChecksum(ByteSpan frame) {
  return XXH3_64bits(frame.data() + sizeof(uint64_t), frame.size() - sizeof(uint64_t));
}

}  // namespace

bool IsKnownFrame(const FrameHeader& header) {
  switch (header.type) {
    case FrameType::kData:
      return header.rows > 0 && header.payload_bytes > 0;
    case FrameType::kMark:
      return header.rows == 0 && header.payload_bytes == 0;
  }
  return false;
}

void EncodeWalFileHeader(const WalFileHeader& header, std::span<std::byte> block) {
  TALLY_CHECK(block.size() == kBlockBytes);
  std::ranges::fill(block, std::byte{0});
  std::byte* out = block.data();
  std::memcpy(out, kWalMagic, sizeof kWalMagic);
  StoreFixed<uint32_t>(out + 8, kWalFormatVersion);
  std::memcpy(out + 16, header.database_id.bytes.data(), 16);
  StoreFixed<uint64_t>(out + 32, header.number.value);
  StoreFixed<uint64_t>(out + 40, header.salt);
  StoreFixed<uint64_t>(out + kHeaderChecksumAt, XXH3_64bits(out, kHeaderChecksumAt));
}

Result<WalFileHeader> DecodeWalFileHeader(ByteSpan block) {
  if (block.size() < kBlockBytes) return Status::Corruption("the file is shorter than its header");
  const std::byte* in = block.data();
  if (std::memcmp(in, kWalMagic, sizeof kWalMagic) != 0) {
    return Status::Corruption("the magic is not that of a WAL file");
  }
  const auto version = LoadFixed<uint32_t>(in + 8);
  if (version != kWalFormatVersion) {
    return Status::Corruption("unknown WAL format version " + std::to_string(version));
  }
  if (LoadFixed<uint64_t>(in + kHeaderChecksumAt) != XXH3_64bits(in, kHeaderChecksumAt)) {
    return Status::Corruption("the header's checksum does not match");
  }
  WalFileHeader header;
  std::memcpy(header.database_id.bytes.data(), in + 16, 16);
  header.number = {LoadFixed<uint64_t>(in + 32)};
  header.salt = LoadFixed<uint64_t>(in + 40);
  return header;
}

void SealFrame(const FrameHeader& header, std::span<std::byte> frame) {
  TALLY_CHECK(frame.size() == FrameBytes(header.payload_bytes));
  TALLY_CHECK(IsKnownFrame(header));
  std::byte* out = frame.data();
  StoreFixed<uint64_t>(out + 8, header.salt);
  StoreFixed<uint64_t>(out + 16, header.number.value);
  StoreFixed<uint64_t>(out + 24, header.first_lsn.value);
  StoreFixed<int64_t>(out + 32, header.commit_time_us);
  StoreFixed<uint32_t>(out + 40, header.payload_bytes);
  StoreFixed<uint32_t>(out + 44, header.rows);
  StoreFixed<uint8_t>(out + 48, static_cast<uint8_t>(header.type));
  std::memset(out + 49, 0, kFrameHeaderBytes - 49);
  std::ranges::fill(frame.subspan(kFrameHeaderBytes + header.payload_bytes), std::byte{0});
  StoreFixed<uint64_t>(out, FrameChecksum(frame));
}

void ResealForTest(std::span<std::byte> frame) {
  StoreFixed<uint64_t>(frame.data(), FrameChecksum(frame));
}

bool WalFileView::SaltAt(uint64_t offset) const {
  if (offset > file_.size() || file_.size() - offset < kBlockBytes) return false;
  return LoadFixed<uint64_t>(file_.data() + offset + 8) == salt_;
}

std::optional<FrameView> WalFileView::FrameAt(uint64_t offset) const {
  if (!SaltAt(offset)) return std::nullopt;
  const std::byte* in = file_.data() + offset;
  FrameView frame;
  frame.header.salt = salt_;
  frame.header.number = {LoadFixed<uint64_t>(in + 16)};
  frame.header.first_lsn = {LoadFixed<uint64_t>(in + 24)};
  frame.header.commit_time_us = LoadFixed<int64_t>(in + 32);
  frame.header.payload_bytes = LoadFixed<uint32_t>(in + 40);
  frame.header.rows = LoadFixed<uint32_t>(in + 44);
  const auto type = LoadFixed<uint8_t>(in + 48);
  frame.header.type = static_cast<FrameType>(type);
  frame.offset = offset;
  frame.bytes = FrameBytes(frame.header.payload_bytes);
  if (frame.bytes > file_.size() - offset) return std::nullopt;
  frame.whole = file_.subspan(offset, frame.bytes);
  if (LoadFixed<uint64_t>(in) != FrameChecksum(frame.whole) &&
      !TALLY_MUTANT("checksum_not_compared")) {
    return std::nullopt;
  }
  return frame;
}

std::optional<uint64_t> WalFileView::FindFrame(uint64_t offset) const {
  for (uint64_t at = RoundUpToBlock(offset); at < file_.size(); at += kBlockBytes) {
    if (FrameAt(at).has_value()) return at;
  }
  return std::nullopt;
}

}  // namespace tallystick
