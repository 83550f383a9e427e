#include "tallystick/quantity.h"

#include <algorithm>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr uint128 kMagnitudeMax = static_cast<uint128>(1) << 127;  // of the negative end

Status Invalid(std::string_view token, std::string_view why) {
  return Status::InvalidArgument("invalid_quantity",
                                 "'" + std::string(token.substr(0, 64)) + "' is no number: " +
                                     std::string(why));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// The token's parts, by JSON's grammar for numbers.
struct Parts {
  bool negative = false;
  std::string_view whole;
  std::string_view fraction;
  int64_t exponent = 0;  // clamped far beyond anything that fits
};

std::string_view TakeDigits(std::string_view& rest) {
  const size_t n = static_cast<size_t>(std::ranges::find_if_not(rest, IsDigit) - rest.begin());
  const std::string_view digits = rest.substr(0, n);
  rest.remove_prefix(n);
  return digits;
}

const char* Split(std::string_view token, Parts* parts) {
  std::string_view rest = token;
  if (!rest.empty() && rest.front() == '-') {
    parts->negative = true;
    rest.remove_prefix(1);
  }
  parts->whole = TakeDigits(rest);
  if (parts->whole.empty()) return "digits are missing";
  if (parts->whole.size() > 1 && parts->whole.front() == '0') return "it has a leading zero";
  if (!rest.empty() && rest.front() == '.') {
    rest.remove_prefix(1);
    parts->fraction = TakeDigits(rest);
    if (parts->fraction.empty()) return "digits are missing behind the point";
  }
  if (!rest.empty() && (rest.front() == 'e' || rest.front() == 'E')) {
    rest.remove_prefix(1);
    bool negative = false;
    if (!rest.empty() && (rest.front() == '+' || rest.front() == '-')) {
      negative = rest.front() == '-';
      rest.remove_prefix(1);
    }
    const std::string_view digits = TakeDigits(rest);
    if (digits.empty()) return "digits are missing in the exponent";
    constexpr int64_t kClamp = int64_t{1} << 40;  // longer than any token
    for (char c : digits) parts->exponent = std::min(parts->exponent * 10 + (c - '0'), kClamp);
    if (negative) parts->exponent = -parts->exponent;
  }
  return rest.empty() ? nullptr : "there are characters that do not belong to it";
}

}  // namespace

Quantity Quantity::Normalized(int128 mantissa, uint8_t scale) {
  if (mantissa == 0) return {0, 0};
  while (scale > 0 && mantissa % 10 == 0) {
    mantissa /= 10;
    --scale;
  }
  return {mantissa, scale};
}

Result<Quantity> Quantity::Parse(std::string_view token) {
  Parts parts;
  if (const char* fault = Split(token, &parts)) return Invalid(token, fault);

  // Significant digits are those between the first and the last that is not zero.
  auto digit = [&](size_t i) {
    return i < parts.whole.size() ? parts.whole[i] : parts.fraction[i - parts.whole.size()];
  };
  size_t begin = 0, end = parts.whole.size() + parts.fraction.size();
  const int64_t point = static_cast<int64_t>(parts.whole.size()) + parts.exponent;
  while (begin < end && digit(begin) == '0') ++begin;
  while (end > begin && digit(end - 1) == '0') --end;
  if (begin == end) return Quantity{};

  const int64_t scale = static_cast<int64_t>(end) - point;  // decimals needed
  if (scale > kScaleMax) {
    return Status::InvalidArgument("quantity_too_precise",
                                   "'" + std::string(token.substr(0, 64)) +
                                       "' needs more than 12 decimals");
  }
  const Status out_of_range = Status::InvalidArgument(
      "quantity_out_of_range",
      "'" + std::string(token.substr(0, 64)) + "' does not fit 128 bits");
  const int64_t zeros = std::max<int64_t>(-scale, 0);  // behind the significant digits
  if (static_cast<int64_t>(end - begin) + zeros > 39) return out_of_range;  // 2^127 has 39 digits
  uint128 magnitude = 0;
  auto push = [&](unsigned value) {
    if (magnitude > (kMagnitudeMax - value) / 10) return false;
    magnitude = magnitude * 10 + value;
    return true;
  };
  for (size_t i = begin; i < end; ++i) {
    if (!push(static_cast<unsigned>(digit(i) - '0'))) return out_of_range;
  }
  for (int64_t i = 0; i < zeros; ++i) {
    if (!push(0)) return out_of_range;
  }
  if (!parts.negative && magnitude == kMagnitudeMax) return out_of_range;
  const int128 mantissa = static_cast<int128>(parts.negative ? -magnitude : magnitude);
  return Quantity{mantissa, static_cast<uint8_t>(std::max<int64_t>(scale, 0))};
}

std::string Quantity::ToString() const {
  TALLY_CHECK(scale <= kScaleMax);
  uint128 magnitude = static_cast<uint128>(mantissa);
  if (mantissa < 0) magnitude = -magnitude;
  char digits[48];
  char* at = digits + sizeof digits;
  int count = 0;
  do {
    if (count == scale && count > 0) *--at = '.';
    *--at = static_cast<char>('0' + static_cast<int>(magnitude % 10));
    magnitude /= 10;
    ++count;
  } while (magnitude != 0 || count <= scale);
  if (mantissa < 0) *--at = '-';
  return std::string(at, digits + sizeof digits);
}

}  // namespace tallystick
