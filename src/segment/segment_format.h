// The bytes of a segment, N.seg, shared by writer and reader. docs/formats/segment.md has the byte
// tables.
//
//   header       64 bytes: magic, version, database id, number, checksum
//   blocks       for each row group its chunks, column by column; then the dictionaries, the
//                account index, the commit times, the quarantined list, the pages of the group
//                directory
//   footer       of fixed size, with its checksum; its length, the version, the magic
//
// A block is its payload (raw, or under zstd), one byte that says which, and XXH3-64 of both,
// seeded with the file's identity and the block's offset: a block of another place or file does not
// verify. The footer's content checksum runs over the checksums of all blocks, so that the footer's
// own checksum names the content of the whole file.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "base/coding.h"
#include "base/decimal.h"
#include "base/types.h"
#include "segment/segment_reader.h"
#include "segment/segment_writer.h"
#include "tallystick/status.h"

namespace tallystick {

inline constexpr char kSegmentMagic[8] = {'T', 'A', 'L', 'L', 'Y', 'S', 'E', 'G'};
inline constexpr uint32_t kSegmentFormatVersion = 1;
inline constexpr uint64_t kSegmentHeaderBytes = 64;

// Column c of the format is bit c of SegmentColumns.
inline constexpr size_t kSegmentColumnCount = std::bit_width(kAllSegmentColumns);
constexpr size_t ColumnIndex(SegmentColumn column) {
  return static_cast<size_t>(std::countr_zero(static_cast<uint32_t>(column)));
}

// Columns with a sorted dictionary, in the order of the file. Where a value may be absent, code 0
// says so and the dictionary's first text has code 1.
struct DictionaryColumn {
  SegmentColumn column;
  bool nullable;
};
inline constexpr std::array<DictionaryColumn, 7> kDictionaryColumns = {{
    {SegmentColumn::kAccountId, false},
    {SegmentColumn::kProductId, false},
    {SegmentColumn::kMeterId, false},
    {SegmentColumn::kUnit, false},
    {SegmentColumn::kModelId, true},
    {SegmentColumn::kSubscriptionId, true},
    {SegmentColumn::kSource, false},
}};
// The first ones are what rows are sorted by, then timestamp and LSN.
inline constexpr size_t kSortedDictionaryColumns = 5;
// Dictionaries of the file: those of the columns, and the one of whole dimension sets.
inline constexpr size_t kDimensionDictionary = kDictionaryColumns.size();
inline constexpr size_t kDictionaryCount = kDictionaryColumns.size() + 1;

// --- blocks ---

// On disk: one byte. Values are never reused.
enum class BlockCodec : uint8_t { kRaw = 0, kZstd = 1 };

inline constexpr size_t kBlockTrailerBytes = 9;
inline constexpr uint64_t kBlockPayloadBytesMax = 0xffff'ff00;  // with its trailer still 32 bits
// A payload that zstd makes smaller than this is kept raw, so that a reader may refuse what would
// unpack to more.
inline constexpr uint64_t kZstdRatioMax = 1024;

struct BlockRef {
  uint64_t offset = 0;
  uint32_t bytes = 0;  // with the trailer; 0: there is no such block
  friend bool operator==(const BlockRef&, const BlockRef&) = default;
};

// What blocks of a file are seeded with, apart from their offset.
uint64_t SegmentSeed(const DatabaseId& database_id, FileNumber number);
// Appends codec and checksum to a payload that stands at out[begin...], for a block that begins at
// `offset` of the file. Returns the checksum.
uint64_t SealBlock(uint64_t seed, uint64_t offset, BlockCodec codec, size_t begin, Bytes& out);
// The checksum that the last 8 bytes of a block say.
uint64_t StoredBlockChecksum(ByteSpan block);
// Verifies a block as it stands in the file and gives its payload, unpacked. On an error: what is
// wrong with it.
Result<Bytes> OpenBlock(uint64_t seed, uint64_t offset, Bytes block);
// The content checksum so far, and the next block's.
uint64_t ChainChecksum(uint64_t chain, uint64_t checksum);

// --- directory of row groups ---

struct ColumnEntry {
  uint64_t min = 0;  // of the integers that the column is made of; 0 where it is not made of such
  uint64_t max = 0;
  uint32_t block_bytes = 0;  // 0: no block; all integers are `min`, or all rows are without value
};

struct GroupEntry {
  uint64_t offset = 0;       // of the first block; they follow one another in column order
  uint32_t quarantined = 0;  // rows
  std::array<ColumnEntry, kSegmentColumnCount> columns;

