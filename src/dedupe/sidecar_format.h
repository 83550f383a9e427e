// The bytes of a dedupe sidecar, N.idx, shared by writer and reader. docs/formats/sidecar.md has
// the byte tables.
//
//   block 0       header: magic, version, database id, number, checksum of the block
//   block 1...    pages of 146 entries sorted by key; the last one is filled up with zeros
//   directory     leading 8 bytes of each page's first key
//   filter        blocked Bloom filter (sidecar_filter.h)
//   footer        of fixed size, at the very end: the binding, checksums of directory and filter,
//                 its own checksum
//
// A page's checksum is seeded with database, segment number and page number. The footer's checksums
// and the page's leave no byte of the file uncovered. All sizes follow from the number of rows.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/coding.h"
#include "base/types.h"
#include "dedupe/key_halves.h"
#include "dedupe/sidecar_writer.h"
#include "tallystick/status.h"

namespace tallystick {

inline constexpr char kSidecarMagic[8] = {'T', 'A', 'L', 'L', 'Y', 'I', 'D', 'X'};
inline constexpr uint32_t kSidecarFormatVersion = 1;
inline constexpr uint64_t kSidecarHeaderBytes = kBlockBytes;
inline constexpr uint64_t kSidecarPageBytes = kBlockBytes;
inline constexpr uint64_t kSidecarEntryBytes = 28;  // key 16, payload hash 8, row 4
inline constexpr uint64_t kSidecarEntriesPerPage = 146;
inline constexpr uint64_t kSidecarFooterBytes = 128;
inline constexpr uint64_t kSidecarRowsMax = uint64_t{1} << 32;
static_assert(sizeof(uint64_t) + kSidecarEntriesPerPage * kSidecarEntryBytes == kSidecarPageBytes);

// Where everything is in a sidecar of `rows` entries.
struct SidecarLayout {
  uint64_t rows = 0;
  uint64_t pages = 0;
  uint64_t directory_offset = 0;
  uint64_t directory_bytes = 0;
  uint64_t filter_offset = 0;
  uint64_t filter_bytes = 0;
  uint64_t file_bytes = 0;

  static SidecarLayout For(uint64_t rows);
  uint64_t PageOffset(uint64_t page) const {
    return kSidecarHeaderBytes + page * kSidecarPageBytes;
  }
  uint64_t EntriesOfPage(uint64_t page) const {
    return page + 1 < pages ? kSidecarEntriesPerPage : rows - page * kSidecarEntriesPerPage;
  }
};

struct SidecarFooter {
  SidecarBinding binding;
  uint64_t directory_checksum = 0;
  uint64_t filter_checksum = 0;
};

void AppendSidecarHeader(const SidecarBinding& binding, Bytes& out);
// kCorruption unless it is the one right header of this file.
Status CheckSidecarHeader(ByteSpan header, const SidecarBinding& binding);

void AppendSidecarFooter(const SidecarFooter& footer, Bytes& out);
// `tail` is the last kSidecarFooterBytes of a file of `file_bytes`. kCorruption says what is wrong.
Result<SidecarFooter> DecodeSidecarFooter(ByteSpan tail, uint64_t file_bytes);
// kCorruption names the first field that differs, with both values.
Status CompareBinding(const SidecarBinding& found, const SidecarBinding& expected);

// What the pages of a file are seeded with, apart from the page number.
uint64_t SidecarSeed(const SidecarBinding& binding);
// Stores the checksum in front of a page's entries.
void SealSidecarPage(uint64_t seed, uint64_t page_number, std::span<std::byte> page);
bool SidecarPageIsValid(uint64_t seed, uint64_t page_number, ByteSpan page);

inline const std::byte* SidecarEntryAt(ByteSpan page, uint64_t index) {
  return page.data() + sizeof(uint64_t) + index * kSidecarEntryBytes;
}
inline void StoreSidecarEntry(const SidecarEntry& entry, std::byte* out) {
  StoreFixed(out, entry.key.bytes);
  StoreFixed(out + 16, entry.payload_hash);
  StoreFixed(out + 24, entry.row);
}
inline SidecarEntry LoadSidecarEntry(const std::byte* in) {
  SidecarEntry entry;
  entry.key.bytes = LoadFixed<std::array<uint8_t, 16>>(in);
  entry.payload_hash = LoadFixed<uint64_t>(in + 16);
  entry.row = LoadFixed<uint32_t>(in + 24);
  return entry;
}

}  // namespace tallystick
