// RollupCursor: all lines of a rollup, one by one, past the cache. Whoever has gone through them
// has verified every byte of the file, and that each entry's lines are in order.
//
// Memory: a block of lines, and the index as it stands in the file.
// Thread rule: one thread; the reader must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "rollup/rollup_digest.h"
#include "rollup/rollup_reader.h"

namespace tallystick {

class RollupCursor {
 public:
  // Reads and verifies header and index.
  static Result<RollupCursor> Open(const RollupReader& reader);

  // REQUIRES: entry < footer().entries.
  LineRange LinesOf(uint64_t entry) const { return {StartOf(entry), StartOf(entry + 1)}; }

  // Goes to the next line. REQUIRES: next() < footer().lines.
  Status Next();
  uint64_t next() const { return next_; }  // number of the line that Next() would go to
  // Of the current line.
  const RollupLine& line() const { return lines_[(next_ - 1) % kLinesPerBlock]; }
  uint64_t offset() const { return offset_; }  // of its block in the file

 private:
  RollupCursor(const RollupReader& reader, RollupReader::Index index)
      : reader_(&reader), index_(std::move(index)), columns_(reader) {}

  uint64_t StartOf(uint64_t entry) const { return index_.starts.Get(static_cast<uint32_t>(entry)); }
  Status LoadBlock(uint64_t block);
  Status CheckOrder(uint64_t first, const RollupKey& before);

  const RollupReader* reader_;
  RollupReader::Index index_;
  RollupColumns columns_;
  std::vector<RollupLine> lines_;  // of the current block
  uint64_t offset_ = 0;
  uint64_t next_ = 0;
  uint64_t entry_ = 0;  // the first one that does not begin before the lines that were checked
};

// Reads all of the file in this way. kUnavailable `cancelled`: `stopped` (may be empty), which is
// asked before each block.
Result<RollupDigest> DigestOf(const RollupReader& reader, const std::function<bool()>& stopped);

}  // namespace tallystick
