// JSON of how a sum was computed: the answers of explain and verify.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tallystick/query.h"

namespace tallystick {

// What explain groups by.
inline constexpr std::string_view kExplainGroups[] = {"product_id", "meter_id", "model_id",
                                                      "source", "unit"};

// The fields of the answer of explain that stand behind "corrections", without the closing brace;
// begins with a comma. REQUIRES: `result` is of kExplainGroups. `analyze`: with times and amounts.
std::string ExplainTailToJson(const UsageQuery& query, const UsageResult& result, bool analyze);

// {"account_id":...,"drift":"0","each_total":...,"faults":[],...,"matches":true,...}
std::string VerifyToJson(const UsageQuery& query, const PathComparison& comparison);

// "0-3,7" of ascending numbers.
std::string RangesText(std::span<const uint32_t> numbers);

}  // namespace tallystick
