#include "rollup/rollup_cursor.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "base/check.h"
#include "base/result.h"

namespace tallystick {

Result<RollupCursor> RollupCursor::Open(const RollupReader& reader) {
  TALLY_RETURN_IF_ERROR(reader.CheckHeader());
  TALLY_ASSIGN_OR_RETURN(Bytes payload, reader.Read(reader.footer().index));
  TALLY_ASSIGN_OR_RETURN(RollupReader::Index index,
                         reader.ParseIndex(std::make_shared<const Bytes>(std::move(payload))));
  for (uint64_t entry = 0; entry < reader.footer().entries; ++entry) {
    TALLY_RETURN_IF_ERROR(reader.LinesOf(index, entry).status());
  }
  return RollupCursor(reader, std::move(index));
}

Status RollupCursor::Next() {
  TALLY_CHECK(next_ < reader_->footer().lines);
  if (next_ % kLinesPerBlock == 0) TALLY_RETURN_IF_ERROR(LoadBlock(next_ / kLinesPerBlock));
  ++next_;
  return Status::Ok();
}

Status RollupCursor::LoadBlock(uint64_t block) {
  TALLY_ASSIGN_OR_RETURN(const BlockRef ref, reader_->RefOf(index_, block));
  TALLY_ASSIGN_OR_RETURN(const Bytes payload, reader_->Read(ref));
  TALLY_RETURN_IF_ERROR(
      columns_.Decode(block, ref.offset, payload, 0, reader_->footer().lines_of(block)));
  offset_ = ref.offset;
  const RollupKey before = block == 0 ? RollupKey() : lines_.back().key;
  lines_.resize(columns_.rows());
  for (uint32_t i = 0; i < columns_.rows(); ++i) lines_[i] = columns_.Line(i);
  return CheckOrder(block * kLinesPerBlock, before);
}

// `first`: number of the first line of the block; `before`: key of the one before it.
Status RollupCursor::CheckOrder(uint64_t first, const RollupKey& before) {
  for (size_t i = 0; i < lines_.size(); ++i) {
    while (StartOf(entry_) < first + i) ++entry_;
    if (StartOf(entry_) == first + i) continue;  // an entry's first line has none before it
    if (lines_[i].key <= (i == 0 ? before : lines_[i - 1].key)) {
      return reader_->Fault(offset_,
                            fmt::format("line {} is not above the one before it", first + i));
    }
  }
  return Status::Ok();
}

Result<RollupDigest> DigestOf(const RollupReader& reader, const std::function<bool()>& stopped) {
  TALLY_ASSIGN_OR_RETURN(RollupCursor cursor, RollupCursor::Open(reader));
  RollupDigest digest;
  for (uint64_t entry = 0; entry < reader.footer().entries; ++entry) {
    for (const uint64_t end = cursor.LinesOf(entry).end; cursor.next() < end;) {
      if (cursor.next() % kLinesPerBlock == 0 && stopped && stopped()) return RollupStopped();
      TALLY_RETURN_IF_ERROR(cursor.Next());
      digest.Add(cursor.line());
    }
    digest.EndEntry();
  }
  return digest;
}

}  // namespace tallystick
