#include "query/aggregate.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/decimal.h"
#include "base/mutant.h"
#include "base/result.h"
#include "query/groups.h"
#include "query/row_filter.h"
#include "query/row_scan.h"
#include "query/segment_usage.h"
#include "query/time_bucket.h"

namespace tallystick {
namespace {

// Adds rows one by one: those of memtables, and all where the query asks for it.
class RowUsage {
 public:
  RowUsage(const UsageQuery& query, const TimeZone& zone, Groups& groups)
      : query_(query),
        filter_(query.from_ms, query.to_ms, query.filters),
        groups_(groups),
        buckets_(BucketsOf(query.group_by, zone)) {}

  SegmentColumns Columns() const {
    SegmentColumns columns = filter_.Columns() | (SegmentColumn::kQuantity | SegmentColumn::kKind);
    for (const Field& field : query_.group_by) columns = columns | ColumnOf(field);
    for (const Metric& metric : query_.metrics) {
      if (metric.of.has_value()) columns = columns | ColumnOf(*metric.of);
    }
    return columns;
  }

  // The group that the row was added to; null if it does not match.
  Result<Group*> Add(const RowAt& at) {
    Group* const none = nullptr;
    if (at.disposition == Disposition::kQuarantined && !TALLY_MUTANT("conflict_counted")) {
      return none;
    }
    if (!filter_.Matches(at.row)) return none;
    key_.Clear();
    for (size_t i = 0; i < query_.group_by.size(); ++i) {
      const Field& field = query_.group_by[i];
      if (IsBucket(field)) {
        key_.Append(buckets_[i].Of(at.row.timestamp_ms).begin_ms);
      } else {
        key_.Append(FieldValue(at.row, field).value_or(""));
      }
    }
    TALLY_ASSIGN_OR_RETURN(Group * group, groups_.Find(key_.bytes()));
    group->by_kind[static_cast<size_t>(at.row.kind)].Add(at.row.quantity);
    ++group->count;
    for (size_t i = 0; i < query_.metrics.size(); ++i) {
      if (query_.metrics[i].of.has_value()) {
        const auto text = FieldValue(at.row, *query_.metrics[i].of);
        if (text.has_value()) TALLY_RETURN_IF_ERROR(groups_.AddText(*group, i, *text));
      } else {
        ExactSum quantity;
        quantity.Add(at.row.quantity);
        TALLY_RETURN_IF_ERROR(groups_.AddNumber(*group, i, quantity));
      }
    }
    return group;
  }

 private:
  const UsageQuery& query_;
  const RowFilter filter_;
  Groups& groups_;
  const std::vector<TimeBuckets> buckets_;
  GroupKey key_;
};

// One attempt at a query; it begins again where a rollup turned out bad.
class Aggregation {
 public:
  Aggregation(const View& view, const UsageQuery& query, Lsn lsn, const TimeZone& zone,
              QueryContext& context)
      : view_(view),
        query_(query),
        lsn_(lsn),
        context_(context),
        groups_(query, context),
        by_column_(query, lsn, zone, groups_, context),
        by_row_(query, zone, groups_) {}

  Status Run() {
    if (query_.group_by.empty()) TALLY_RETURN_IF_ERROR(groups_.Find("").status());
    const SegmentList& segments = view_.version->segments;
    for (uint32_t i = 0; i < segments.size(); ++i) {
      const int64_t before_us = context_.Micros();
      SegmentPlan plan;
      plan.read.segment = segments[i]->listed().number.value;
      if (segments[i]->listed().first_lsn > lsn_) {
        plan.pruned = "lsn";
      } else if (Status status = AddSegment(i, &plan); !status.ok()) {
        return status;
      }
      plan.micros = static_cast<uint64_t>(context_.Micros() - before_us);
      if (query_.explain) result_.plan.segments.push_back(std::move(plan));
    }
    return AddMemtables();
  }

  // The segment whose rollup was bad, as Run said.
  const LiveSegment* bad() const { return bad_; }
  const std::shared_ptr<RollupReader>& bad_rollup() const { return by_column_.bad_rollup(); }

  // `total`: of all groups, whatever the limit.
  UsageResult Finish(ExactSum* total) {
    *total = groups_.Total();
    result_.lines = groups_.Lines();
    result_.groups = groups_.size();
    result_.lsn = lsn_;
    result_.watermark_ms = std::max(view_.now_ms, view_.newest_commit_us / 1000);
    result_.memory_bytes = context_.memory_bytes_peak();
    result_.plan.micros = static_cast<uint64_t>(context_.Micros());
    return std::move(result_);
  }

 private:
  Status AddSegment(uint32_t index, SegmentPlan* plan) {
    const LiveSegment& segment = *view_.version->segments[index];
    if (query_.path != ReadPath::kEachRow) {
      const auto added = by_column_.Add(segment, &result_.rows, plan);
      if (!added.ok()) {
        if (by_column_.bad_rollup() != nullptr) {
          bad_ = &segment;
          return added.status();
        }
        return NoteDamage(segment, added.status());
      }
      if (*added) return Status::Ok();
    }
    const SegmentInfo& info = segment.rows().info();
    const auto range = segment.rows().RowsOfAccount(query_.account_id);
    if (!range.ok()) return NoteDamage(segment, range.status());
    Status status;
    const auto walked = ForEachRowOf(view_, index, *range, Scan(), [&](const RowAt& at) {
      ++plan->rows_scanned;
      const auto group = by_row_.Add(at);
      status = group.status();
      if (!group.ok()) return false;
      if (*group == nullptr) return true;
      ++plan->read.rows;
      ++result_.rows.segments;
      if (query_.explain) ++(*group)->InputsOf(info.number.value).rows;
      return true;
    });
    TALLY_RETURN_IF_ERROR(status);
    return walked.ok() ? Status::Ok() : NoteDamage(segment, walked.status());
  }

