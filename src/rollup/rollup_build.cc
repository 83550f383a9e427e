// Invariant: what comes out depends on the rows alone. Rows come in order of account, product,
// meter, unit, model and time, so that neighbours are mostly of one line: such a run is summed at
// once and added to its line.
#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <vector>

#include "base/result.h"
#include "rollup/rollup.h"
#include "segment/group_columns.h"

namespace tallystick {
namespace {

static_assert(sizeof(RollupKey) == 32);  // hashed as bytes

struct KeyHash {
  size_t operator()(const RollupKey& key) const { return XXH3_64bits(&key, sizeof key); }
};

// Neighbouring rows of one account and one line, of one row group.
struct Run {
  uint64_t account = 0;
  bool counted = true;  // or quarantined, all of them
  RollupKey key;
  Quantity sum;  // or, where quantities are wide, wide_sum
  ExactSum wide_sum;
  bool wide = false;
  uint64_t count = 0;
};

// All rows of a segment, as runs.
class RunScan {
 public:
  RunScan(const SegmentReader& segment, const std::function<bool()>& stopped)
      : segment_(segment), stopped_(stopped), columns_(segment, GroupColumns::Through::kFile) {}

  // Calls on_run(const Run&), which returns a Status, with each run in the order of rows; as long
  // as go_on(), which is asked before each row group.
  template <typename GoOn, typename OnRun>
  Status ForEach(GoOn&& go_on, OnRun&& on_run) {
    Run run;
    for (RowRange rows{0, static_cast<uint32_t>(segment_.info().rows)}; !rows.empty() && go_on();) {
      if (stopped_ && stopped_()) return RollupStopped();
      const GroupPart part = TakeGroupPart(segment_.info().group_rows, &rows);
      TALLY_RETURN_IF_ERROR(Enter(part));
      for (uint32_t begin = 0, end = 0; begin < columns_.rows(); begin = end) {
        for (end = begin + 1; end < columns_.rows() && changes_[end] == 0;) ++end;
        TALLY_RETURN_IF_ERROR(CheckAccount(part.group, begin));
        Fill(begin, end, &run);
        TALLY_RETURN_IF_ERROR(on_run(run));
      }
    }
    return Status::Ok();
  }

 private:
  enum : size_t { kAccount, kProduct, kMeter, kUnit, kModel, kSource, kKind, kDisposition, kCodes };
  static constexpr std::array<SegmentColumn, kCodes> kCodeColumns = {
      SegmentColumn::kAccountId, SegmentColumn::kProductId,  SegmentColumn::kMeterId,
      SegmentColumn::kUnit,      SegmentColumn::kModelId,    SegmentColumn::kSource,
      SegmentColumn::kKind,      SegmentColumn::kDisposition};

  Status Enter(const GroupPart& part);
  void MarkChanges(std::span<const uint64_t> values);
  Status CheckAccount(uint32_t group, uint32_t row);
  void Fill(uint32_t begin, uint32_t end, Run* run) const;

  const SegmentReader& segment_;
  const std::function<bool()>& stopped_;
  GroupColumns columns_;
  std::array<std::span<const uint64_t>, kCodes> codes_;
  std::span<const uint64_t> timestamps_;
  QuantityColumn quantities_;
  std::vector<uint64_t> hours_;    // scratch
  std::vector<uint64_t> changes_;  // by row: 0 if it is of the same run as the one before it
  uint64_t account_ = 0;           // of the last run
};

Status RunScan::Enter(const GroupPart& part) {
  TALLY_RETURN_IF_ERROR(columns_.Enter(part));
  changes_.assign(columns_.rows(), 0);
  for (size_t i = 0; i < kCodes; ++i) {
    TALLY_ASSIGN_OR_RETURN(codes_[i], columns_.Integers(kCodeColumns[i]));
    if (!columns_.zone(kCodeColumns[i]).constant()) MarkChanges(codes_[i]);
  }
  TALLY_ASSIGN_OR_RETURN(timestamps_, columns_.Integers(SegmentColumn::kTimestamp));
  hours_.resize(timestamps_.size());
  std::ranges::transform(timestamps_, hours_.begin(), [](uint64_t time) {
    return static_cast<uint64_t>(HourStartMs(static_cast<int64_t>(time)));
  });
  MarkChanges(hours_);
  TALLY_ASSIGN_OR_RETURN(quantities_, columns_.Quantities());
  return Status::Ok();
}

void RunScan::MarkChanges(std::span<const uint64_t> values) {
  for (size_t i = 1; i < values.size(); ++i) changes_[i] |= values[i] ^ values[i - 1];
}

Status RunScan::CheckAccount(uint32_t group, uint32_t row) {
  const SegmentInfo& info = segment_.info();
  const uint64_t account = codes_[kAccount][row];
  // Each account has rows, so that no code is beyond their number.
  if (account < account_ || account >= info.rows) {
    return Status::Corruption(fmt::format("{}: row {} has account {} behind account {}",
                                          segment_.path(), uint64_t{group} * info.group_rows + row,
                                          account, account_));
  }
  account_ = account;
  return Status::Ok();
}

void RunScan::Fill(uint32_t begin, uint32_t end, Run* run) const {
  const auto code = [&](size_t column) { return static_cast<uint32_t>(codes_[column][begin]); };
  run->account = codes_[kAccount][begin];
  run->counted = codes_[kDisposition][begin] == 0;
  run->key = {.product = code(kProduct),
              .meter = code(kMeter),
              .unit = code(kUnit),
              .model = code(kModel),
              .source = code(kSource),
              .kind = code(kKind),
              .hour_start_ms = static_cast<int64_t>(hours_[begin])};
  run->count = end - begin;
  run->wide = !quantities_.wide.empty();
  if (run->wide) {
    run->wide_sum = {};
    for (uint32_t i = begin; i < end; ++i) run->wide_sum.Add(quantities_.wide[i]);
    return;
  }
  int128 sum = 0;  // 2^32 rows of 64 bits fit
  for (uint32_t i = begin; i < end; ++i) sum += quantities_.mantissas[i];
  run->sum = {sum, quantities_.scale};
}

// The lines of one entry while they are added up.
class Entry {
 public:
  Entry(uint32_t rows_per_line_min, uint64_t rows_max, uint64_t lines_max)
      : rows_per_line_min_(rows_per_line_min),
        lines_max_(std::min(rows_max / rows_per_line_min, lines_max)) {}

