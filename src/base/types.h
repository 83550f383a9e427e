// Strong types for the numbers that must not be confused, and the block size that all log files
// share.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

namespace tallystick {

// Files are written, and may tear, in blocks of this size.
inline constexpr uint64_t kBlockBytes = 4096;

constexpr uint64_t RoundUpToBlock(uint64_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

// A file's number: from one counter for all kinds of file, never reused.
struct FileNumber {
  uint64_t value = 0;
  friend auto operator<=>(const FileNumber&, const FileNumber&) = default;
};

// A WAL frame's number: dense over all files, from 1.
struct FrameNumber {
  uint64_t value = 0;
  friend auto operator<=>(const FrameNumber&, const FrameNumber&) = default;
};

// A line of the manifest's list of live WAL files: what the log's reader goes by.
struct ListedWalFile {
  FileNumber number;
  std::optional<FrameNumber> end;  // its last frame; none: open, the end is found by reading
  friend bool operator==(const ListedWalFile&, const ListedWalFile&) = default;
};

// First 16 bytes of a BLAKE3 hash, as in the file: what identifies an event.
struct EventHash {
  std::array<uint8_t, 16> bytes{};
  friend auto operator<=>(const EventHash&, const EventHash&) = default;
  uint64_t Low() const {  // uniformly distributed; for hash tables
    uint64_t low;
    std::memcpy(&low, bytes.data(), sizeof low);
    return low;
  }
};

// 128 random bits that name a database.
struct DatabaseId {
  std::array<uint8_t, 16> bytes{};
  friend auto operator<=>(const DatabaseId&, const DatabaseId&) = default;
  std::string ToHex() const;
};

std::string ToHex(const void* data, size_t bytes);

}  // namespace tallystick
