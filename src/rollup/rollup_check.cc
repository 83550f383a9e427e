#include "rollup/rollup_check.h"

#include <fmt/format.h>

#include <string>

#include "base/result.h"

namespace tallystick {
namespace {

std::string LineText(const RollupLine& line) {
  const RollupKey& key = line.key;
  return fmt::format(
      "{} in {} events of product {}, meter {}, unit {}, model {}, source {}, kind {}, hour {}",
      line.sum.ToString(), line.count, key.product, key.meter, key.unit, key.model, key.source,
      key.kind, key.hour_start_ms);
}

}  // namespace

Result<RollupCheck> RollupCheck::Open(const RollupReader& reader) {
  TALLY_ASSIGN_OR_RETURN(RollupCursor cursor, RollupCursor::Open(reader));
  return RollupCheck(reader, std::move(cursor));
}

Status RollupCheck::OtherAccounts() const {
  return reader_->Fault(reader_->footer().index.offset,
                        "its lines are not of the accounts that the rows give");
}

Status RollupCheck::Compare(const RollupLine& line) {
  if (entry_ >= reader_->footer().entries || cursor_.LinesOf(entry_).end == cursor_.next()) {
    return OtherAccounts();
  }
  TALLY_RETURN_IF_ERROR(cursor_.Next());
  ++lines_;
  if (cursor_.line() == line) return Status::Ok();
  return reader_->Fault(cursor_.offset(),
                        fmt::format("line {} is {}, the rows give {}", cursor_.next() - 1,
                                    LineText(cursor_.line()), LineText(line)));
}

Status RollupCheck::CompareEnd() {
  if (entry_ >= reader_->footer().entries || cursor_.LinesOf(entry_).end != cursor_.next()) {
    return OtherAccounts();
  }
  ++entry_;
  return Status::Ok();
}

Status RollupCheck::Finish() {
  return Keep(entry_ == reader_->footer().entries ? Status::Ok() : OtherAccounts());
}

RollupComparison CompareWithRows(const RollupReader& rollup, const SegmentReader& rows,
                                 const std::function<bool()>& stopped) {
  RollupComparison comparison;
  auto check = RollupCheck::Open(rollup);
  if (!check.ok()) {
    comparison.rollup = check.status();
    return comparison;
  }
  const Status built = BuildRollup(rows, rollup.footer().rows_per_line_min, stopped, *check);
  comparison.lines = check->lines();
  comparison.rollup = built.ok() ? check->Finish() : check->status();
  if (!built.ok() && check->status().ok()) comparison.rows = built;
  return comparison;
}

}  // namespace tallystick
