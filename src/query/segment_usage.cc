// Invariants:
//  1. Every matching row of a segment is counted exactly once: it is in one Part, and its time is
//     either in that Part's times, or in an hour whose line is added for its account (or for all
//     accounts).
//  2. Lines count only where all rows of the segment are visible (last LSN <= the read's).
#include "query/segment_usage.h"

#include <algorithm>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "query/row_filter.h"
#include "segment/group_columns.h"

namespace tallystick {
namespace {

// More buckets than this in one segment: its rollup is left alone.
constexpr size_t kBucketsMax = 10'000;

bool IsInLines(const Field& field) {
  return field.kind != Field::Kind::kSubscriptionId && field.kind != Field::Kind::kDimension;
}

// Whether a field of the query, wherever it is used, is of this kind.
bool Uses(const UsageQuery& query, Field::Kind kind) {
  const auto is = [kind](const Field& field) { return field.kind == kind; };
  return std::ranges::any_of(query.group_by, is) ||
         std::ranges::any_of(query.filters, is, &Filter::field) ||
         std::ranges::any_of(query.metrics, [&](const Metric& metric) {
           return metric.of.has_value() && is(*metric.of);
         });
}

}  // namespace

SegmentUsage::SegmentUsage(const UsageQuery& query, Lsn lsn, const TimeZone& zone, Groups& groups,
                           QueryContext& context)
    : query_(query),
      lsn_(lsn),
      context_(context),
      scan_(query, zone, groups),
      needs_dimensions_(Uses(query, Field::Kind::kDimension)),
      by_account_(Uses(query, Field::Kind::kAccountId)),
      rollups_(CanUseRollups()),
      all_times_{{query.from_ms, query.to_ms}} {
  for (const Field& field : query.group_by) {
    if (!IsBucket(field) || field.kind == Field::Kind::kHourStartMs) continue;
    if (zone.zone() != nullptr) buckets_.emplace_back(field.kind, zone);
  }
}

bool SegmentUsage::CanUseRollups() const {
  return query_.path == ReadPath::kAuto && std::ranges::all_of(query_.group_by, IsInLines) &&
         std::ranges::all_of(query_.filters, IsInLines, &Filter::field) &&
         std::ranges::all_of(query_.metrics, [](const Metric& metric) {
           return metric.of.has_value() && IsInLines(*metric.of);
         });
}

// Splits the query's range, as far as the segment has rows in it, into whole hours of one bucket
// each, and the rest. False: there is no such hour.
bool SegmentUsage::SplitTimes(const SegmentInfo& info) {
  line_times_.clear();
  row_times_.clear();
  // The hours of the segment's rows: there are no others before and behind.
  int64_t from = HourStartMs(info.timestamp_min_ms);
  int64_t to;
  if (__builtin_add_overflow(HourStartMs(info.timestamp_max_ms), kHourMs, &to)) return false;
  if (query_.from_ms > from) {
    from = HourStartMs(query_.from_ms);
    if (from < query_.from_ms) from += kHourMs;
  }
  if (query_.to_ms < to) to = HourStartMs(query_.to_ms);
  if (from >= to) return false;
  if (query_.from_ms < from && from > info.timestamp_min_ms) {
    row_times_.push_back({query_.from_ms, from});
  }
  // An hour in which a bucket begins belongs to two of them.
  std::vector<int64_t> split;
  for (const TimeBuckets& buckets : buckets_) {
    size_t count = 0;
    for (int64_t at = buckets.Of(from).end_ms; at < to; at = buckets.Of(at).end_ms) {
      if (++count > kBucketsMax) return false;
      if (HourStartMs(at) != at) split.push_back(HourStartMs(at));
    }
  }
  std::ranges::sort(split);
  const auto repeated = std::ranges::unique(split);
  split.erase(repeated.begin(), repeated.end());
  int64_t at = from;
  for (const int64_t hour : split) {
    if (hour > at) line_times_.push_back({at, hour});
    row_times_.push_back({hour, hour + kHourMs});
    at = hour + kHourMs;
  }
  if (at < to) line_times_.push_back({at, to});
  if (query_.to_ms > to && to <= info.timestamp_max_ms) row_times_.push_back({to, query_.to_ms});
  if (TALLY_MUTANT("rollup_edges_dropped")) row_times_.clear();
  if (TALLY_MUTANT("rolled_up_rows_counted")) row_times_ = all_times_;
  return !line_times_.empty();
}

// Which rows there are to read if no rollup answers. False: none of them can match.
Result<bool> SegmentUsage::PlanRows(const SegmentReader& rows, SegmentDictionaries& dictionaries,
                                    SegmentPlan* plan) {
  if (query_.account_id.has_value()) {
    TALLY_ASSIGN_OR_RETURN(account_,
                           dictionaries.Code(SegmentColumn::kAccountId, *query_.account_id));
    if (!account_.has_value()) {
      plan->pruned = "account";
      return false;
    }
  }
  TALLY_ASSIGN_OR_RETURN(const RowRange range, rows.RowsOfAccount(query_.account_id));
  parts_ = {{range, all_times_}};
  TALLY_ASSIGN_OR_RETURN(const bool may_match, scan_.Enter(dictionaries));
  if (!may_match) plan->pruned = "filter";
  return may_match;
}

// Lines that answer, instead of rows.
Status SegmentUsage::PlanLines(const SegmentReader& rows, SegmentDictionaries& dictionaries,
                               const RollupReader& rollup) {
  TALLY_ASSIGN_OR_RETURN(const uint64_t accounts,
                         dictionaries.CodeCount(SegmentColumn::kAccountId));
  if (rollup.footer().entries != accounts + 1) {
    return rollup.Fault(rollup.footer().index.offset, "it has not the accounts of its segment");
  }
  if (account_.has_value() || !by_account_) {  // one entry may answer for everything
    const uint64_t entry = account_.has_value() ? *account_ + 1 : 0;
    TALLY_ASSIGN_OR_RETURN(const LineRange range, rollup.LinesOf(entry));
    if (!range.empty()) {
      lines_.push_back({range, account_.value_or(0)});
      parts_[0].times = row_times_;
    }
    if (!range.empty() || account_.has_value()) return Status::Ok();
  }
  TALLY_ASSIGN_OR_RETURN(const std::vector<uint32_t> starts, rows.AccountStarts());
  TALLY_ASSIGN_OR_RETURN(const std::vector<LineRange> entries, rollup.Entries());
  parts_.clear();
  for (uint64_t code = 0; code + 1 < starts.size(); ++code) {
    const LineRange& range = entries[code + 1];
    if (!range.empty()) {
      if (!by_account_ && !lines_.empty() && lines_.back().range.end == range.begin) {
        lines_.back().range.end = range.end;
      } else {
        lines_.push_back({range, code});
      }
    }
    const std::span<const TimeRange> times = range.empty() ? all_times_ : row_times_;
    if (!parts_.empty() && parts_.back().times.data() == times.data()) {
      parts_.back().rows.end = starts[code + 1];
    } else {
      parts_.push_back({{starts[code], starts[code + 1]}, times});
    }
  }
  return Status::Ok();
}

Result<uint64_t> SegmentUsage::AddLines(const SegmentReader& rows, const RollupReader& rollup,
                                        SegmentPlan* plan) {
  uint64_t events = 0;
  RollupColumns columns(rollup);
  const RowSelector::Bounds bounds{.times = line_times_};
  for (const Lines& lines : lines_) {
    columns.SetAccount(lines.account);
    for (uint64_t at = lines.range.begin; at < lines.range.end;) {
      TALLY_RETURN_IF_ERROR(context_.Check());
      const uint64_t block = at / kLinesPerBlock;
      const uint64_t end = std::min(lines.range.end, (block + 1) * kLinesPerBlock);
      TALLY_RETURN_IF_ERROR(columns.Enter(block, static_cast<uint32_t>(at - block * kLinesPerBlock),
                                          static_cast<uint32_t>(end - block * kLinesPerBlock)));
      at = end;
      if (plan->read.rollup_blocks.empty() || plan->read.rollup_blocks.back() != block) {
        plan->read.rollup_blocks.push_back(static_cast<uint32_t>(block));
      }
      if (scan_.IsPruned(columns, bounds)) continue;
      TALLY_ASSIGN_OR_RETURN(const uint64_t added,
                             scan_.Add(columns, bounds,
                                       {rows.info().number.value, static_cast<uint32_t>(block),
                                        /*lines=*/true}));
      events += added;
    }
  }
  plan->rollup_blocks_pruned =
      static_cast<uint32_t>(rollup.footer().blocks() - plan->read.rollup_blocks.size());
  return events;
}

Result<uint64_t> SegmentUsage::AddRows(const SegmentReader& rows, const Part& part,
                                       SegmentPlan* plan) {
  const bool all_visible = rows.info().last_lsn <= lsn_;
  uint64_t events = 0;
  GroupColumns columns(rows);
  for (RowRange rest = part.rows; !rest.empty();) {
    TALLY_RETURN_IF_ERROR(context_.Check());
    const GroupPart in_group = TakeGroupPart(rows.info().group_rows, &rest);
    TALLY_RETURN_IF_ERROR(columns.Enter(in_group));
    RowSelector::Bounds bounds{.times = part.times};
    if (!all_visible) bounds.lsn = lsn_;
    bounds.drop_quarantined = columns.quarantined() > 0 && !TALLY_MUTANT("conflict_counted");
    if (scan_.IsPruned(columns, bounds)) continue;
    auto& groups_read = plan->read.row_groups;
    if (groups_read.empty() || groups_read.back() != in_group.group) {
      groups_read.push_back(in_group.group);
    }
    plan->rows_scanned += columns.rows();
    TALLY_ASSIGN_OR_RETURN(
        const uint64_t added,
        scan_.Add(columns, bounds, {rows.info().number.value, in_group.group, /*lines=*/false}));
    events += added;
  }
  return events;
}

Result<bool> SegmentUsage::Add(const LiveSegment& segment, RowSources* sources, SegmentPlan* plan) {
  const SegmentReader& rows = segment.rows();
  const SegmentInfo& info = rows.info();
  if (!info.Overlaps(query_.from_ms, query_.to_ms)) {
    plan->pruned = "time";
    return true;
  }
  SegmentDictionaries dictionaries(rows);
  if (needs_dimensions_ && dictionaries.dimensions_by_key()) return false;
  account_.reset();
  lines_.clear();
  TALLY_ASSIGN_OR_RETURN(const bool may_match, PlanRows(rows, dictionaries, plan));
  if (!may_match) return true;
  const auto rollup = segment.rollup();
  const bool visible = info.last_lsn <= lsn_ || TALLY_MUTANT("rollup_above_lsn");
  if (rollup != nullptr && rollups_ && visible && SplitTimes(info)) {
    bad_rollup_ = rollup;  // until it has proved good
    TALLY_RETURN_IF_ERROR(PlanLines(rows, dictionaries, *rollup));
    auto rolled_up = AddLines(rows, *rollup, plan);
    if (TALLY_MUTANT("rollup_error_is_empty") && !rolled_up.ok()) rolled_up = 0;
    TALLY_ASSIGN_OR_RETURN(plan->read.rolled_up, std::move(rolled_up));
    bad_rollup_ = nullptr;
  }
  for (const Part& part : parts_) {
    if (part.times.empty()) continue;
    TALLY_ASSIGN_OR_RETURN(const uint64_t added, AddRows(rows, part, plan));
    plan->read.rows += added;
  }
  auto& groups_read = plan->read.row_groups;
  std::ranges::sort(groups_read);  // parts meet inside of a group
  const auto repeated = std::ranges::unique(groups_read);
  groups_read.erase(repeated.begin(), repeated.end());
  plan->row_groups_pruned = rows.group_count() - static_cast<uint32_t>(groups_read.size());
  sources->rollups += plan->read.rolled_up;
  sources->segments += plan->read.rows;
  return true;
}

}  // namespace tallystick
