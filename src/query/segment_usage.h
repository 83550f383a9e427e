// What segments add to an aggregate: from a rollup where it can answer, else from rows, column by
// column.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "query/column_scan.h"
#include "query/query_context.h"
#include "query/view.h"
#include "rollup/rollup_reader.h"
#include "tallystick/query.h"

namespace tallystick {

class SegmentUsage {
 public:
  SegmentUsage(const UsageQuery& query, Lsn lsn, const TimeZone& zone, Groups& groups,
               QueryContext& context);

  // Adds the segment's events to the groups. False: its dimensions have no codes, so its rows must
  // be added one by one; nothing was added. After an error the groups are of no use.
  Result<bool> Add(const LiveSegment& segment, RowSources* rows, SegmentPlan* plan);
  // After an error: the rollup that it came from, null if it was not one. Without it the query can
  // begin again.
  const std::shared_ptr<RollupReader>& bad_rollup() const { return bad_rollup_; }

 private:
  // Rows, and the times of them that count.
  struct Part {
    RowRange rows;
    std::span<const TimeRange> times;
  };
  struct Lines {
    LineRange range;
    uint64_t account = 0;  // its code; where lines are told apart by it
  };

  bool CanUseRollups() const;
  bool SplitTimes(const SegmentInfo& info);
  Result<bool> PlanRows(const SegmentReader& rows, SegmentDictionaries& dictionaries,
                        SegmentPlan* plan);
  Status PlanLines(const SegmentReader& rows, SegmentDictionaries& dictionaries,
                   const RollupReader& rollup);
  Result<uint64_t> AddLines(const SegmentReader& rows, const RollupReader& rollup,
                            SegmentPlan* plan);
  Result<uint64_t> AddRows(const SegmentReader& rows, const Part& part, SegmentPlan* plan);

  const UsageQuery& query_;
  const Lsn lsn_;
  QueryContext& context_;
  ColumnScan scan_;
  const bool needs_dimensions_;
  const bool by_account_;             // accounts must be told apart
  const bool rollups_;                // lines hold all that is asked for
  std::vector<TimeBuckets> buckets_;  // of group_by, that may begin inside of an hour
  const std::vector<TimeRange> all_times_;

  // Of the segment that is being read.
  std::optional<uint64_t> account_;    // code of the query's
  std::vector<TimeRange> line_times_;  // hours that lines answer for
  std::vector<TimeRange> row_times_;   // the rest of the query's range
  std::vector<Part> parts_;
  std::vector<Lines> lines_;
  std::shared_ptr<RollupReader> bad_rollup_;
};

}  // namespace tallystick
