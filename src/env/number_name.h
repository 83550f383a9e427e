// Names of numbered files: at least six decimal digits, no more leading zeros than that needs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tallystick {

std::string NumberName(uint64_t number);                         // 7 -> "000007"
std::optional<uint64_t> ParseNumberName(std::string_view name);  // only what NumberName gives
// The number in front of any name ("000007.tmp", "000012.torn"), for raising the counter above it.
std::optional<uint64_t> LeadingNumber(std::string_view name);

}  // namespace tallystick
