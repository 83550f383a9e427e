#include "tallystick/quantity.h"

#include "base/decimal.h"

namespace tallystick {
namespace {

constexpr int64_t kMantissaDigitsMax = 39;  // of 2^127
constexpr size_t kShownBytesMax = 64;
// Where an exponent is cut off: far above any token's length, so that a sum with one stays on its
// side, and low enough that one more digit does not overflow.
constexpr int64_t kExponentMax = int64_t{1} << 50;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The parts of a JSON number: [-] integer [. fraction] [e exponent].
struct NumberToken {
  bool negative = false;
  std::string_view integer;
  std::string_view fraction;
  int64_t exponent = 0;  // cut off at +-kExponentMax

  size_t digits() const { return integer.size() + fraction.size(); }
  char digit(size_t index) const {
    return index < integer.size() ? integer[index] : fraction[index - integer.size()];
  }
};

std::string_view TakeDigits(std::string_view text, size_t& at) {
  const size_t begin = at;
  while (at < text.size() && IsDigit(text[at])) ++at;
  return text.substr(begin, at - begin);
}

bool TakeExponent(std::string_view text, size_t& at, int64_t& exponent) {
  bool negative = false;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) negative = text[at++] == '-';
  const std::string_view digits = TakeDigits(text, at);
  if (digits.empty()) return false;
  for (const char c : digits) {
    exponent = exponent * 10 + (c - '0');
    if (exponent > kExponentMax) exponent = kExponentMax;
  }
  if (negative) exponent = -exponent;
  return true;
}

bool SplitToken(std::string_view text, NumberToken& number) {
  size_t at = 0;
  if (at < text.size() && text[at] == '-') {
    number.negative = true;
    ++at;
  }
  number.integer = TakeDigits(text, at);
  if (number.integer.empty()) return false;
  if (number.integer.size() > 1 && number.integer[0] == '0') return false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    number.fraction = TakeDigits(text, at);
    if (number.fraction.empty()) return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (!TakeExponent(text, at, number.exponent)) return false;
  }
  return at == text.size();
}

Status Refuse(std::string_view reason, std::string_view why, std::string_view token) {
  std::string message("quantity ");
  for (const char c : token.substr(0, kShownBytesMax)) {
    message += c >= 0x20 && c < 0x7f ? c : '?';
  }
  if (token.size() > kShownBytesMax) message += "...";
  message += ": ";
  message += why;
  return Status::InvalidArgument(reason, message);
}

Status OutOfRange(std::string_view token) {
  return Refuse("quantity_out_of_range", "does not fit 128 bits", token);
}

}  // namespace

Result<Quantity> Quantity::Parse(std::string_view token) {
  NumberToken number;
  if (!SplitToken(token, number)) return Refuse("invalid_quantity", "not a number", token);

  // What counts is the run from the first to the last digit that is not zero, and its power of ten.
  size_t begin = 0;
  size_t end = number.digits();
  while (begin < end && number.digit(begin) == '0') ++begin;
  while (end > begin && number.digit(end - 1) == '0') --end;
  if (begin == end) return Quantity{};
  const int64_t power =
      number.exponent + static_cast<int64_t>(number.integer.size()) - static_cast<int64_t>(end);
  if (power < -kScaleMax) {
    return Refuse("quantity_too_precise", "has more than 12 decimals", token);
  }
  const int64_t zeros = power > 0 ? power : 0;
  if (static_cast<int64_t>(end - begin) + zeros > kMantissaDigitsMax) {
    return OutOfRange(token);
  }

  uint128 magnitude = 0;
  for (size_t i = begin; i < end + static_cast<size_t>(zeros); ++i) {
    const auto digit = static_cast<unsigned>(i < end ? number.digit(i) - '0' : 0);
    if (__builtin_mul_overflow(magnitude, uint128{10}, &magnitude) ||
        __builtin_add_overflow(magnitude, uint128{digit}, &magnitude)) {
      return OutOfRange(token);
    }
  }
  const uint128 limit = (uint128{1} << 127) - (number.negative ? 0 : 1);
  if (magnitude > limit) return OutOfRange(token);
  Quantity quantity;
  quantity.mantissa = static_cast<int128>(number.negative ? -magnitude : magnitude);
  quantity.scale = static_cast<uint8_t>(power < 0 ? -power : 0);
  return quantity;
}

std::string Quantity::ToString() const {
  ExactSum sum;
  sum.Add(*this);
  return sum.ToString();
}

Quantity Quantity::Normalized(int128 mantissa, uint8_t scale) {
  if (mantissa == 0) return {};
  // 64-bit division is many times cheaper than 128-bit.
  if (mantissa == static_cast<int64_t>(mantissa)) {
    auto small = static_cast<int64_t>(mantissa);
    for (; scale > 0 && small % 10 == 0; --scale) small /= 10;
    return {small, scale};
  }
  for (; scale > 0 && mantissa % 10 == 0; --scale) mantissa /= 10;
  return {mantissa, scale};
}

}  // namespace tallystick