  void Add(const Run& run) {
    rows_ += run.count;
    if (given_up_) return;
    RollupLine* line = LineOf(run.key);
    if (line == nullptr) return GiveUp();
    if (run.wide) {
      line->sum.Add(run.wide_sum);
    } else {
      line->sum.Add(run.sum);
    }
    line->count += run.count;
  }

  bool given_up() const { return given_up_; }  // it will have no lines

  // Hands on the lines, if they pay, and begins anew.
  Status End(RollupSink& sink) {
    if (!given_up_ && lines_.size() * rows_per_line_min_ <= rows_) {
      std::ranges::sort(lines_, {}, &RollupLine::key);
      for (const RollupLine& line : lines_) TALLY_RETURN_IF_ERROR(sink.Add(line));
    }
    Clear();
    return sink.EndEntry();
  }

 private:
  using Lines = std::vector<RollupLine>;
  using Index = boost::unordered_flat_map<RollupKey, uint32_t, KeyHash>;
  static constexpr size_t kLinesKept = 256;  // to clear many takes long for a few lines

  // Neighbouring runs differ in source and kind above all: the last line of each is at hand. Null:
  // it would be one line too many.
  RollupLine* LineOf(const RollupKey& key) {
    uint32_t& recent = recent_[(key.source * 3 + key.kind) % recent_.size()];
    if (recent >= lines_.size() || lines_[recent].key != key) {
      const auto [found, is_new] = index_.try_emplace(key, static_cast<uint32_t>(lines_.size()));
      if (is_new && lines_.size() == lines_max_) return nullptr;
      if (is_new) lines_.push_back({.key = key});
      recent = found->second;
    }
    return &lines_[recent];
  }

  // More lines than all rows that may yet come can pay for, or than are held.
  void GiveUp() {
    given_up_ = true;
    FreeLines();
  }
  void FreeLines() {
    Lines().swap(lines_);
    Index().swap(index_);
  }
  void Clear() {
    if (lines_.capacity() > kLinesKept) {
      FreeLines();
    } else {
      lines_.clear();
      index_.clear();
    }
    rows_ = 0;
    given_up_ = false;
  }

  const uint64_t rows_per_line_min_;
  const uint64_t lines_max_;
  Lines lines_;
  Index index_;                        // of lines_
  std::array<uint32_t, 16> recent_{};  // of lines_, not always right
  uint64_t rows_ = 0;
  bool given_up_ = false;
};

}  // namespace

Status RollupStopped() {
  return Status::Unavailable("cancelled", "the rollup is not needed any more");
}

Status BuildRollup(const SegmentReader& segment, uint32_t rows_per_line_min,
                   const std::function<bool()>& stopped, RollupSink& sink, uint64_t lines_max) {
  const uint64_t counted = segment.info().rows - segment.info().quarantined;
  {
    Entry all(rows_per_line_min, counted, lines_max);
    const auto may_pay = [&] { return !all.given_up(); };
    TALLY_RETURN_IF_ERROR(RunScan(segment, stopped).ForEach(may_pay, [&](const Run& run) {
      if (run.counted) all.Add(run);
      return Status::Ok();
    }));
    TALLY_RETURN_IF_ERROR(all.End(sink));
  }
  Entry one(rows_per_line_min, counted, lines_max);
  uint64_t account = 0;  // that is being added up
  const auto always = [] { return true; };
  TALLY_RETURN_IF_ERROR(RunScan(segment, stopped).ForEach(always, [&](const Run& run) {
    for (; account < run.account; ++account) TALLY_RETURN_IF_ERROR(one.End(sink));
    if (run.counted) one.Add(run);
    return Status::Ok();
  }));
  return one.End(sink);
}

}  // namespace tallystick