  const ColumnEntry& at(SegmentColumn column) const { return columns[ColumnIndex(column)]; }
  BlockRef Block(SegmentColumn column) const;
  uint64_t block_bytes() const;  // of all blocks together
};

inline constexpr uint64_t kGroupEntryBytes = 12 + kSegmentColumnCount * 20;
inline constexpr uint64_t kGroupsPerPage = (4096 - kBlockTrailerBytes) / kGroupEntryBytes;
inline constexpr uint64_t kDirectoryPageBytes =
    kGroupsPerPage * kGroupEntryBytes + kBlockTrailerBytes;
static_assert(kGroupEntryBytes == 312 && kGroupsPerPage == 13);

void AppendGroupEntry(const GroupEntry& entry, Bytes& out);
// REQUIRES: bytes.size() == kGroupEntryBytes.
GroupEntry DecodeGroupEntry(ByteSpan bytes);

// Whether the integers of the column have a zone in the directory (all but texts, quantities and
// dimensions by key).
constexpr bool HasZone(SegmentColumn column, bool dimensions_by_key) {
  return column != SegmentColumn::kEventId && column != SegmentColumn::kQuantity &&
         column != SegmentColumn::kCorrectionRef &&
         !(column == SegmentColumn::kDimensions && dimensions_by_key);
}

// --- header and footer ---

void AppendSegmentHeader(const DatabaseId& database_id, FileNumber number, Bytes& out);
// kCorruption says which part is wrong.
Status CheckSegmentHeader(ByteSpan header, const DatabaseId& database_id, FileNumber number);

struct SegmentFooter {
  SegmentInfo info;
  IdentityScope scope = IdentityScope::kGlobal;  // of the hashes in the quarantined list
  bool dimensions_by_key = false;
  ExactSum quantity;  // of the counted rows
  std::array<BlockRef, kDictionaryCount> dictionaries;
  BlockRef account_index;
  BlockRef commit_times;
  BlockRef quarantined;
  uint64_t directory_offset = 0;
  uint64_t content_checksum = 0;

  uint32_t group_count() const {
    return static_cast<uint32_t>((info.rows + info.group_rows - 1) / info.group_rows);
  }
  uint32_t rows_of_group(uint32_t group) const {
    const uint64_t begin = uint64_t{group} * info.group_rows;
    const uint64_t left = info.rows - begin;
    return left < info.group_rows ? static_cast<uint32_t>(left) : info.group_rows;
  }
  // Page p of the directory; the last one may be shorter.
  BlockRef DirectoryPage(uint64_t page) const;
  uint64_t directory_bytes() const;
};

inline constexpr uint64_t kSegmentFooterBytes = 268;
// From the footer to the end of the file: checksum, length, version and magic behind it.
inline constexpr uint64_t kSegmentTailBytes = kSegmentFooterBytes + 8 + 4 + 4 + 8;

// Sets info.footer_checksum too.
void AppendSegmentTail(SegmentFooter& footer, Bytes& out);
uint64_t FooterChecksum(ByteSpan footer);
// Total. What it accepts names blocks inside of the file only. `file_bytes`: of the whole file.
Result<SegmentFooter> DecodeSegmentTail(ByteSpan tail, uint64_t file_bytes);

}  // namespace tallystick