  Status AddMemtables() {
    for (const auto& memtable : view_.version->memtables) {
      result_.plan.memtables += memtable->empty() || memtable->first_lsn() > lsn_ ? 0 : 1;
    }
    Status status;
    TALLY_RETURN_IF_ERROR(ForEachRowInMemory(view_, Scan(), [&](const RowAt& at) {
      ++result_.plan.memory_rows_scanned;
      const auto group = by_row_.Add(at);
      status = group.status();
      if (!group.ok()) return false;
      if (*group == nullptr) return true;
      ++result_.rows.memory;
      if (query_.explain) ++(*group)->memory_rows;
      return true;
    }));
    return status;
  }

  RowScan Scan() const {
    return {query_.account_id, query_.from_ms, query_.to_ms, lsn_, by_row_.Columns(), &context_};
  }

  const View& view_;
  const UsageQuery& query_;
  const Lsn lsn_;
  QueryContext& context_;
  Groups groups_;
  SegmentUsage by_column_;
  RowUsage by_row_;
  UsageResult result_;
  const LiveSegment* bad_ = nullptr;
};

std::string Describe(const UsageLine& line) {
  return fmt::format("{} = {} + {} + {} in {} events", line.quantity, line.usage, line.corrections,
                     line.retractions, line.count);
}

bool Same(const UsageLine& a, const UsageLine& b) {
  return a.keys == b.keys && a.quantity == b.quantity && a.usage == b.usage &&
         a.corrections == b.corrections && a.retractions == b.retractions && a.count == b.count &&
         a.metrics == b.metrics;
}

void CompareLines(std::string_view name, const UsageResult& a, const UsageResult& b,
                  std::vector<std::string>* faults) {
  if (a.lines.size() != b.lines.size() || a.groups != b.groups) {
    faults->push_back(fmt::format("{}: {} lines, row by row {}", name, a.groups, b.groups));
    return;
  }
  for (size_t i = 0; i < a.lines.size(); ++i) {
    if (Same(a.lines[i], b.lines[i])) continue;
    faults->push_back(fmt::format("{}, line [{}]: {}; row by row, line [{}]: {}", name,
                                  fmt::join(a.lines[i].keys, ", "), Describe(a.lines[i]),
                                  fmt::join(b.lines[i].keys, ", "), Describe(b.lines[i])));
  }
}

Result<UsageResult> AggregateWithTotal(const View& view, const UsageQuery& query,
                                       QueryContext& context, ExactSum* total) {
  TALLY_ASSIGN_OR_RETURN(const Lsn lsn, ResolveLsn(view, query.as_of_lsn));
  TALLY_RETURN_IF_ERROR(RowFilter(query.from_ms, query.to_ms, query.filters).Check());
  TALLY_RETURN_IF_ERROR(Groups::Check(query));
  TALLY_ASSIGN_OR_RETURN(const TimeZone zone, TimeZone::Find(query.time_zone));
  while (true) {
    Aggregation aggregation(view, query, lsn, zone, context);
    const Status status = aggregation.Run();
    if (status.ok()) return aggregation.Finish(total);
    const auto bad = aggregation.bad_rollup();
    const bool unreadable =
        status.code() == StatusCode::kCorruption || status.code() == StatusCode::kIoError;
    if (bad == nullptr || !unreadable) return status;
    // Rows say the same; it is taken away, so this ends.
    const bool removed = aggregation.bad()->RemoveRollup(bad.get());  // or somebody else did
    if (removed && context.on_bad_rollup) context.on_bad_rollup(status);
  }
}

}  // namespace

Result<UsageResult> Aggregate(const View& view, const UsageQuery& query, QueryContext& context) {
  ExactSum total;
  return AggregateWithTotal(view, query, context, &total);
}

Result<PathComparison> ComparePaths(const View& view, UsageQuery query, QueryContext& context) {
  PathComparison comparison;
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, ResolveLsn(view, query.as_of_lsn));
  query.explain = false;
  const auto run = [&](ReadPath path, std::string* text, ExactSum* total) {
    query.path = path;
    auto result = AggregateWithTotal(view, query, context, total);
    *text = total->ToString();
    return result;
  };
  ExactSum by_rollups, by_rows, by_each;
  TALLY_ASSIGN_OR_RETURN(comparison.rollups,
                         run(ReadPath::kAuto, &comparison.rollup_total, &by_rollups));
  TALLY_ASSIGN_OR_RETURN(comparison.rows, run(ReadPath::kRows, &comparison.row_total, &by_rows));
  TALLY_ASSIGN_OR_RETURN(comparison.each,
                         run(ReadPath::kEachRow, &comparison.each_total, &by_each));
  ExactSum drift = by_rows;
  drift.Add(by_rollups.Negated());
  comparison.drift = drift.ToString();
  CompareLines("with rollups", comparison.rollups, comparison.each, &comparison.faults);
  CompareLines("column by column", comparison.rows, comparison.each, &comparison.faults);
  return comparison;
}

}  // namespace tallystick
