// The footer comes last, so that a file that was cut off anywhere has none.
#include "rollup/rollup_writer.h"

#include <utility>

#include "base/result.h"
#include "rollup/rollup_format.h"
#include "segment/chunk.h"

namespace tallystick {

RollupWriter::RollupWriter(std::unique_ptr<File> file, const SegmentInfo& segment,
                           uint32_t rows_per_line_min, IoGovernor* governor)
    : segment_(segment),
      rows_per_line_min_(rows_per_line_min),
      out_(std::move(file), RollupSeed(segment.database_id, segment.number), governor),
      starts_{0} {
  block_.reserve(kLinesPerBlock);
  AppendRollupHeader(segment.database_id, segment.number, bytes_);
  out_.AppendPlain(bytes_);
}

Result<std::unique_ptr<RollupWriter>> RollupWriter::Create(FileSystem& fs, const std::string& path,
                                                           const SegmentInfo& segment,
                                                           uint32_t rows_per_line_min,
                                                           IoGovernor* governor) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreateNew));
  return std::unique_ptr<RollupWriter>(
      new RollupWriter(std::move(file), segment, rows_per_line_min, governor));
}

Status RollupWriter::Add(const RollupLine& line) {
  digest_.Add(line);
  block_.push_back(line);
  return block_.size() < kLinesPerBlock ? Status::Ok() : WriteBlock();
}

Status RollupWriter::EndEntry() {
  digest_.EndEntry();
  starts_.push_back(digest_.lines());
  return Status::Ok();
}

Status RollupWriter::WriteBlock() {
  bytes_.clear();
  AppendLines(block_, bytes_);
  block_.clear();
  BlockRef ref;
  TALLY_RETURN_IF_ERROR(out_.Append(bytes_, BlockWriter::Packing::kNone, &ref));
  offsets_.push_back(ref.offset);
  return Status::Ok();
}

Status RollupWriter::Finish() {
  if (!block_.empty()) TALLY_RETURN_IF_ERROR(WriteBlock());
  offsets_.push_back(out_.offset());
  bytes_.clear();
  AppendIntChunk(starts_, bytes_);
  AppendIntChunk(offsets_, bytes_);
  RollupFooter footer{.database_id = segment_.database_id,
                      .number = segment_.number,
                      .first_lsn = segment_.first_lsn,
                      .last_lsn = segment_.last_lsn,
                      .rows = segment_.rows,
                      .segment_checksum = segment_.footer_checksum,
                      .lines = digest_.lines(),
                      .entries = starts_.size() - 1,
                      .rows_per_line_min = rows_per_line_min_};
  TALLY_RETURN_IF_ERROR(out_.Append(bytes_, BlockWriter::Packing::kNone, &footer.index));
  bytes_.clear();
  AppendRollupFooter(footer, bytes_);
  out_.AppendPlain(bytes_);
  return out_.Finish();
}

}  // namespace tallystick
