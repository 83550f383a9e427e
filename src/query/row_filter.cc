#include "query/row_filter.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace tallystick {
namespace {

struct NamedColumn {
  std::string_view name;
  Field::Kind kind;
  SegmentColumn column;  // that it is read from
};

constexpr NamedColumn kColumns[] = {
    {"account_id", Field::Kind::kAccountId, SegmentColumn::kAccountId},
    {"subscription_id", Field::Kind::kSubscriptionId, SegmentColumn::kSubscriptionId},
    {"product_id", Field::Kind::kProductId, SegmentColumn::kProductId},
    {"meter_id", Field::Kind::kMeterId, SegmentColumn::kMeterId},
    {"model_id", Field::Kind::kModelId, SegmentColumn::kModelId},
    {"source", Field::Kind::kSource, SegmentColumn::kSource},
    {"unit", Field::Kind::kUnit, SegmentColumn::kUnit},
    {"kind", Field::Kind::kKind, SegmentColumn::kKind},
    {"hour_start_ms", Field::Kind::kHourStartMs, SegmentColumn::kTimestamp},
    {"day", Field::Kind::kDay, SegmentColumn::kTimestamp},
    {"month", Field::Kind::kMonth, SegmentColumn::kTimestamp},
};

constexpr std::string_view kDimensionPrefix = "dimensions.";

}  // namespace

Field Field::Parse(std::string_view name) {
  for (const NamedColumn& column : kColumns) {
    if (column.name == name) return {column.kind, ""};
  }
  if (name.starts_with(kDimensionPrefix)) name.remove_prefix(kDimensionPrefix.size());
  return {Kind::kDimension, std::string(name)};
}

std::string Field::Name() const {
  for (const NamedColumn& column : kColumns) {
    if (column.kind == kind) return std::string(column.name);
  }
  // A dimension that is named like a column needs the long form to be read back.
  return Parse(dimension).kind == Kind::kDimension && !dimension.starts_with(kDimensionPrefix)
             ? dimension
             : std::string(kDimensionPrefix) + dimension;
}

Result<Lsn> ResolveLsn(const View& view, std::optional<Lsn> as_of) {
  if (!as_of.has_value()) return view.visible;
  if (*as_of <= view.visible) return *as_of;
  return Status::InvalidArgument(
      "lsn_in_future", fmt::format("as_of_lsn is {}, the newest visible LSN is {}", as_of->value,
                                   view.visible.value));
}

std::optional<std::string_view> FieldValue(const RowView& row, const Field& field) {
  switch (field.kind) {
    case Field::Kind::kAccountId:
      return row.account_id;
    case Field::Kind::kSubscriptionId:
      return row.subscription_id;
    case Field::Kind::kProductId:
      return row.product_id;
    case Field::Kind::kMeterId:
      return row.meter_id;
    case Field::Kind::kModelId:
      return row.model_id;
    case Field::Kind::kSource:
      return row.source;
    case Field::Kind::kUnit:
      return row.unit;
    case Field::Kind::kKind:
      return EventKindName(row.kind);
    case Field::Kind::kDimension:
      return row.Dimension(field.dimension);
    case Field::Kind::kHourStartMs:
    case Field::Kind::kDay:
    case Field::Kind::kMonth:
      break;
  }
  TALLY_CHECK(false);
}

bool IsBucket(const Field& field) {
  return field.kind == Field::Kind::kHourStartMs || field.kind == Field::Kind::kDay ||
         field.kind == Field::Kind::kMonth;
}

SegmentColumn ColumnOf(const Field& field) {
  const auto named = std::ranges::find(kColumns, field.kind, &NamedColumn::kind);
  return named != std::end(kColumns) ? named->column : SegmentColumn::kDimensions;
}

SegmentColumns RowFilter::Columns() const {
  auto columns = static_cast<SegmentColumns>(SegmentColumn::kTimestamp);
  for (const Filter& filter : filters_) columns = columns | ColumnOf(filter.field);
  return columns;
}

bool RowFilter::Matches(const RowView& row) const {
  if (row.timestamp_ms < from_ms_ || row.timestamp_ms >= to_ms_) return false;
  return std::ranges::all_of(filters_, [&](const Filter& filter) {
    const auto value = FieldValue(row, filter.field);
    return value.has_value() && std::ranges::find(filter.values, *value) != filter.values.end();
  });
}

Status RowFilter::Check() const {
  for (const Filter& filter : filters_) {
    if (IsBucket(filter.field)) {
      return Status::InvalidArgument(
          "invalid_filter", "'" + filter.field.Name() + "' is a time bucket; use from and to");
    }
  }
  return Status::Ok();
}

}  // namespace tallystick
