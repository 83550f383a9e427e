#include "cli/calendar.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kJune = 1'780'272'000'000;  // 2026-06-01T00:00:00Z

Calendar Zone(const std::string& name) {
  auto calendar = Calendar::Of(name);
  EXPECT_TRUE(calendar.ok()) << calendar.status().message();
  return calendar.ok() ? *calendar : Calendar();
}

TEST(Calendar, KnowsBucketsByTheirField) {
  EXPECT_EQ(BucketOf("hour_start_ms"), Bucket::kHour);
  EXPECT_EQ(BucketOf("day"), Bucket::kDay);
  EXPECT_EQ(BucketOf("month"), Bucket::kMonth);
  EXPECT_EQ(BucketOf("days"), std::nullopt);
}

TEST(Calendar, WritesBucketsOfUtc) {
  const Calendar utc = Zone("");
  EXPECT_EQ(utc.TextOf(Bucket::kDay, "1780272000000"), "2026-06-01");
  EXPECT_EQ(utc.TextOf(Bucket::kMonth, "1780272000000"), "2026-06");
  EXPECT_EQ(utc.TextOf(Bucket::kHour, "1780282800000"), "2026-06-01T03:00:00Z");
  EXPECT_EQ(utc.TextOf(Bucket::kDay, "-1"), "1969-12-31");
  EXPECT_EQ(utc.TextOf(Bucket::kMonth, "-1"), "1969-12");
}

TEST(Calendar, LeavesAloneWhatIsNoTime) {
  for (const char* text : {"", "x", "1780272000000x", "9223372036854775807", "-9223372036854775808",
                           "9223372036854775808"}) {
    EXPECT_EQ(Zone("").TextOf(Bucket::kDay, text), text);
  }
}

TEST(Calendar, CountsDaysOfTheZone) {
  const Calendar berlin = Zone("Europe/Berlin");
  EXPECT_EQ(berlin.TextOf(Bucket::kDay, std::to_string(kJune - 2 * kHourMs)), "2026-06-01");
  EXPECT_EQ(berlin.TextOf(Bucket::kDay, std::to_string(kJune - 2 * kHourMs - 1)), "2026-05-31");
  EXPECT_EQ(berlin.TextOf(Bucket::kMonth, std::to_string(kJune - 1)), "2026-06");
  EXPECT_EQ(berlin.TextOf(Bucket::kHour, std::to_string(kJune)), "2026-06-01T02:00:00+02:00");
  EXPECT_EQ(Zone("America/St_Johns").TextOf(Bucket::kHour, std::to_string(kJune)),
            "2026-05-31T21:30:00-02:30");
}

TEST(Calendar, TheDaysAroundAChangeOfTheClockFollowEachOther) {
  const Calendar berlin = Zone("Europe/Berlin");
  const int64_t saturday = 1'774'656'000'000 - kHourMs;  // 2026-03-28 in winter time
  const int64_t monday = saturday + 2 * kDayMs - kHourMs;
  const auto first = berlin.NumberOf(Bucket::kDay, saturday);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(berlin.Text(Bucket::kDay, *first), "2026-03-28");
  EXPECT_EQ(berlin.NumberOf(Bucket::kDay, monday), *first + 2);
  EXPECT_EQ(berlin.NumberOf(Bucket::kDay, monday - 1), *first + 1);
}

TEST(Calendar, ADayWithoutAMidnightIsADay) {
  const Calendar sao_paulo = Zone("America/Sao_Paulo");  // 2018-11-04 began at 01:00
  const auto number = sao_paulo.NumberOf(Bucket::kDay, 1'541'300'400'000);
  ASSERT_TRUE(number.has_value());
  EXPECT_EQ(sao_paulo.Text(Bucket::kDay, *number), "2018-11-04");
}

TEST(Calendar, ADayThatTheZoneLeftOutHasNoText) {
  const Calendar apia = Zone("Pacific/Apia");  // no 2011-12-30 there
  const auto before = apia.NumberOf(Bucket::kDay, 1'325'239'199'999);
  ASSERT_TRUE(before.has_value());
  EXPECT_EQ(apia.Text(Bucket::kDay, *before), "2011-12-29");
  EXPECT_EQ(apia.Text(Bucket::kDay, *before + 1), "");
  EXPECT_EQ(apia.NumberOf(Bucket::kDay, 1'325'239'200'000), *before + 2);
}

TEST(Calendar, MonthsHaveNumbersInOrder) {
  const Calendar utc = Zone("UTC");
  const auto december = utc.NumberOf(Bucket::kMonth, 1'767'225'599'999);
  ASSERT_TRUE(december.has_value());
  EXPECT_EQ(utc.Text(Bucket::kMonth, *december), "2025-12");
  EXPECT_EQ(utc.NumberOf(Bucket::kMonth, 1'767'225'600'000), *december + 1);
  EXPECT_EQ(utc.Text(Bucket::kMonth, *december + 1), "2026-01");
}

TEST(Calendar, RefusesAnUnknownZone) {
  const auto calendar = Calendar::Of("Europe/Atlantis");
  ASSERT_FALSE(calendar.ok());
  EXPECT_EQ(calendar.status().reason(), "invalid_time_zone");
  EXPECT_NE(calendar.status().message().find("Europe/Atlantis"), std::string::npos);
}

}  // namespace
}  // namespace tallystick
