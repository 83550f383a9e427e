#include "query/time_bucket.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

using Kind = Field::Kind;
constexpr int64_t kHour = 3'600'000, kDay = 24 * kHour;

TimeBuckets Buckets(Kind kind, const std::string& zone = "") {
  return {kind, TimeZone::Find(zone).value()};
}

TEST(TimeBucketTest, HoursAndDaysFloorTimesBeforeTheEpochToo) {
  const TimeBuckets hours = Buckets(Kind::kHourStartMs), days = Buckets(Kind::kDay);
  EXPECT_EQ(hours.Of(0), (TimeRange{0, kHour}));
  EXPECT_EQ(hours.Of(kHour - 1), (TimeRange{0, kHour}));
  EXPECT_EQ(hours.Of(-1), (TimeRange{-kHour, 0}));
  EXPECT_EQ(hours.Of(-kHour), (TimeRange{-kHour, 0}));
  EXPECT_EQ(days.Of(-1), (TimeRange{-kDay, 0}));
  EXPECT_EQ(days.Of(kDay), (TimeRange{kDay, 2 * kDay}));
}

TEST(TimeBucketTest, MonthsHaveTheirLengths) {
  const TimeBuckets months = Buckets(Kind::kMonth);
  EXPECT_EQ(months.Of(0), (TimeRange{0, 31 * kDay}));
  EXPECT_EQ(months.Of(31 * kDay), (TimeRange{31 * kDay, 59 * kDay}));
  EXPECT_EQ(months.Of(-1), (TimeRange{-31 * kDay, 0}));
  // February 2000, 2100 and 2024: 29, 28 and 29 days.
  EXPECT_EQ(months.Of(951'782'400'000), (TimeRange{949'363'200'000, 951'868'800'000}));
  EXPECT_EQ(months.Of(4'105'123'200'000 + kDay),
            (TimeRange{4'105'123'200'000, 4'105'123'200'000 + 28 * kDay}));
  EXPECT_EQ(months.Of(1'709'164'800'000).end_ms, 1'709'251'200'000);
}

TEST(TimeBucketTest, BucketsTileTheWholeLine) {
  for (const Kind kind : {Kind::kHourStartMs, Kind::kDay, Kind::kMonth}) {
    for (const char* zone : {"", "Europe/Berlin", "Asia/Kolkata"}) {
      const TimeBuckets buckets = Buckets(kind, zone);
      for (const int64_t ms : {INT64_MIN, INT64_MIN + 1, -62'135'596'800'000l, int64_t{0},
                               253'402'300'799'999l, INT64_MAX - 1}) {
        const TimeRange range = buckets.Of(ms);
        EXPECT_LE(range.begin_ms, ms);
        EXPECT_GT(range.end_ms, ms);
      }
    }
  }
}

TEST(TimeBucketTest, DaysOfAZoneAreLongOrShortWhereItsClocksAreMoved) {
  const TimeBuckets days = Buckets(Kind::kDay, "Europe/Berlin");
  const int64_t spring = 1'774'738'800'000;  // 2026-03-29 00:00 +01:00
  EXPECT_EQ(days.Of(spring), (TimeRange{spring, spring + 23 * kHour}));
  EXPECT_EQ(days.Of(spring + 23 * kHour - 1).begin_ms, spring);
  const int64_t autumn = 1'792'879'200'000;  // 2026-10-25 00:00 +02:00
  EXPECT_EQ(days.Of(autumn + kDay), (TimeRange{autumn, autumn + 25 * kHour}));
  EXPECT_EQ(Buckets(Kind::kMonth, "Europe/Berlin").Of(spring),
            (TimeRange{1'772'319'600'000, 1'774'994'400'000}));
}

TEST(TimeBucketTest, ADayBeginsInsideOfAnHourWhereTheZoneSaysSo) {
  const TimeRange day = Buckets(Kind::kDay, "Asia/Kolkata").Of(0);
  EXPECT_EQ(day, (TimeRange{-5 * kHour - kHour / 2, kDay - 5 * kHour - kHour / 2}));
}

TEST(TimeBucketTest, AMidnightThatDoesNotExistIsWhereTheClockWasMoved) {
  // Beirut went from 00:00 to 01:00 on 2022-03-27.
  const TimeRange day = Buckets(Kind::kDay, "Asia/Beirut").Of(1'648'335'600'000);
  EXPECT_EQ(day.begin_ms, 1'648'332'000'000);
  EXPECT_EQ(day.end_ms, 1'648'332'000'000 + 23 * kHour);
}

TEST(TimeBucketTest, AMidnightThatIsThereTwiceBeginsItsDayOnce) {
  // St. John's went from 00:01 back to 23:01 of the day before on 2006-10-29.
  const TimeBuckets days = Buckets(Kind::kDay, "America/St_Johns");
  const int64_t first_midnight = 1'162'089'000'000;  // 00:00 -02:30
  for (int64_t ms = first_midnight; ms < first_midnight + kDay; ms += kHour / 4) {
    EXPECT_EQ(days.Of(ms).begin_ms, first_midnight) << ms;
  }
  EXPECT_EQ(days.Of(first_midnight - 1).end_ms, first_midnight);
}

TEST(TimeBucketTest, ADayThatAZoneSkippedIsEmpty) {
  // Samoa had no 2011-12-30.
  const TimeBuckets days = Buckets(Kind::kDay, "Pacific/Apia");
  const int64_t moved = 1'325'239'200'000;
  EXPECT_EQ(days.Of(moved - 1).end_ms, moved);
  EXPECT_EQ(days.Of(moved), (TimeRange{moved, moved + kDay}));
}

TEST(TimeZoneTest, RefusesWhatIsNoName) {
  for (const char* name : {"Mars/Olympus", "../../etc/passwd", "europe/berlin", "+02:00"}) {
    EXPECT_EQ(TimeZone::Find(name).status().reason(), "invalid_time_zone") << name;
  }
  EXPECT_TRUE(TimeZone::Find("UTC").ok());
}

}  // namespace
}  // namespace tallystick
