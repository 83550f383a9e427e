// Sums by account and meter: of a source's rows, and of a database.
//
// Thread rule: values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/decimal.h"
#include "tallystick/db.h"

namespace tallystick {

struct UsageTotal {
  ExactSum sum;
  uint64_t count = 0;

  void Add(const Quantity& quantity) {
    sum.Add(quantity);
    ++count;
  }
  void Add(const UsageTotal& other) {
    sum.Add(other.sum);
    count += other.count;
  }
  friend bool operator==(const UsageTotal&, const UsageTotal&) = default;
};

using UsageTotals = std::map<std::pair<std::string, std::string>, UsageTotal>;  // account, meter

// From the rows, not from rollups.
Result<UsageTotals> TotalsOfDb(const Db& db);

// What UsageLine::quantity says; none for another text.
std::optional<ExactSum> ParseSum(std::string_view text);

}  // namespace tallystick
