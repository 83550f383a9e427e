#include "tallystick/quantity.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/multiprecision/cpp_int.hpp>
#include <string>

namespace tallystick {
namespace {

using boost::multiprecision::cpp_int;

constexpr char kMax[] = "170141183460469231731687303715884105727";
constexpr char kMin[] = "-170141183460469231731687303715884105728";

struct Golden {
  std::string token;
  std::string answer;  // the shortest form, or the reason of the refusal
};

std::string AnswerOf(std::string_view token) {
  const Result<Quantity> parsed = Quantity::Parse(token);
  if (parsed.ok()) return parsed->ToString();
  EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument);
  return std::string(parsed.status().reason());
}

TEST(QuantityTest, GoldenEdges) {
  const std::string invalid = "invalid_quantity";
  const std::string precise = "quantity_too_precise";
  const std::string range = "quantity_out_of_range";
  const std::string max = kMax;
  const std::string min = kMin;
  const std::vector<Golden> goldens = {
      {"0", "0"},
      {"-0", "0"},
      {"0.000", "0"},
      {"-0.0e5", "0"},
      {"0e999999999999", "0"},
      {"0e-99999999999999999999999999", "0"},
      {"1", "1"},
      {"-1", "-1"},
      {"1.0", "1"},
      {"10e-1", "1"},
      {"1e3", "1000"},
      {"1E+3", "1000"},
      {"1.5e1", "15"},
      {"-12.50", "-12.5"},
      {"0.05", "0.05"},
      {"-0.000000000001", "-0.000000000001"},
      {"1e-12", "0.000000000001"},
      {"1.0000000000010", "1.000000000001"},
      {"1.0000000000001", precise},
      {"1e-13", precise},
      {"10e-13", "0.000000000001"},
      {"1e-999999999999999999999", precise},
      {"1e400", range},
      {"-1e400", range},
      {"1e999999999999999999999999", range},
      {"0.001e400", range},
      {"1e38", "1" + std::string(38, '0')},
      {"1e39", range},
      {"2e38", range},
      {max, max},
      {min, min},
      {max + ".0", max},
      {"170141183460469231731687303715884105728", range},
      {"-170141183460469231731687303715884105729", range},
      {"170141183460469231731687303.715884105727", "170141183460469231731687303.715884105727"},
      {"-170141183460469231731687303.715884105728", "-170141183460469231731687303.715884105728"},
      {"170141183460469231731687303.715884105728", range},
      {"340282366920938463463374607431768211456", range},  // 2^128: would wrap to 0
      {"340282366920938463463374607431768211457", range},
      {std::string(5000, '9'), range},
      {"0." + std::string(5000, '0') + "1", precise},
      {"0." + std::string(5000, '0') + "1e5001", "1"},
      {"1" + std::string(5000, '0') + "e-5000", "1"},
      {"1." + std::string(5000, '0'), "1"},
      {"", invalid},
      {"-", invalid},
      {"+1", invalid},
      {"--1", invalid},
      {"01", invalid},
      {"-01", invalid},
      {"00", invalid},
      {".5", invalid},
      {"1.", invalid},
      {"1.e5", invalid},
      {"1e", invalid},
      {"1e+", invalid},
      {"1e5.0", invalid},
      {"1.2.3", invalid},
      {" 1", invalid},
      {"1 ", invalid},
      {"1,5", invalid},
      {"0x10", invalid},
      {"1_000", invalid},
      {"NaN", invalid},
      {"Infinity", invalid},
      {"true", invalid},
      {std::string("1\0", 2), invalid},
      {"\xd9\xa1", invalid},  // an Arabic-Indic digit
  };
  for (const Golden& golden : goldens) {
    EXPECT_EQ(AnswerOf(golden.token), golden.answer) << golden.token.substr(0, 80);
  }
}

TEST(QuantityTest, OneValueHasOneRepresentation) {
  for (const char* token : {"1200", "1200.000", "1.2e3", "12e2", "120000e-2"}) {
    EXPECT_EQ(*Quantity::Parse(token), (Quantity{1200, 0})) << token;
  }
  EXPECT_EQ(Quantity::Normalized(0, 12), Quantity{});
  EXPECT_EQ(Quantity::Normalized(-1500, 2), (Quantity{-15, 0}));
  EXPECT_EQ(Quantity::Normalized(1500, 4), (Quantity{15, 2}));
  const int128 large = static_cast<int128>(1'000'000'000'000'000'000) * 1'000'000;
  EXPECT_EQ(Quantity::Normalized(large, 12), (Quantity{large / 1'000'000'000'000, 0}));
}

TEST(QuantityTest, ARefusalShowsAsMuchOfTheTokenAsIsUseful) {
  const Status status = Quantity::Parse("1\x01\xff" + std::string(1000, '7')).status();
  EXPECT_NE(status.message().find("1??777"), std::string::npos);
  EXPECT_LT(status.message().size(), 200u);
}

// An integer of any width up to 128 bits, so that both ends and small values are met.
int128 AnyMantissa() {
  const auto high = *rc::gen::arbitrary<uint64_t>();
  const auto low = *rc::gen::arbitrary<uint64_t>();
  const int shift = *rc::gen::inRange(0, 128);
  return static_cast<int128>(uint128{high} << 64 | low) >> shift;
}

cpp_int Big(int128 value) {
  const bool negative = value < 0;
  const uint128 magnitude = negative ? -static_cast<uint128>(value) : static_cast<uint128>(value);
  cpp_int big = static_cast<uint64_t>(magnitude >> 64);
  big <<= 64;
  big += static_cast<uint64_t>(magnitude);
  return negative ? cpp_int(-big) : big;
}

RC_GTEST_PROP(QuantityProperty, ParsesWhatCppIntPrints, ()) {
  const int128 mantissa = AnyMantissa();
  const int scale = *rc::gen::inRange(0, Quantity::kScaleMax + 1);
  const std::string token = Big(mantissa).str() + "e-" + std::to_string(scale);
  const Result<Quantity> parsed = Quantity::Parse(token);
  RC_ASSERT(parsed.ok());
  RC_ASSERT(*parsed == Quantity::Normalized(mantissa, static_cast<uint8_t>(scale)));
  // The same value: mantissa * 10^(12 - scale) on both sides.
  const auto at12 = [](const Quantity& quantity) {
    return Big(quantity.mantissa) *
           boost::multiprecision::pow(cpp_int(10), Quantity::kScaleMax - quantity.scale);
  };
  RC_ASSERT(at12(*parsed) == at12(Quantity{mantissa, static_cast<uint8_t>(scale)}));
  RC_ASSERT(*Quantity::Parse(parsed->ToString()) == *parsed);
}

RC_GTEST_PROP(QuantityProperty, AgreesWithCppIntOnWhatFits, ()) {
  const std::string digits = *rc::gen::container<std::string>(rc::gen::inRange('0', char('9' + 1)));
  const int exponent = *rc::gen::inRange(-60, 60);
  const std::string token = "1" + digits + "e" + std::to_string(exponent);
  const Result<Quantity> parsed = Quantity::Parse(token);
  // The fewest decimals that it needs, then whether the mantissa fits.
  cpp_int value("1" + digits);
  int power = exponent;
  for (; value % 10 == 0; ++power) value /= 10;
  if (power > 0) value *= boost::multiprecision::pow(cpp_int(10), static_cast<unsigned>(power));
  const bool precise = power < -Quantity::kScaleMax;
  const bool large = value > cpp_int(kMax);
  RC_ASSERT(parsed.ok() == (!precise && !large));
  if (precise) RC_ASSERT(parsed.status().reason() == "quantity_too_precise");
}

}  // namespace
}  // namespace tallystick
