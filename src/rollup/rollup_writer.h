// RollupWriter: writes N.sum from lines as they come. Memory: a block of lines, 8 bytes for each
// entry and for each block, and the buffer of BlockWriter.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "env/env.h"
#include "env/io_governor.h"
#include "rollup/rollup.h"
#include "rollup/rollup_digest.h"
#include "segment/block_writer.h"

namespace tallystick {

class RollupWriter final : public RollupSink {
 public:
  // Creates `path` (which must not exist). `governor` may be null. On an error, here or later, the
  // caller removes the file.
  static Result<std::unique_ptr<RollupWriter>> Create(FileSystem& fs, const std::string& path,
                                                      const SegmentInfo& segment,
                                                      uint32_t rows_per_line_min,
                                                      IoGovernor* governor);

  Status Add(const RollupLine& line) override;
  Status EndEntry() override;
  // Writes what is left and syncs; the caller syncs the directory. Nothing may be added any more.
  Status Finish();

  const RollupDigest& digest() const { return digest_; }  // of what was added

 private:
  RollupWriter(std::unique_ptr<File> file, const SegmentInfo& segment, uint32_t rows_per_line_min,
               IoGovernor* governor);
  Status WriteBlock();

  const SegmentInfo segment_;
  const uint32_t rows_per_line_min_;
  BlockWriter out_;
  RollupDigest digest_;
  std::vector<RollupLine> block_;  // not written yet
  std::vector<uint64_t> starts_;
  std::vector<uint64_t> offsets_;
  Bytes bytes_;  // scratch
};

}  // namespace tallystick
