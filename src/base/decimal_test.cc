#include "base/decimal.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <boost/multiprecision/cpp_int.hpp>
#include <limits>
#include <string>
#include <vector>

namespace tallystick {
namespace {

using boost::multiprecision::cpp_int;

constexpr int128 kMax = std::numeric_limits<int128>::max();
constexpr int128 kMin = std::numeric_limits<int128>::min();

ExactSum SumOf(const std::vector<Quantity>& quantities) {
  ExactSum sum;
  for (const Quantity& quantity : quantities) sum.Add(quantity);
  return sum;
}

TEST(ExactSumTest, PrintsTheShortestExactForm) {
  EXPECT_EQ(ExactSum().ToString(), "0");
  EXPECT_EQ(SumOf({{125, 1}}).ToString(), "12.5");
  EXPECT_EQ(SumOf({{-3, 0}}).ToString(), "-3");
  EXPECT_EQ(SumOf({{-5, 2}}).ToString(), "-0.05");
  EXPECT_EQ(SumOf({{1, 12}}).ToString(), "0.000000000001");
  EXPECT_EQ(SumOf({{1, 12}, {-1, 12}}).ToString(), "0");
  EXPECT_EQ(SumOf({{1, 1}, {9, 1}}).ToString(), "1");
}

TEST(ExactSumTest, GoesBeyond128Bits) {
  EXPECT_EQ(SumOf({{kMax, 0}, {1, 0}}).ToString(), "170141183460469231731687303715884105728");
  EXPECT_EQ(SumOf({{kMin, 0}, {kMin, 0}}).ToString(), "-340282366920938463463374607431768211456");
  EXPECT_EQ(SumOf({{kMin, 0}, {kMax, 0}}).ToString(), "-1");
  EXPECT_EQ(SumOf({{kMax, 0}, {1, 12}}).ToString(),
            "170141183460469231731687303715884105727.000000000001");
}

TEST(ExactSumTest, AnUnnormalisedQuantityIsItsValue) {
  EXPECT_EQ(SumOf({{1500, 3}}), SumOf({{15, 1}}));
}

TEST(ExactSumTest, LimbsMakeTheSameSum) {
  const ExactSum sum = SumOf({{kMin, 0}, {-7, 3}});
  EXPECT_EQ(ExactSum::FromLimbs(sum.limbs()), sum);
  EXPECT_FALSE(sum.IsZero());
  EXPECT_TRUE(ExactSum::FromLimbs({0, 0, 0, 0}).IsZero());
  EXPECT_FALSE(ExactSum::FromLimbs({0, 0, 0, 1}).IsZero());
}

TEST(ExactSumTest, PrintsTheEndsOf256Bits) {
  // +-2^255 at scale 12.
  EXPECT_EQ(ExactSum::FromLimbs({0, 0, 0, uint64_t{1} << 63}).ToString(),
            "-57896044618658097711785492504343953926634992332820282019728792003.956564819968");
  EXPECT_EQ(
      ExactSum::FromLimbs({~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0} >> 1}).ToString(),
      "57896044618658097711785492504343953926634992332820282019728792003.956564819967");
}

Quantity AnyQuantity() {
  const auto high = *rc::gen::arbitrary<uint64_t>();
  const auto low = *rc::gen::arbitrary<uint64_t>();
  const int shift = *rc::gen::inRange(0, 128);
  return {static_cast<int128>(uint128{high} << 64 | low) >> shift,
          static_cast<uint8_t>(*rc::gen::inRange(0, Quantity::kScaleMax + 1))};
}

// The value times 10^12.
cpp_int Big(const Quantity& quantity) {
  cpp_int value = static_cast<int64_t>(quantity.mantissa >> 64);
  value *= cpp_int(1) << 64;
  value += static_cast<uint64_t>(quantity.mantissa);
  return value * boost::multiprecision::pow(cpp_int(10), Quantity::kScaleMax - quantity.scale);
}

std::string Printed(cpp_int value) {
  const bool negative = value < 0;
  std::string digits = negative ? cpp_int(-value).str() : value.str();
  if (digits.size() < 13) digits.insert(0, 13 - digits.size(), '0');
  digits.insert(digits.size() - 12, ".");
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.pop_back();
  return negative ? "-" + digits : digits;
}

RC_GTEST_PROP(ExactSumProperty, EqualsCppIntInAnyOrder, ()) {
  std::vector<Quantity> quantities(*rc::gen::inRange<size_t>(0, 40));
  cpp_int expected = 0;
  for (Quantity& quantity : quantities) {
    quantity = AnyQuantity();
    expected += Big(quantity);
  }
  const ExactSum forward = SumOf(quantities);
  std::ranges::reverse(quantities);
  RC_ASSERT(forward == SumOf(quantities));
  RC_ASSERT(forward.ToString() == Printed(expected));

  const size_t cut = quantities.size() / 3;
  ExactSum parts = SumOf({quantities.begin() + static_cast<std::ptrdiff_t>(cut), quantities.end()});
  parts.Add(SumOf({quantities.begin(), quantities.begin() + static_cast<std::ptrdiff_t>(cut)}));
  RC_ASSERT(parts == forward);
}

}  // namespace
}  // namespace tallystick
