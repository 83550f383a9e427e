// Reads a segment's rollup, N.sum. Opening reads the footer only and compares it with the segment;
// index and blocks are read when they are needed, and verified before they are believed.
//
// Errors: kNotFound where there is no file; kCorruption and kIoError with file and offset.
// Thread rule: RollupReader from any thread; RollupColumns belongs to one, its reader must outlive
// it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rollup/rollup.h"
#include "rollup/rollup_format.h"
#include "segment/block_cache.h"
#include "segment/chunk.h"
#include "segment/column_source.h"

namespace tallystick {

struct LineRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool empty() const { return begin == end; }
};

class RollupReader {
 public:
  static Result<std::unique_ptr<RollupReader>> Open(FileSystem& fs, const std::string& path,
                                                    const SegmentInfo& segment, BlockCache& cache);
  // Without a segment to compare with (inspect).
  static Result<std::unique_ptr<RollupReader>> OpenAlone(FileSystem& fs, const std::string& path,
                                                         BlockCache& cache);

  const RollupFooter& footer() const { return footer_; }
  const std::string& path() const { return file_->path(); }
  uint64_t bytes() const { return bytes_; }
  // Entry 0: of all accounts together; code + 1: of the account with this code of the segment's
  // dictionary. Empty: its rows must be read. REQUIRES: entry < footer().entries.
  Result<LineRange> LinesOf(uint64_t entry) const;
  Result<std::vector<LineRange>> Entries() const;  // of all entries
  // The payload of block number `block`, and where it stands in the file.
  // REQUIRES: block < footer().blocks().
  Result<BlockCache::Block> Block(uint64_t block, uint64_t* offset) const;
  Status CheckHeader() const;
  // "PATH at offset N: what"
  Status Fault(uint64_t offset, std::string_view what) const;

 private:
  friend class RollupCursor;
  struct Index {
    BlockCache::Block block;
    IntChunk starts;
    IntChunk offsets;
  };

  RollupReader(std::unique_ptr<File> file, uint64_t bytes, const RollupFooter& footer,
               BlockCache& cache);
  // Through the cache.
  Result<Index> LoadIndex() const;
  Result<Index> ParseIndex(BlockCache::Block block) const;
  Result<LineRange> LinesOf(const Index& index, uint64_t entry) const;
  Result<BlockRef> RefOf(const Index& index, uint64_t block) const;
  Result<Bytes> Read(const BlockRef& ref) const;  // past the cache

  const std::unique_ptr<File> file_;
  const uint64_t bytes_;
  const RollupFooter footer_;
  const uint64_t seed_;
  BlockCache& cache_;
};

// Lines as columns; the timestamp is the start of the hour. There are no LSNs, and the account is
// what SetAccount says.
class RollupColumns final : public ColumnSource {
 public:
  explicit RollupColumns(const RollupReader& reader) : reader_(reader) {}

  // Goes to lines begin..end-1 of a block, which are read.
  // REQUIRES: begin < end <= lines of the block.
  Status Enter(uint64_t block, uint32_t begin, uint32_t end);
  // The account that the lines are of: the lines themselves do not say.
  void SetAccount(uint64_t code) { account_ = code; }

  uint32_t rows() const override { return rows_; }
  ColumnZone zone(SegmentColumn column) const override;
  Result<std::span<const uint64_t>> Integers(SegmentColumn column) override;
  Result<QuantityColumn> Quantities() override;
  Result<std::span<const uint64_t>> Counts() override { return std::span<const uint64_t>(counts_); }

 private:
  friend class RollupCursor;
  static constexpr std::array kColumns = {SegmentColumn::kProductId, SegmentColumn::kMeterId,
                                          SegmentColumn::kUnit,      SegmentColumn::kModelId,
                                          SegmentColumn::kSource,    SegmentColumn::kKind,
                                          SegmentColumn::kTimestamp};
  static size_t Place(SegmentColumn column);
  // Of a payload that was read from `offset` of the file.
  Status Decode(uint64_t block, uint64_t offset, ByteSpan payload, uint32_t begin, uint32_t end);
  RollupLine Line(uint32_t i) const;  // REQUIRES: i < rows().
  bool Unpack(Decoder& in, uint32_t lines, uint32_t begin, std::vector<uint64_t>& values) const;
  bool DecodeQuantities(Decoder& in, uint32_t lines, uint32_t begin);
  Status CheckLines(uint64_t offset);

  const RollupReader& reader_;
  uint32_t rows_ = 0;
  uint64_t account_ = 0;
  std::array<std::vector<uint64_t>, kColumns.size()> integers_;
  std::array<ColumnZone, kColumns.size()> zones_;
  std::vector<uint64_t> accounts_;
  std::vector<uint64_t> counts_;
  QuantityColumn quantities_;
  std::vector<int64_t> mantissas_;
  std::vector<ExactSum> wide_;
};

}  // namespace tallystick
