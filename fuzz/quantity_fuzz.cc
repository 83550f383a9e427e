// Quantity::Parse on any text. What is accepted is normal, prints to a text that is the same value,
// and together with its negative adds up to nothing.
#include <cstdint>
#include <limits>
#include <string>

#include "base/check.h"
#include "base/decimal.h"
#include "tallystick/quantity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  const std::string_view token(reinterpret_cast<const char*>(data), size);
  const Result<Quantity> parsed = Quantity::Parse(token);
  if (!parsed.ok()) {
    TALLY_CHECK(parsed.status().code() == StatusCode::kInvalidArgument);
    return 0;
  }
  TALLY_CHECK(parsed->scale <= Quantity::kScaleMax);
  TALLY_CHECK(*parsed == Quantity::Normalized(parsed->mantissa, parsed->scale));
  const std::string printed = parsed->ToString();
  const Result<Quantity> again = Quantity::Parse(printed);
  TALLY_CHECK(again.ok() && *again == *parsed && again->ToString() == printed);
  ExactSum sum;
  sum.Add(*parsed);
  TALLY_CHECK(sum.ToString() == printed);
  if (parsed->mantissa != std::numeric_limits<int128>::min()) {
    sum.Add(Quantity{-parsed->mantissa, parsed->scale});
    TALLY_CHECK(sum.IsZero());
  }
  return 0;
}
