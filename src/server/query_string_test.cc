#include "server/query_string.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tallystick {
namespace {

Target Parsed(std::string_view text) {
  auto target = Target::Parse(text);
  EXPECT_TRUE(target.ok()) << target.status().ToString();
  return target.ok() ? std::move(*target) : Target();
}

std::string Fault(std::string_view text) {
  const auto target = Target::Parse(text);
  return target.ok() ? "ok" : std::string(target.status().reason());
}

using Segments = std::vector<std::string>;

TEST(Target, SegmentsAreDecodedAfterTheyAreSplit) {
  EXPECT_EQ(Parsed("/v1/accounts/a%2Fb/usage").segments,
            (Segments{"v1", "accounts", "a/b", "usage"}));
  EXPECT_EQ(Parsed("/").segments, (Segments{""}));
  EXPECT_EQ(Parsed("/health/").segments, (Segments{"health", ""}));
  EXPECT_EQ(Parsed("/a+b").segments, (Segments{"a+b"})) << "a plus is a blank in queries only";
  EXPECT_EQ(Parsed("/%C3%A4").segments, (Segments{"\xC3\xA4"}));
}

TEST(Target, AbsoluteFormIsRead) {
  EXPECT_EQ(Parsed("http://host:8080/v1/status?a=1").segments, (Segments{"v1", "status"}));
  EXPECT_EQ(Parsed("http://host:8080/v1/status?a=1").query.parameters().size(), 1u);
}

TEST(Target, BrokenUrlsAreRefused) {
  for (const char* text : {"", "health", "*", "/%", "/%2", "/%zz", "/%ff", "/%ed%a0%80", "/a?b=%ff",
                           "/a?%c0%80=1", "/a?b=%4", "http://host"}) {
    EXPECT_EQ(Fault(text), "invalid_url") << text;
  }
}

TEST(QueryString, FormsOfPairs) {
  const Target target = Parsed("/p?a=1&b=x+y%2Bz&&c&d=&=e&f=1=2");
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(target.query.parameters(),
            (Pairs{{"a", "1"}, {"b", "x y+z"}, {"c", ""}, {"d", ""}, {"", "e"}, {"f", "1=2"}}));
}

TEST(QueryString, MissingAndRepeatedKeys) {
  const Target target = Parsed("/p?a=1&b=2&%61=3");
  EXPECT_EQ(target.query.Require("b").value(), "2");
  EXPECT_EQ(target.query.Require("c").status().reason(), "missing_parameter");
  EXPECT_EQ(target.query.Require("a").status().reason(), "duplicate_parameter");
  EXPECT_EQ(target.query.Get("a").status().reason(), "duplicate_parameter");
  EXPECT_FALSE(target.query.Get("c").value().has_value());
}

TEST(QueryString, NumbersHaveBounds) {
  const Target target = Parsed("/p?a=5&b=-1&c=1x&d=&e=18446744073709551616&f=18446744073709551615");
  const auto get = [&](std::string_view name) { return target.query.GetUint(name, 1, UINT64_MAX); };
  EXPECT_EQ(get("a").value(), 5u);
  EXPECT_EQ(get("f").value(), UINT64_MAX);
  EXPECT_EQ(get("z").value(), std::nullopt);
  for (const char* name : {"b", "c", "d", "e"}) {
    EXPECT_EQ(get(name).status().reason(), "invalid_parameter") << name;
  }
  EXPECT_FALSE(target.query.GetUint("a", 6, 9).ok());
  EXPECT_FALSE(target.query.GetUint("a", 1, 4).ok());
}

TEST(QueryString, Booleans) {
  const Target target = Parsed("/p?a=true&b=false&c=1");
  EXPECT_TRUE(target.query.GetBool("a").value());
  EXPECT_FALSE(target.query.GetBool("b").value());
  EXPECT_FALSE(target.query.GetBool("z").value());
  EXPECT_FALSE(target.query.GetBool("c").ok());
}

RC_GTEST_PROP(Target, AnyBytesGiveATargetOrAnError, (const std::string& text)) {
  const auto target = Target::Parse("/" + text);
  if (!target.ok()) RC_ASSERT(target.status().reason() == "invalid_url");
}

RC_GTEST_PROP(Target, EncodedSegmentsComeBack, (const std::string& raw)) {
  std::string text = raw;
  for (char& c : text) c = static_cast<char>(c & 0x7f);
  std::string encoded = "/";
  for (const char c : text) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    encoded += '%';
    encoded += kHex[static_cast<unsigned char>(c) >> 4];
    encoded += kHex[static_cast<unsigned char>(c) & 15];
  }
  const auto target = Target::Parse(encoded + "?" + encoded.substr(1) + "=" + encoded.substr(1));
  RC_ASSERT(target.ok());
  RC_ASSERT(target->segments == (Segments{text}));
  if (!text.empty()) RC_ASSERT(target->query.Require(text).value() == text);
}

}  // namespace
}  // namespace tallystick
