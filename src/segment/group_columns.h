// GroupColumns: rows of one row group at a time, column by column. Blocks come through the cache,
// or past it: whoever reads a whole segment once must not drive out what queries use.
//
// Thread rule: one thread; the reader must outlive it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "segment/chunk.h"
#include "segment/column_source.h"
#include "segment/segment_file.h"
#include "segment/segment_format.h"

namespace tallystick {

class GroupColumns final : public ColumnSource {
 public:
  enum class Through : uint8_t { kCache, kFile };

  explicit GroupColumns(const SegmentReader& reader, Through through = Through::kCache)
      : file_(reader.file()), through_(through) {}

  // Goes to these rows. Reads the row group's line of the directory, nothing else.
  // REQUIRES: begin < end <= rows of the group.
  Status Enter(const GroupPart& part);
  uint32_t quarantined() const { return entry_.quarantined; }  // rows of the whole group

  uint32_t rows() const override { return end_ - begin_; }
  ColumnZone zone(SegmentColumn column) const override;  // of the whole group
  Result<std::span<const uint64_t>> Integers(SegmentColumn column) override;
  Result<QuantityColumn> Quantities() override;
  Result<std::span<const uint64_t>> Counts() override { return std::span<const uint64_t>(); }

 private:
  Result<SegmentFile::Block> Get(const BlockRef& ref) const;
  Result<GroupEntry> Entry(uint32_t group);

  const SegmentFile& file_;
  const Through through_;
  // Of the directory, if it is read past the cache.
  SegmentFile::Block page_;
  uint64_t page_number_ = 0;
  uint32_t group_rows_ = 0;
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
  GroupEntry entry_;
  std::array<bool, kSegmentColumnCount> unpacked_{};
  std::array<std::vector<uint64_t>, kSegmentColumnCount> integers_;
  std::vector<int64_t> mantissas_;
  std::vector<ExactSum> wide_;
};

}  // namespace tallystick
