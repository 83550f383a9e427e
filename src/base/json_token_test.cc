#include "base/json_token.h"

#include <string>

#include <gtest/gtest.h>

namespace tallystick {
namespace {

TEST(JsonToken, NumbersFollowTheGrammar) {
  for (const char* token : {"0", "-0", "10", "1.5", "1e3", "1E+3", "-1.5e-300", "0.0", "1e400"}) {
    EXPECT_TRUE(IsJsonNumber(token)) << token;
  }
  for (const char* token : {"", "-", "+1", "01", "-01", "1.", ".5", "1.5.2", "1e", "1e+", "0x1",
                            "1a", " 1", "Infinity", "NaN", "1_000", "--1"}) {
    EXPECT_FALSE(IsJsonNumber(token)) << token;
  }
}

TEST(JsonToken, Scalars) {
  for (const char* token : {"true", "false", "null", "1"})
    EXPECT_TRUE(IsJsonScalar(token)) << token;
  for (const char* token : {"tru", "trues", "nul", "True", "\"a\"", ""}) {
    EXPECT_FALSE(IsJsonScalar(token)) << token;
  }
}

TEST(JsonToken, Integers) {
  EXPECT_EQ(ParseJsonInteger("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(ParseJsonInteger("-9223372036854775808"), INT64_MIN);
  EXPECT_FALSE(ParseJsonInteger("9223372036854775808"));
  EXPECT_FALSE(ParseJsonInteger("1.0"));
  EXPECT_FALSE(ParseJsonInteger("1e3"));
  EXPECT_FALSE(ParseJsonInteger(""));
}

TEST(JsonToken, FindsQuotesAndBackslashesAtEveryPlace) {
  for (size_t at = 0; at < 70; ++at) {
    for (const char c : {'"', '\\'}) {
      std::string text(200, 'x');
      text[at] = c;
      EXPECT_EQ(FindQuoteOrBackslash(text.data()) - text.data(), static_cast<ptrdiff_t>(at));
    }
  }
}

}  // namespace
}  // namespace tallystick
