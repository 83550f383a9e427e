// Targets of requests, times and numbers in them, on any bytes.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "server/query_string.h"
#include "server/routes.h"
#include "server/time_parse.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto time = ParseTime(input); time.ok()) {
    const auto again = ParseTime(FormatTime(*time));
    TALLY_CHECK(again.ok() && *again == *time);
  }
  const auto target = Target::Parse(input);
  if (!target.ok()) {
    TALLY_CHECK(target.status().reason() == "invalid_url");
    return 0;
  }
  for (const std::string& segment : target->segments) TALLY_CHECK(IsUtf8(segment));
  MatchRoute(target->segments);
  for (const auto& [name, value] : target->query.parameters()) {
    TALLY_CHECK(IsUtf8(name) && IsUtf8(value));
    const auto found = target->query.Get(name);
    TALLY_CHECK(!found.ok() || **found == value);
    const auto number = target->query.GetUint(name, 1, 1000);
    if (number.ok()) TALLY_CHECK(number->value_or(1) >= 1 && number->value_or(1) <= 1000);
    (void)ParseTime(value).ok();
  }
  return 0;
}
