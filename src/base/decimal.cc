#include "base/decimal.h"

#include <algorithm>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr uint64_t PowerOfTen(int exponent) {
  uint64_t power = 1;
  while (exponent-- > 0) power *= 10;
  return power;
}

void AddLimbs(std::array<uint64_t, 4>& to, const std::array<uint64_t, 4>& from) {
  unsigned carry = 0;
  for (size_t i = 0; i < to.size(); ++i) {
    const uint128 sum = static_cast<uint128>(to[i]) + from[i] + carry;
    to[i] = static_cast<uint64_t>(sum);
    carry = static_cast<unsigned>(sum >> 64);
  }
}

void Negate(std::array<uint64_t, 4>& limbs) {
  for (uint64_t& limb : limbs) limb = ~limb;
  AddLimbs(limbs, {1, 0, 0, 0});
}

}  // namespace

void ExactSum::Add(const Quantity& quantity) {
  TALLY_CHECK(quantity.scale <= Quantity::kScaleMax);
  const uint64_t factor = PowerOfTen(Quantity::kScaleMax - quantity.scale);
  uint128 magnitude = static_cast<uint128>(quantity.mantissa);
  if (quantity.mantissa < 0) magnitude = -magnitude;
  const uint128 low = static_cast<uint128>(static_cast<uint64_t>(magnitude)) * factor;
  const uint128 high =
      static_cast<uint128>(static_cast<uint64_t>(magnitude >> 64)) * factor + (low >> 64);
  std::array<uint64_t, 4> product = {static_cast<uint64_t>(low), static_cast<uint64_t>(high),
                                     static_cast<uint64_t>(high >> 64), 0};
  if (quantity.mantissa < 0) Negate(product);
  AddLimbs(limbs_, product);
}

void ExactSum::Add(const ExactSum& other) { AddLimbs(limbs_, other.limbs_); }

bool ExactSum::IsZero() const {
  return std::ranges::all_of(limbs_, [](uint64_t limb) { return limb == 0; });
}

ExactSum ExactSum::FromLimbs(const std::array<uint64_t, 4>& limbs) {
  ExactSum sum;
  sum.limbs_ = limbs;
  return sum;
}

std::string ExactSum::ToString() const {
  std::array<uint64_t, 4> rest = limbs_;
  const bool negative = (rest[3] >> 63) != 0;
  if (negative) Negate(rest);
  // Long division by ten, digits from the last; 2^256 has 78.
  char digits[96];
  char* at = digits + sizeof digits;
  int count = 0;
  bool significant = false;  // a digit behind the point that must be printed was seen
  auto nonzero = [&] { return std::ranges::any_of(rest, [](uint64_t limb) { return limb != 0; }); };
  do {
    uint128 remainder = 0;
    for (size_t i = rest.size(); i-- > 0;) {
      const uint128 part = (remainder << 64) | rest[i];
      rest[i] = static_cast<uint64_t>(part / 10);
      remainder = part % 10;
    }
    const int digit = static_cast<int>(remainder);
    if (count == Quantity::kScaleMax && significant) *--at = '.';
    significant = significant || digit != 0;
    if (significant || count >= Quantity::kScaleMax) *--at = static_cast<char>('0' + digit);
    ++count;
  } while (nonzero() || count <= Quantity::kScaleMax);
  if (negative) *--at = '-';
  return std::string(at, digits + sizeof digits);
}

}  // namespace tallystick
