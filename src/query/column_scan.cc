// Invariants:
//  1. A code is used as an index only when it is below the size of what it indexes: zones bound
//     codes (ColumnSource), and zones are compared with the dictionary.
//  2. A number belongs to exactly one group: two rows have the same number only if all fields of
//     group_by, and the kind, are the same.
#include "query/column_scan.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "query/row_filter.h"

namespace tallystick {
namespace {

// Numbers below this index arrays; where fields have more combinations, those that occur are
// numbered anew.
constexpr uint64_t kNumbersMax = 8192;

}  // namespace

// --- RowSelector ---

Result<bool> RowSelector::Bind(const Filter& filter, SegmentDictionaries& dictionaries,
                               Bound* bound) {
  bound->column = ColumnOf(filter.field);
  TALLY_ASSIGN_OR_RETURN(const uint64_t codes, dictionaries.CodeCount(bound->column));
  if (bound->column == SegmentColumn::kDimensions) {
    bound->pass.assign(codes, kUnknown);  // looked at when a row has the code
    return !filter.values.empty();
  }
  bound->pass.assign(codes, kNo);
  bool any = false;
  for (const std::string& value : filter.values) {
    TALLY_ASSIGN_OR_RETURN(const auto code, dictionaries.Code(bound->column, value));
    if (!code.has_value()) continue;
    bound->pass[*code] = kYes;
    any = true;
  }
  return any;
}

Result<bool> RowSelector::Enter(SegmentDictionaries& dictionaries) {
  dictionaries_ = &dictionaries;
  bound_.resize(filters_.size());
  for (size_t i = 0; i < filters_.size(); ++i) {
    TALLY_ASSIGN_OR_RETURN(const bool any, Bind(filters_[i], dictionaries, &bound_[i]));
    if (!any) return false;
  }
  return true;
}

bool RowSelector::IsPruned(const ColumnSource& source, const Bounds& bounds) const {
  const ColumnZone zone = source.zone(SegmentColumn::kTimestamp);
  const auto first = static_cast<int64_t>(zone.min), last = static_cast<int64_t>(zone.max);
  if (std::ranges::none_of(bounds.times, [&](const TimeRange& range) {
        return first < range.end_ms && last >= range.begin_ms;
      })) {
    return true;
  }
  if (bounds.lsn.has_value() && source.zone(SegmentColumn::kLsn).min > bounds.lsn->value) {
    return true;
  }
  return std::ranges::any_of(bound_, [&](const Bound& bound) {
    const ColumnZone codes = source.zone(bound.column);
    if (codes.max >= bound.pass.size()) return false;  // Select says what is wrong
    const auto begin = bound.pass.begin();
    return std::all_of(begin + static_cast<ptrdiff_t>(codes.min),
                       begin + static_cast<ptrdiff_t>(codes.max) + 1,
                       [](Pass pass) { return pass == kNo; });
  });
}

template <typename Keep>
void RowSelector::Narrow(Keep&& keep) {
  // Branch-free: every row is written, and the end moves on where it is kept.
  uint32_t kept = 0;
  if (all_) {
    rows_of_.resize(rows_);
    for (uint32_t i = 0; i < rows_; ++i) {
      rows_of_[kept] = i;
      kept += keep(i) ? 1 : 0;
    }
    all_ = kept == rows_;
  } else {
    for (const uint32_t row : rows_of_) {
      rows_of_[kept] = row;
      kept += keep(row) ? 1 : 0;
    }
  }
  rows_of_.resize(kept);
}

Status RowSelector::SelectByTime(ColumnSource& source, std::span<const TimeRange> times) {
  const ColumnZone zone = source.zone(SegmentColumn::kTimestamp);
  const auto first = static_cast<int64_t>(zone.min), last = static_cast<int64_t>(zone.max);
  const bool inside = std::ranges::any_of(
      times, [&](const TimeRange& range) { return range.Has(first) && range.Has(last); });
  if (inside) return Status::Ok();
  TALLY_ASSIGN_OR_RETURN(const auto timestamps, source.Integers(SegmentColumn::kTimestamp));
  if (times.size() == 1) {
    const TimeRange range = times[0];
    Narrow([&](uint32_t i) { return range.Has(static_cast<int64_t>(timestamps[i])); });
    return Status::Ok();
  }
  Narrow([&](uint32_t i) {
    const auto at = static_cast<int64_t>(timestamps[i]);
    const auto next = std::ranges::upper_bound(times, at, {}, &TimeRange::begin_ms);
    return next != times.begin() && std::prev(next)->Has(at);
  });
  return Status::Ok();
}

Result<bool> RowSelector::Passes(size_t filter, uint64_t code) {
  Pass& pass = bound_[filter].pass[code];
  if (pass == kUnknown) {
    TALLY_ASSIGN_OR_RETURN(const RowView set, dictionaries_->Dimensions(code));
    const auto value = set.Dimension(filters_[filter].field.dimension);
    const auto& values = filters_[filter].values;
    pass = value.has_value() && std::ranges::find(values, *value) != values.end() ? kYes : kNo;
  }
  return pass == kYes;
}

Status RowSelector::SelectByFilter(ColumnSource& source, size_t filter) {
  const Bound& bound = bound_[filter];
  const ColumnZone zone = source.zone(bound.column);
  if (zone.max >= bound.pass.size()) return dictionaries_->BadCode(bound.column);
  if (zone.constant()) {
    TALLY_ASSIGN_OR_RETURN(const bool passes, Passes(filter, zone.min));
    if (!passes) Narrow([](uint32_t) { return false; });
    return Status::Ok();
  }
  TALLY_ASSIGN_OR_RETURN(const auto codes, source.Integers(bound.column));
  if (bound.column == SegmentColumn::kDimensions) {
    for (uint32_t k = 0; k < size(); ++k) {
      if (bound.pass[codes[row(k)]] == kUnknown) {
        TALLY_RETURN_IF_ERROR(Passes(filter, codes[row(k)]).status());
      }
    }
  }
  const Pass* pass = bound.pass.data();
  Narrow([&](uint32_t i) { return pass[codes[i]] == kYes; });
  return Status::Ok();
}

Status RowSelector::Select(ColumnSource& source, const Bounds& bounds) {
  rows_ = source.rows();
  all_ = true;
  rows_of_.clear();
  TALLY_RETURN_IF_ERROR(SelectByTime(source, bounds.times));
  if (bounds.lsn.has_value() && source.zone(SegmentColumn::kLsn).max > bounds.lsn->value) {
    TALLY_ASSIGN_OR_RETURN(const auto lsns, source.Integers(SegmentColumn::kLsn));
    const uint64_t last = bounds.lsn->value;
    Narrow([&](uint32_t i) { return lsns[i] <= last; });
  }
  if (bounds.drop_quarantined) {
    TALLY_ASSIGN_OR_RETURN(const auto dispositions, source.Integers(SegmentColumn::kDisposition));
    Narrow([&](uint32_t i) {
      return dispositions[i] == static_cast<uint64_t>(Disposition::kCounted);
    });
  }
  for (size_t i = 0; i < filters_.size() && size() > 0; ++i) {
    TALLY_RETURN_IF_ERROR(SelectByFilter(source, i));
  }
  return Status::Ok();
}

// --- ColumnScan ---

ColumnScan::ColumnScan(const UsageQuery& query, const TimeZone& zone, Groups& groups)
    : query_(query),
      groups_(groups),
      selector_(query.filters),
      buckets_(BucketsOf(query.group_by, zone)) {}

Result<bool> ColumnScan::Enter(SegmentDictionaries& dictionaries) {
  dictionaries_ = &dictionaries;
  return selector_.Enter(dictionaries);
}

// The number of each selected row so far, and its value, become one number.
template <typename ValueOf>
void ColumnScan::Combine(uint64_t min, uint64_t max, ValueOf&& value_of) {
  const uint64_t width = max - min + 1;
  const uint32_t size = selector_.size();
  if (numbers_.empty()) numbers_.assign(size, 0);
  if (width <= kNumbersMax && number_count_ * width <= kNumbersMax) {
    const auto factor = static_cast<uint32_t>(width);
    for (uint32_t k = 0; k < size; ++k) {
      numbers_[k] = numbers_[k] * factor + static_cast<uint32_t>(value_of(k) - min);
    }
    number_count_ *= width;
    return;
  }
  renumbered_.clear();
  for (uint32_t k = 0; k < size; ++k) {
    const uint64_t combined = numbers_[k] * width + (value_of(k) - min);
    numbers_[k] =
        renumbered_.try_emplace(combined, static_cast<uint32_t>(renumbered_.size())).first->second;
  }
  number_count_ = renumbered_.size();
}

Status ColumnScan::NumberBuckets(ColumnSource& source, size_t field) {
  const ColumnZone zone = source.zone(SegmentColumn::kTimestamp);
  const TimeBuckets& buckets = buckets_[field];
  TimeRange current = buckets.Of(static_cast<int64_t>(zone.min));
  if (current.Has(static_cast<int64_t>(zone.max))) return Status::Ok();
  TALLY_ASSIGN_OR_RETURN(const auto timestamps, source.Integers(SegmentColumn::kTimestamp));
  // Rows of one group of the sort order ascend in time, so the bucket is mostly the last one's.
  std::map<int64_t, std::pair<TimeRange, uint32_t>> seen;  // by begin, with their numbers
  seen[current.begin_ms] = {current, 0};
  uint32_t number = 0;
  std::vector<uint32_t> of_row(selector_.size());
  for (uint32_t k = 0; k < selector_.size(); ++k) {
    const auto at = static_cast<int64_t>(timestamps[selector_.row(k)]);
    if (!current.Has(at)) {
      auto known = seen.upper_bound(at);
      if (known == seen.begin() || !std::prev(known)->second.first.Has(at)) {
        const TimeRange range = buckets.Of(at);
        known = seen.emplace(range.begin_ms, std::pair(range, static_cast<uint32_t>(seen.size())))
                    .first;
      } else {
        --known;
      }
      std::tie(current, number) = known->second;
    }
    of_row[k] = number;
  }
  Combine(0, seen.size() - 1, [&](uint32_t k) { return uint64_t{of_row[k]}; });
  return Status::Ok();
}

Status ColumnScan::Number(ColumnSource& source) {
  numbers_.clear();
  number_count_ = 1;
  const auto by_column = [&](SegmentColumn column) -> Status {
    const ColumnZone zone = source.zone(column);
    TALLY_ASSIGN_OR_RETURN(const uint64_t codes, dictionaries_->CodeCount(column));
    if (zone.max >= codes) return dictionaries_->BadCode(column);
    if (zone.constant()) return Status::Ok();
    TALLY_ASSIGN_OR_RETURN(const auto values, source.Integers(column));
    if (selector_.all()) {
      Combine(zone.min, zone.max, [&](uint32_t k) { return values[k]; });
    } else {
      const auto rows = selector_.rows();
      Combine(zone.min, zone.max, [&](uint32_t k) { return values[rows[k]]; });
    }
    return Status::Ok();
  };
  for (size_t i = 0; i < query_.group_by.size(); ++i) {
    const Field& field = query_.group_by[i];
    TALLY_RETURN_IF_ERROR(IsBucket(field) ? NumberBuckets(source, i) : by_column(ColumnOf(field)));
  }
  return by_column(SegmentColumn::kKind);
}

template <typename Accumulator>
void ColumnScan::AddMantissas(std::span<const int64_t> mantissas, uint8_t scale) {
  const uint32_t size = selector_.size();
  if (numbers_.empty()) {
    Accumulator sum = 0;
    if (selector_.all()) {
      for (uint32_t i = 0; i < size; ++i) sum += mantissas[i];
    } else {
      for (const uint32_t row : selector_.rows()) sum += mantissas[row];
    }
    sums_.exact[0].Add(Quantity{sum, scale});
    return;
  }
  std::vector<Accumulator> sums(number_count_, 0);
  if (selector_.all()) {
    for (uint32_t k = 0; k < size; ++k) sums[numbers_[k]] += mantissas[k];
  } else {
    const auto rows = selector_.rows();
    for (uint32_t k = 0; k < size; ++k) sums[numbers_[k]] += mantissas[rows[k]];
  }
  for (uint64_t number = 0; number < number_count_; ++number) {
    if (sums_.counts[number] > 0) sums_.exact[number].Add(Quantity{sums[number], scale});
  }
}

Status ColumnScan::AddUp(ColumnSource& source) {
  const uint32_t size = selector_.size();
  sums_.exact.assign(number_count_, {});
  sums_.counts.assign(number_count_, 0);
  sums_.row.assign(number_count_, 0);
  TALLY_ASSIGN_OR_RETURN(const auto counts, source.Counts());
  if (numbers_.empty()) {
    sums_.row[0] = selector_.row(0);
    sums_.counts[0] = counts.empty() ? size : 0;
  } else {
    for (uint32_t k = 0; k < size; ++k) {
      sums_.row[numbers_[k]] = selector_.row(k);
      ++sums_.counts[numbers_[k]];
    }
    if (!counts.empty()) std::ranges::fill(sums_.counts, 0);
  }
  if (!counts.empty()) {
    for (uint32_t k = 0; k < size; ++k) sums_.counts[NumberOf(k)] += counts[selector_.row(k)];
  }
  TALLY_ASSIGN_OR_RETURN(const QuantityColumn quantities, source.Quantities());
  if (!quantities.wide.empty()) {
    for (uint32_t k = 0; k < size; ++k) {
      sums_.exact[NumberOf(k)].Add(quantities.wide[selector_.row(k)]);
    }
    return Status::Ok();
  }
  const int64_t bound = INT64_MAX / size;
  if (quantities.min >= -bound && quantities.max <= bound) {
    AddMantissas<int64_t>(quantities.mantissas, quantities.scale);
  } else {
    AddMantissas<int128>(quantities.mantissas, quantities.scale);
  }
  return Status::Ok();
}

Result<std::optional<std::string_view>> ColumnScan::TextOf(const Field& field, uint64_t code) {
  const SegmentColumn column = ColumnOf(field);
  if (column != SegmentColumn::kDimensions) return dictionaries_->Text(column, code);
  TALLY_ASSIGN_OR_RETURN(const RowView set, dictionaries_->Dimensions(code));
  return set.Dimension(field.dimension);
}

Result<Group*> ColumnScan::GroupOf(ColumnSource& source, uint32_t row) {
  key_.Clear();
  for (size_t i = 0; i < query_.group_by.size(); ++i) {
    const Field& field = query_.group_by[i];
    const SegmentColumn column = ColumnOf(field);
    uint64_t value = source.zone(column).min;
    if (!source.zone(column).constant()) {
      TALLY_ASSIGN_OR_RETURN(const auto values, source.Integers(column));
      value = values[row];
    }
    if (IsBucket(field)) {
      key_.Append(buckets_[i].Of(static_cast<int64_t>(value)).begin_ms);
      continue;
    }
    TALLY_ASSIGN_OR_RETURN(const auto text, TextOf(field, value));
    key_.Append(text.value_or(""));
  }
  return groups_.Find(key_.bytes());
}

Result<uint64_t> ColumnScan::Add(ColumnSource& source, const RowSelector::Bounds& bounds,
                                 const Origin& origin) {
  TALLY_RETURN_IF_ERROR(selector_.Select(source, bounds));
  if (selector_.size() == 0) return 0;
  TALLY_RETURN_IF_ERROR(Number(source));
  TALLY_RETURN_IF_ERROR(AddUp(source));
  const ColumnZone kinds = source.zone(SegmentColumn::kKind);
  std::span<const uint64_t> kind_of;
  if (!kinds.constant()) {
    TALLY_ASSIGN_OR_RETURN(kind_of, source.Integers(SegmentColumn::kKind));
  }
  uint64_t events = 0;
  std::vector<Group*> groups(number_count_, nullptr);
  for (uint64_t number = 0; number < number_count_; ++number) {
    if (sums_.counts[number] == 0) continue;
    const uint32_t row = sums_.row[number];
    TALLY_ASSIGN_OR_RETURN(Group * group, GroupOf(source, row));
    groups[number] = group;
    const uint64_t kind = kind_of.empty() ? kinds.min : kind_of[row];
    group->by_kind[kind].Add(sums_.exact[number]);
    group->count += sums_.counts[number];
    events += sums_.counts[number];
    if (query_.explain) {
      SegmentInputs& inputs = group->InputsOf(origin.segment);
      auto& parts = origin.lines ? inputs.rollup_blocks : inputs.row_groups;
      if (parts.empty() || parts.back() != origin.part) parts.push_back(origin.part);
      (origin.lines ? inputs.rolled_up : inputs.rows) += sums_.counts[number];
    }
  }
  TALLY_RETURN_IF_ERROR(AddMetrics(source, groups));
  return events;
}

Status ColumnScan::AddMetrics(ColumnSource& source, const std::vector<Group*>& groups) {
  for (size_t i = 0; i < query_.metrics.size(); ++i) {
    TALLY_RETURN_IF_ERROR(query_.metrics[i].of.has_value() ? AddFieldMetric(source, i, groups)
                                                           : AddQuantityMetric(source, i, groups));
  }
  return Status::Ok();
}

// A group's rows often share a value: each pair of group and code is looked at once.
Status ColumnScan::AddFieldMetric(ColumnSource& source, size_t metric,
                                  const std::vector<Group*>& groups) {
  const Field& field = *query_.metrics[metric].of;
  const SegmentColumn column = ColumnOf(field);
  TALLY_ASSIGN_OR_RETURN(const auto codes, source.Integers(column));
  std::unordered_set<uint64_t> seen;
  for (uint32_t k = 0; k < selector_.size(); ++k) {
    const uint64_t code = codes[selector_.row(k)];
    if (code > UINT32_MAX) return dictionaries_->BadCode(column);
    if (!seen.insert(uint64_t{NumberOf(k)} << 32 | code).second) continue;
    TALLY_ASSIGN_OR_RETURN(const auto text, TextOf(field, code));
    if (!text.has_value()) continue;
    TALLY_RETURN_IF_ERROR(groups_.AddText(*groups[NumberOf(k)], metric, *text));
  }
  return Status::Ok();
}

Status ColumnScan::AddQuantityMetric(ColumnSource& source, size_t metric,
                                     const std::vector<Group*>& groups) {
  TALLY_ASSIGN_OR_RETURN(const QuantityColumn quantities, source.Quantities());
  for (uint32_t k = 0; k < selector_.size(); ++k) {
    const uint32_t row = selector_.row(k);
    ExactSum quantity;
    if (quantities.wide.empty()) {
      quantity.Add(Quantity{quantities.mantissas[row], quantities.scale});
    } else {
      quantity = quantities.wide[row];
    }
    TALLY_RETURN_IF_ERROR(groups_.AddNumber(*groups[NumberOf(k)], metric, quantity));
  }
  return Status::Ok();
}

}  // namespace tallystick
