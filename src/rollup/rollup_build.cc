#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/result.h"
#include "rollup/rollup.h"
#include "segment/group_columns.h"

namespace tallystick {
namespace {

static_assert(sizeof(RollupKey) == 32);  // hashed as bytes

struct KeyHash {
  size_t operator()(const RollupKey& key) const { return XXH3_64bits(&key, sizeof key); }
};

struct Total {
  ExactSum sum;
  uint64_t count = 0;
};
using Totals = std::unordered_map<RollupKey, Total, KeyHash>;

void AddTo(Totals& totals, const RollupKey& key, const ExactSum& sum, uint64_t count) {
  Total& total = totals[key];
  total.sum.Add(sum);
  total.count += count;
}

// Rows come in order of account, product, meter, unit, model and time, so that neighbours are
// mostly of one line. Three levels: a run of such neighbours is summed in registers; it is added to
// its line of its account; the lines of a finished account are added to those of all accounts.
class Builder {
 public:
  Builder(const SegmentReader& segment, uint32_t rows_per_line_min)
      : segment_(segment),
        columns_(segment),
        rows_per_line_min_(rows_per_line_min),
        counted_(segment.info().rows - segment.info().quarantined) {}

  Result<Rollup> Build() {
    for (RowRange rows{0, static_cast<uint32_t>(segment_.info().rows)}; !rows.empty();) {
      TALLY_RETURN_IF_ERROR(AddGroup(TakeGroupPart(segment_.info().group_rows, &rows)));
    }
    EndAccount();
    Rollup rollup;
    rollup.rows_per_line_min = rows_per_line_min_;
    rollup.starts.push_back(0);
    if (Pays(all_.size(), counted_)) Append(all_, rollup.lines);
    rollup.starts.push_back(rollup.lines.size());
    const uint64_t before = rollup.lines.size();
    for (const uint64_t end : ends_) rollup.starts.push_back(before + end);
    rollup.lines.insert(rollup.lines.end(), lines_.begin(), lines_.end());
    return rollup;
  }

 private:
  static constexpr std::array kKeyColumns = {SegmentColumn::kProductId, SegmentColumn::kMeterId,
                                             SegmentColumn::kUnit,      SegmentColumn::kModelId,
                                             SegmentColumn::kSource,    SegmentColumn::kKind};

  bool Pays(uint64_t lines, uint64_t rows) const { return lines * rows_per_line_min_ <= rows; }

  Status AddGroup(const GroupPart& part) {
    const SegmentInfo& info = segment_.info();
    TALLY_RETURN_IF_ERROR(columns_.Enter(part));
    TALLY_ASSIGN_OR_RETURN(const auto accounts, columns_.Integers(SegmentColumn::kAccountId));
    TALLY_ASSIGN_OR_RETURN(const auto dispositions, columns_.Integers(SegmentColumn::kDisposition));
    TALLY_ASSIGN_OR_RETURN(const auto timestamps, columns_.Integers(SegmentColumn::kTimestamp));
    std::array<std::span<const uint64_t>, kKeyColumns.size()> codes;
    for (size_t i = 0; i < codes.size(); ++i) {
      TALLY_ASSIGN_OR_RETURN(codes[i], columns_.Integers(kKeyColumns[i]));
    }
    TALLY_ASSIGN_OR_RETURN(const QuantityColumn quantities, columns_.Quantities());
    for (uint32_t i = 0; i < columns_.rows(); ++i) {
      // Each account has rows, so that no code is beyond their number.
      if (accounts[i] < account_ || accounts[i] >= info.rows) {
        return Status::Corruption(
            fmt::format("{}: row {} has account {} behind account {}", segment_.path(),
                        uint64_t{part.group} * info.group_rows + i, accounts[i], account_));
      }
      while (account_ < accounts[i]) EndAccount();
      if (dispositions[i] != 0) continue;
      const RollupKey key{.product = static_cast<uint32_t>(codes[0][i]),
                          .meter = static_cast<uint32_t>(codes[1][i]),
                          .unit = static_cast<uint32_t>(codes[2][i]),
                          .model = static_cast<uint32_t>(codes[3][i]),
                          .source = static_cast<uint32_t>(codes[4][i]),
                          .kind = static_cast<uint32_t>(codes[5][i]),
                          .hour_start_ms = HourStartMs(static_cast<int64_t>(timestamps[i]))};
      if (key != run_key_) EndRun(key);
      if (quantities.wide.empty()) {
        Extend(quantities.mantissas[i], quantities.scale);
      } else {
        run_.sum.Add(quantities.wide[i]);
      }
      ++run_.count;
    }
    return Status::Ok();
  }

  // A row group has one scale, so that a run is seldom of two.
  void Extend(int64_t mantissa, uint8_t scale) {
    if (scale != run_scale_) SettleRun(scale);
    run_mantissa_ += mantissa;  // 2^32 rows of 64 bits fit
  }
  void SettleRun(uint8_t next_scale) {
    run_.sum.Add(Quantity{run_mantissa_, run_scale_});
    run_mantissa_ = 0;
    run_scale_ = next_scale;
  }
  void EndRun(const RollupKey& next) {
    SettleRun(run_scale_);
    account_rows_ += run_.count;
    // With more lines than pay for all counted rows, neither those of this account nor those of all
    // accounts, which are no fewer, will be kept.
    if (run_.count > 0 && Pays(account_totals_.size(), counted_)) {
      AddTo(account_totals_, run_key_, run_.sum, run_.count);
    }
    run_ = {};
    run_key_ = next;
  }

  void EndAccount() {
    EndRun(run_key_);
    // Once they do not pay they never will.
    if (Pays(all_.size(), counted_)) {
      for (const auto& [key, total] : account_totals_) AddTo(all_, key, total.sum, total.count);
    }
    if (Pays(account_totals_.size(), account_rows_)) Append(account_totals_, lines_);
    ends_.push_back(lines_.size());
    account_totals_ = {};  // to clear the table of a large account takes as long for a small one
    account_rows_ = 0;
    ++account_;
  }

  static void Append(const Totals& totals, std::vector<RollupLine>& lines) {
    const auto begin = static_cast<ptrdiff_t>(lines.size());
    for (const auto& [key, total] : totals) lines.push_back({key, total.sum, total.count});
    std::sort(lines.begin() + begin, lines.end(),
              [](const RollupLine& a, const RollupLine& b) { return a.key < b.key; });
  }

  const SegmentReader& segment_;
  GroupColumns columns_;
  const uint32_t rows_per_line_min_;
  const uint64_t counted_;
  uint64_t account_ = 0;  // code of the one that is being added up
  RollupKey run_key_;
  Total run_;
  int128 run_mantissa_ = 0;  // of run_, not in its sum yet
  uint8_t run_scale_ = 0;
  Totals account_totals_;
  uint64_t account_rows_ = 0;
  Totals all_;
  std::vector<RollupLine> lines_;  // of accounts
  std::vector<uint64_t> ends_;     // by account code, into lines_
};

}  // namespace

Result<Rollup> BuildRollup(const SegmentReader& segment, uint32_t rows_per_line_min) {
  return Builder(segment, rows_per_line_min).Build();
}

}  // namespace tallystick
