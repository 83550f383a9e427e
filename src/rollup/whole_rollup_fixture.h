// Whole rollups in memory, for tests and fuzzers, whose segments are small.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/result.h"
#include "rollup/rollup_check.h"
#include "rollup/rollup_cursor.h"
#include "rollup/rollup_writer.h"

namespace tallystick {

struct Rollup {
  // The lines of entry e are starts[e] .. starts[e + 1] - 1.
  std::vector<uint64_t> starts;
  std::vector<RollupLine> lines;
  uint32_t rows_per_line_min = kRowsPerLineMin;
};

class RollupCollector final : public RollupSink {
 public:
  Rollup rollup{.starts = {0}};

  Status Add(const RollupLine& line) override {
    rollup.lines.push_back(line);
    return Status::Ok();
  }
  Status EndEntry() override {
    rollup.starts.push_back(rollup.lines.size());
    return Status::Ok();
  }
};

inline Status Feed(const Rollup& rollup, RollupSink& sink) {
  for (size_t entry = 0; entry + 1 < rollup.starts.size(); ++entry) {
    for (uint64_t i = rollup.starts[entry]; i < rollup.starts[entry + 1]; ++i) {
      TALLY_RETURN_IF_ERROR(sink.Add(rollup.lines[i]));
    }
    TALLY_RETURN_IF_ERROR(sink.EndEntry());
  }
  return Status::Ok();
}

inline Result<Rollup> BuildRollup(const SegmentReader& segment, uint32_t rows_per_line_min) {
  RollupCollector collector;
  collector.rollup.rows_per_line_min = rows_per_line_min;
  TALLY_RETURN_IF_ERROR(BuildRollup(segment, rows_per_line_min, {}, collector));
  return std::move(collector.rollup);
}

inline Status WriteRollup(FileSystem& fs, const std::string& path, const SegmentInfo& segment,
                          const Rollup& rollup, IoGovernor* governor) {
  TALLY_ASSIGN_OR_RETURN(
      const auto writer,
      RollupWriter::Create(fs, path, segment, rollup.rows_per_line_min, governor));
  TALLY_RETURN_IF_ERROR(Feed(rollup, *writer));
  return writer->Finish();
}

inline Result<Rollup> ReadRollup(const RollupReader& reader) {
  TALLY_ASSIGN_OR_RETURN(RollupCursor cursor, RollupCursor::Open(reader));
  RollupCollector collector;
  for (uint64_t entry = 0; entry < reader.footer().entries; ++entry) {
    while (cursor.next() < cursor.LinesOf(entry).end) {
      TALLY_RETURN_IF_ERROR(cursor.Next());
      TALLY_RETURN_IF_ERROR(collector.Add(cursor.line()));
    }
    TALLY_RETURN_IF_ERROR(collector.EndEntry());
  }
  return std::move(collector.rollup);
}

inline Status CheckRollup(const RollupReader& reader, const Rollup& rollup) {
  TALLY_ASSIGN_OR_RETURN(RollupCheck check, RollupCheck::Open(reader));
  TALLY_RETURN_IF_ERROR(Feed(rollup, check));
  return check.Finish();
}

// REQUIRES: the block can be read.
inline uint64_t OffsetOf(const RollupReader& reader, uint64_t block) {
  uint64_t offset = 0;
  TALLY_CHECK(reader.Block(block, &offset).ok());
  return offset;
}

}  // namespace tallystick
