#include "engine/usagedb_totals.h"

#include "base/result.h"

namespace tallystick {
namespace {

ExactSum TimesTen(const ExactSum& sum) {
  ExactSum twice = sum;
  twice.Add(sum);
  ExactSum eight = twice;
  eight.Add(twice);
  eight.Add(eight);
  eight.Add(twice);
  return eight;
}

}  // namespace

std::optional<ExactSum> ParseSum(std::string_view text) {
  constexpr size_t kDigitsMax = 76;  // of 256 bits
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const size_t point = text.find('.');
  const std::string_view fraction = point == text.npos ? "" : text.substr(point + 1);
  std::string digits(text.substr(0, point));
  if (fraction.size() > Quantity::kScaleMax) return std::nullopt;
  digits += fraction;
  digits.append(Quantity::kScaleMax - fraction.size(), '0');
  if (digits.size() == Quantity::kScaleMax || digits.size() > kDigitsMax) return std::nullopt;
  ExactSum sum;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return std::nullopt;
    sum = TimesTen(sum);
    sum.Add(Quantity{digit - '0', Quantity::kScaleMax});
  }
  return negative ? sum.Negated() : sum;
}

Result<UsageTotals> TotalsOfDb(const Db& db) {
  UsageQuery query;
  query.from_ms = INT64_MIN;
  query.to_ms = INT64_MAX;
  query.group_by = {Field::Parse("account_id"), Field::Parse("meter_id")};
  query.path = ReadPath::kRows;
  TALLY_ASSIGN_OR_RETURN(const UsageResult result, db.Aggregate(query));
  UsageTotals totals;
  for (const UsageLine& line : result.lines) {
    const auto sum = ParseSum(line.quantity);
    if (!sum.has_value()) return Status::Corruption("a sum is no number: " + line.quantity);
    totals[{line.keys[0], line.keys[1]}] = {*sum, line.count};
  }
  return totals;
}

}  // namespace tallystick
