#include "server/time_parse.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tallystick {
namespace {

int64_t Parsed(std::string_view text) {
  auto time = ParseTime(text);
  EXPECT_TRUE(time.ok()) << text << ": " << time.status().ToString();
  return time.ok() ? *time : INT64_MIN;
}

TEST(TimeParse, EpochMilliseconds) {
  EXPECT_EQ(Parsed("1782000000000"), 1782000000000);
  EXPECT_EQ(Parsed("0"), 0);
  EXPECT_EQ(Parsed("-5"), -5);
  EXPECT_EQ(Parsed("9223372036854775807"), INT64_MAX);
}

TEST(TimeParse, Rfc3339Forms) {
  const int64_t midnight = 1780272000000;
  for (const char* text : {"2026-06-01T00:00:00Z", "2026-06-01t00:00:00z", "2026-06-01 00:00:00Z",
                           "2026-06-01T02:00:00+02:00", "2026-05-31T18:30:00-05:30",
                           "2026-06-01T00:00:00.0Z", "2026-06-01T00:00:00-00:00"}) {
    EXPECT_EQ(Parsed(text), midnight) << text;
  }
}

TEST(TimeParse, FractionsAreCutToMilliseconds) {
  EXPECT_EQ(Parsed("1970-01-01T00:00:00.1Z"), 100);
  EXPECT_EQ(Parsed("1970-01-01T00:00:00.0019999999999999999999Z"), 1);
  EXPECT_EQ(Parsed("1969-12-31T23:59:59.9999Z"), -1);
}

TEST(TimeParse, LeapDaysAndLeapSeconds) {
  EXPECT_EQ(Parsed("2024-02-29T00:00:00Z"), 1709164800000);
  EXPECT_EQ(Parsed("2016-12-31T23:59:60Z"), Parsed("2017-01-01T00:00:00Z"));
  EXPECT_FALSE(ParseTime("2023-02-29T00:00:00Z").ok());
  EXPECT_FALSE(ParseTime("1900-02-29T00:00:00Z").ok());
}

TEST(TimeParse, EverythingElseIsRefused) {
  for (const char* text : {"",
                           "-",
                           "2026-06-01",
                           "2026-06-01T00:00:00",
                           "2026-06-01T00:00Z",
                           "2026-06-01T24:00:00Z",
                           "2026-06-01T00:60:00Z",
                           "2026-06-01T00:00:61Z",
                           "2026-13-01T00:00:00Z",
                           "2026-00-01T00:00:00Z",
                           "2026-06-00T00:00:00Z",
                           "2026-06-01T00:00:00.Z",
                           "2026-06-01T00:00:00+0200",
                           "2026-06-01T00:00:00+24:00",
                           "2026-06-01T00:00:00+02:60",
                           "2026-06-01T00:00:00Zx",
                           " 2026-06-01T00:00:00Z",
                           "26-06-01T00:00:00Z",
                           "1e3",
                           "+5",
                           "1.5",
                           "9223372036854775808",
                           "2026-06-01T00:00:00 02:00",
                           "\xff"}) {
    const auto time = ParseTime(text);
    ASSERT_FALSE(time.ok()) << text;
    EXPECT_EQ(time.status().reason(), "invalid_time") << text;
  }
}

RC_GTEST_PROP(TimeParse, ReadsBackWhatFormatTimePrints, (int64_t epoch_ms)) {
  const auto time = ParseTime(FormatTime(epoch_ms));
  RC_ASSERT(time.ok());
  RC_ASSERT(*time == epoch_ms);
}

TEST(FormatTime, PrintsUtc) {
  EXPECT_EQ(FormatTime(1780272000001), "2026-06-01T00:00:00.001Z");
  EXPECT_EQ(FormatTime(-1), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace tallystick
