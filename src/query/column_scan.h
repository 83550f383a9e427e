// ColumnScan: filters, groups and adds up rows of a segment, or lines of its rollup, column by
// column: a selection of rows, a small number for each one's group, sums in 64 bits inside of a
// chunk and exact ones across.
//
// Source of the pattern: vectorised execution as in MonetDB/X100 (Boncz, Zukowski, Nes 2005) over
// dictionary codes.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "query/groups.h"
#include "query/query_context.h"
#include "query/time_bucket.h"
#include "segment/column_source.h"
#include "segment/segment_dictionaries.h"

namespace tallystick {

// Rows of a segment that match: range, filters, LSN. Used by sums and by listings.
class RowSelector {
 public:
  explicit RowSelector(const std::vector<Filter>& filters) : filters_(filters) {}

  // Goes to a segment. False: no row of it can match a filter. REQUIRES: dimensions have codes in
  // it, or no filter asks for one.
  Result<bool> Enter(SegmentDictionaries& dictionaries);

  struct Bounds {
    std::span<const TimeRange> times;  // ascending, apart; a row must be in one of them
    std::optional<Lsn> lsn;            // rows above it are out; none: all are at or below it
    bool drop_quarantined = false;     // there may be such rows
  };
  // Whether no row of the source can match, as far as its zones tell.
  bool IsPruned(const ColumnSource& source, const Bounds& bounds) const;
  // Selects the matching rows.
  Status Select(ColumnSource& source, const Bounds& bounds);

  // Of the last Select.
  uint32_t size() const { return all_ ? rows_ : static_cast<uint32_t>(rows_of_.size()); }
  bool all() const { return all_; }  // every row of the source
  uint32_t row(uint32_t k) const { return all_ ? k : rows_of_[k]; }
  std::span<const uint32_t> rows() const { return rows_of_; }  // REQUIRES: !all()

 private:
  enum Pass : uint8_t { kUnknown, kNo, kYes };
  struct Bound {
    SegmentColumn column = SegmentColumn::kKind;
    std::vector<Pass> pass;  // by code
  };

  Result<bool> Bind(const Filter& filter, SegmentDictionaries& dictionaries, Bound* bound);
  Result<bool> Passes(size_t filter, uint64_t code);
  Status SelectByTime(ColumnSource& source, std::span<const TimeRange> times);
  Status SelectByFilter(ColumnSource& source, size_t filter);
  template <typename Keep>
  void Narrow(Keep&& keep);

  const std::vector<Filter>& filters_;
  SegmentDictionaries* dictionaries_ = nullptr;
  std::vector<Bound> bound_;  // as filters_
  uint32_t rows_ = 0;
  bool all_ = true;
  std::vector<uint32_t> rows_of_;
};

class ColumnScan {
 public:
  ColumnScan(const UsageQuery& query, const TimeZone& zone, Groups& groups);

  Result<bool> Enter(SegmentDictionaries& dictionaries);  // as RowSelector::Enter
  bool IsPruned(const ColumnSource& source, const RowSelector::Bounds& bounds) const {
    return selector_.IsPruned(source, bounds);
  }

  // For explain: where the source stands.
  struct Origin {
    uint64_t segment = 0;
    uint32_t part = 0;  // row group or block of lines
    bool lines = false;
  };
  // Adds what matches to the groups; the number of events.
  Result<uint64_t> Add(ColumnSource& source, const RowSelector::Bounds& bounds,
                       const Origin& origin);

 private:
  struct Sums {
    std::vector<ExactSum> exact;
    std::vector<uint64_t> counts;
    std::vector<uint32_t> row;  // one of the group's rows
  };

  Status Number(ColumnSource& source);
  template <typename ValueOf>
  void Combine(uint64_t min, uint64_t max, ValueOf&& value_of);
  Status NumberBuckets(ColumnSource& source, size_t field);
  Status AddUp(ColumnSource& source);
  template <typename Accumulator>
  void AddMantissas(std::span<const int64_t> mantissas, uint8_t scale);
  Result<Group*> GroupOf(ColumnSource& source, uint32_t row);
  Status AddMetrics(ColumnSource& source, const std::vector<Group*>& groups);
  Status AddFieldMetric(ColumnSource& source, size_t metric, const std::vector<Group*>& groups);
  Status AddQuantityMetric(ColumnSource& source, size_t metric, const std::vector<Group*>& groups);
  Result<std::optional<std::string_view>> TextOf(const Field& field, uint64_t code);
  uint32_t NumberOf(uint32_t k) const { return numbers_.empty() ? 0 : numbers_[k]; }

  const UsageQuery& query_;
  Groups& groups_;
  RowSelector selector_;
  SegmentDictionaries* dictionaries_ = nullptr;
  const std::vector<TimeBuckets> buckets_;
  std::vector<uint32_t> numbers_;  // by place in the selection; empty: all are 0
  uint64_t number_count_ = 1;      // they are below it
  Sums sums_;                      // by number
  std::unordered_map<uint64_t, uint32_t> renumbered_;  // scratch
  GroupKey key_;
};

}  // namespace tallystick
