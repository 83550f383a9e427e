#include "base/decimal.h"

#include <iterator>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr std::array<uint64_t, Quantity::kScaleMax + 1> kPowersOfTen = {1ull,
                                                                        10ull,
                                                                        100ull,
                                                                        1'000ull,
                                                                        10'000ull,
                                                                        100'000ull,
                                                                        1'000'000ull,
                                                                        10'000'000ull,
                                                                        100'000'000ull,
                                                                        1'000'000'000ull,
                                                                        10'000'000'000ull,
                                                                        100'000'000'000ull,
                                                                        1'000'000'000'000ull};
constexpr uint64_t kTenTo19 = 10'000'000'000'000'000'000ull;  // the largest power in 64 bits
constexpr size_t kDigitsMax = 5 * 19;                         // 2^256 has 78

void AddLimbs(std::array<uint64_t, 4>& to, const std::array<uint64_t, 4>& other) {
  uint128 carry = 0;
  for (size_t i = 0; i < 4; ++i) {
    carry += uint128{to[i]} + other[i];
    to[i] = static_cast<uint64_t>(carry);
    carry >>= 64;
  }
}

void Negate(std::array<uint64_t, 4>& limbs) {
  for (uint64_t& limb : limbs) limb = ~limb;
  AddLimbs(limbs, {1, 0, 0, 0});
}

// Divides in place; returns the remainder.
uint64_t DivideByTenTo19(std::array<uint64_t, 4>& limbs) {
  uint128 rest = 0;
  for (size_t i = 4; i-- > 0;) {
    rest = (rest << 64) | limbs[i];
    limbs[i] = static_cast<uint64_t>(rest / kTenTo19);
    rest %= kTenTo19;
  }
  return static_cast<uint64_t>(rest);
}

}  // namespace

void ExactSum::Add(const Quantity& quantity) {
  TALLY_CHECK(quantity.scale <= Quantity::kScaleMax);
  const bool negative = quantity.mantissa < 0;
  const auto mantissa = static_cast<uint128>(quantity.mantissa);
  const uint128 magnitude = negative ? -mantissa : mantissa;
  const uint64_t factor = kPowersOfTen[Quantity::kScaleMax - quantity.scale];
  const uint128 low = uint128{static_cast<uint64_t>(magnitude)} * factor;
  const uint128 high = (magnitude >> 64) * factor + (low >> 64);
  std::array<uint64_t, 4> term = {static_cast<uint64_t>(low), static_cast<uint64_t>(high),
                                  static_cast<uint64_t>(high >> 64), 0};
  if (negative) Negate(term);
  AddLimbs(limbs_, term);
}

void ExactSum::Add(const ExactSum& other) { AddLimbs(limbs_, other.limbs_); }

ExactSum ExactSum::Negated() const {
  ExactSum negated = *this;
  Negate(negated.limbs_);
  return negated;
}

std::strong_ordering operator<=>(const ExactSum& a, const ExactSum& b) {
  constexpr uint64_t kSign = uint64_t{1} << 63;  // turned over, signed order is unsigned order
  for (size_t i = 4; i-- > 0;) {
    const uint64_t flip = i == 3 ? kSign : 0;
    if (a.limbs_[i] != b.limbs_[i]) return (a.limbs_[i] ^ flip) <=> (b.limbs_[i] ^ flip);
  }
  return std::strong_ordering::equal;
}

bool ExactSum::IsZero() const { return limbs_ == std::array<uint64_t, 4>{}; }

std::string ExactSum::ToString() const {
  std::array<uint64_t, 4> rest = limbs_;
  const bool negative = (rest[3] >> 63) != 0;
  if (negative) Negate(rest);

  std::array<char, kDigitsMax> digits;  // least significant first
  size_t count = 0;
  while (rest != std::array<uint64_t, 4>{}) {
    uint64_t part = DivideByTenTo19(rest);
    for (int i = 0; i < 19; ++i, part /= 10) digits[count++] = static_cast<char>('0' + part % 10);
  }
  while (count < Quantity::kScaleMax + 1) digits[count++] = '0';
  while (count > Quantity::kScaleMax + 1 && digits[count - 1] == '0') --count;

  std::string out = negative ? "-" : "";
  out.append(std::reverse_iterator(digits.begin() + count),
             std::reverse_iterator(digits.begin() + Quantity::kScaleMax));
  size_t last = 0;
  while (last < Quantity::kScaleMax && digits[last] == '0') ++last;
  if (last == Quantity::kScaleMax) return out;
  out += '.';
  out.append(std::reverse_iterator(digits.begin() + Quantity::kScaleMax),
             std::reverse_iterator(digits.begin() + last));
  return out;
}

ExactSum ExactSum::FromLimbs(const std::array<uint64_t, 4>& limbs) {
  ExactSum sum;
  sum.limbs_ = limbs;
  return sum;
}

}  // namespace tallystick
