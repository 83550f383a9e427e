#include "env/number_name.h"

#include <charconv>
#include <cstdio>

namespace tallystick {

std::string NumberName(uint64_t number) {
  char name[24];
  std::snprintf(name, sizeof name, "%06llu", static_cast<unsigned long long>(number));
  return name;
}

std::optional<uint64_t> LeadingNumber(std::string_view name) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end == name.data()) return std::nullopt;
  return number;
}

std::optional<uint64_t> ParseNumberName(std::string_view name) {
  const auto number = LeadingNumber(name);
  if (!number.has_value() || NumberName(*number) != name) return std::nullopt;
  return number;
}

}  // namespace tallystick
