// Writes N.sum. The footer comes last, so that a file that was cut off anywhere has none.
#include <algorithm>

#include "base/result.h"
#include "rollup/rollup_format.h"
#include "segment/block_writer.h"
#include "segment/chunk.h"

namespace tallystick {

Status WriteRollup(FileSystem& fs, const std::string& path, const SegmentInfo& segment,
                   const Rollup& rollup, IoGovernor* governor) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreateNew));
  BlockWriter out(std::move(file), RollupSeed(segment.database_id, segment.number), governor);
  Bytes bytes;
  AppendRollupHeader(segment.database_id, segment.number, bytes);
  out.AppendPlain(bytes);
  std::vector<uint64_t> offsets;
  const std::span<const RollupLine> lines(rollup.lines);
  BlockRef block;
  for (size_t at = 0; at < lines.size(); at += kLinesPerBlock) {
    bytes.clear();
    AppendLines(lines.subspan(at, std::min<size_t>(kLinesPerBlock, lines.size() - at)), bytes);
    TALLY_RETURN_IF_ERROR(out.Append(bytes, BlockWriter::Packing::kNone, &block));
    offsets.push_back(block.offset);
  }
  offsets.push_back(out.offset());
  bytes.clear();
  AppendIntChunk(rollup.starts, bytes);
  AppendIntChunk(offsets, bytes);
  RollupFooter footer{.database_id = segment.database_id,
                      .number = segment.number,
                      .first_lsn = segment.first_lsn,
                      .last_lsn = segment.last_lsn,
                      .rows = segment.rows,
                      .segment_checksum = segment.footer_checksum,
                      .lines = rollup.lines.size(),
                      .entries = rollup.starts.size() - 1,
                      .rows_per_line_min = rollup.rows_per_line_min};
  TALLY_RETURN_IF_ERROR(out.Append(bytes, BlockWriter::Packing::kNone, &footer.index));
  bytes.clear();
  AppendRollupFooter(footer, bytes);
  out.AppendPlain(bytes);
  return out.Finish();
}

}  // namespace tallystick
