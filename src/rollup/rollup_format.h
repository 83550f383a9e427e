// N.sum on disk. docs/formats/rollup.md has the byte tables.
//
//   header       64 bytes: magic, version, database id, number, checksum
//   blocks       up to 1,024 lines each, column by column
//   index        a block: the first line of each entry, the offset of each block, as integers
//   footer       of fixed size, with its checksum
//
// Blocks are sealed as a segment's are (segment_format.h), with another seed.
#pragma once

#include <cstdint>

#include "rollup/rollup.h"
#include "segment/segment_format.h"

namespace tallystick {

inline constexpr char kRollupMagic[8] = {'T', 'A', 'L', 'L', 'Y', 'S', 'U', 'M'};
inline constexpr uint32_t kRollupFormatVersion = 1;
inline constexpr uint64_t kRollupHeaderBytes = 64;
inline constexpr uint32_t kLinesPerBlock = 1024;

// What the blocks' checksums are seeded with: not the seed of the segment's own file.
inline uint64_t RollupSeed(const DatabaseId& database_id, FileNumber segment) {
  return SegmentSeed(database_id, {segment.value | uint64_t{1} << 63});
}

struct RollupFooter {
  DatabaseId database_id;
  FileNumber number;
  Lsn first_lsn;
  Lsn last_lsn;
  uint64_t rows = 0;              // of the segment
  uint64_t segment_checksum = 0;  // of the segment's footer
  uint64_t lines = 0;
  uint64_t entries = 0;  // accounts of the segment, and one for all together
  BlockRef index;
  uint32_t rows_per_line_min = kRowsPerLineMin;
  uint64_t checksum = 0;  // its own; set where it was read

  // The number under which the cache keeps the blocks. It names their content: a rollup is rebuilt
  // under the same name while a read may still hold the file before.
  FileNumber cache_number() const { return {checksum | uint64_t{1} << 63}; }
  uint64_t blocks() const { return (lines + kLinesPerBlock - 1) / kLinesPerBlock; }
  // REQUIRES: block < blocks().
  uint32_t lines_of(uint64_t block) const {
    const uint64_t left = lines - block * kLinesPerBlock;
    return left < kLinesPerBlock ? static_cast<uint32_t>(left) : kLinesPerBlock;
  }
};
inline constexpr uint64_t kRollupFooterBytes = 8 + 4 + 4 + 16 + 7 * 8 + 8 + 4 + 4 + 8;

void AppendRollupHeader(const DatabaseId& database_id, FileNumber number, Bytes& out);
Status CheckRollupHeader(ByteSpan header, const DatabaseId& database_id, FileNumber number);
void AppendRollupFooter(const RollupFooter& footer, Bytes& out);
// Total. What it accepts names an index that ends where the footer begins, and no more entries and
// lines than the rows can make.
Result<RollupFooter> DecodeRollupFooter(ByteSpan footer, uint64_t file_bytes);

// Up to kLinesPerBlock lines: integers for product, meter, unit, model, source, kind, hour (in
// hours, biased), count; then u8 form of the sums: 0: u8 scale, biased 64-bit mantissas as
// integers; 1: 32 bytes each, two's complement at scale 12.
void AppendLines(std::span<const RollupLine> lines, Bytes& out);

}  // namespace tallystick
