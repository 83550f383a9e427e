#define XXH_INLINE_ALL
#include "rollup/rollup_digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <type_traits>

namespace tallystick {

static_assert(std::has_unique_object_representations_v<RollupLine>);  // hashed as bytes

void RollupDigest::Add(const RollupLine& line) {
  hash_ = XXH3_64bits_withSeed(&line, sizeof line, hash_);
  ++lines_;
  if (entries_ > 0) return;
  ++lines_of_all_;
  count_of_all_ += line.count;
  sum_of_all_.Add(line.sum);
}

void RollupDigest::EndEntry() {
  hash_ = XXH3_64bits_withSeed(&lines_, sizeof lines_, hash_);
  ++entries_;
}

Status RollupDigest::CheckTotals(const SegmentReader& segment) const {
  const SegmentTotals expected = segment.totals();
  const uint64_t counted = expected.rows - expected.quarantined;
  if (lines_of_all_ == 0 || (count_of_all_ == counted && sum_of_all_ == expected.quantity)) {
    return Status::Ok();
  }
  return Status::Corruption(
      fmt::format("{}: the lines of all accounts come to {} in {} events, its footer says {} in {}",
                  segment.path(), sum_of_all_.ToString(), count_of_all_,
                  expected.quantity.ToString(), counted));
}

}  // namespace tallystick
