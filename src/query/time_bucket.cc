#include "query/time_bucket.h"

#include <date/date.h>
#include <date/tz.h>

#include <algorithm>
#include <stdexcept>

#include "base/check.h"

namespace tallystick {
namespace {

using std::chrono::floor;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kDayMs = 24 * kHourMs;
// Years 1 to 9999: beyond them a zone's offset is that of the nearer end.
constexpr int64_t kZoneFirstMs = -62'135'596'800'000 + kDayMs;
constexpr int64_t kZoneLastMs = 253'402'300'799'999 - kDayMs;

int64_t SaturatedAdd(int64_t a, int64_t b) {
  int64_t sum;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? INT64_MIN : INT64_MAX;
}

int64_t FloorDiv(int64_t value, int64_t unit) { return value / unit - (value % unit < 0 ? 1 : 0); }

// Days since the epoch of the first of the month that `months` after January 1970 is.
// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
int64_t DaysOfMonth(int64_t months) {
  int64_t year = 1970 + FloorDiv(months, 12);
  const int64_t month = months - FloorDiv(months, 12) * 12 + 1;
  year -= month <= 2 ? 1 : 0;
  const int64_t era = FloorDiv(year, 400);
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

// Months since January 1970 of a day; same source, civil_from_days.
int64_t MonthOfDay(int64_t day) {
  day += 719'468;
  const int64_t era = FloorDiv(day, 146'097);
  const int64_t day_of_era = day - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t shifted = (5 * day_of_year + 2) / 153;  // March is 0
  const int64_t month = shifted < 10 ? shifted + 2 : shifted - 10;
  const int64_t year = year_of_era + era * 400 + (month <= 1 ? 1 : 0);
  return (year - 1970) * 12 + month;
}

// Buckets are numbered along the local time line: days, or months since January 1970.
int64_t NumberOfDay(Field::Kind kind, int64_t day) {
  return kind == Field::Kind::kDay ? day : MonthOfDay(day);
}
int64_t FirstDay(Field::Kind kind, int64_t number) {
  return kind == Field::Kind::kDay ? number : DaysOfMonth(number);
}

TimeRange InFixedOffset(Field::Kind kind, int64_t ms, int64_t offset_ms) {
  const int64_t number = NumberOfDay(kind, FloorDiv(SaturatedAdd(ms, offset_ms), kDayMs));
  const auto start = [&](int64_t of) {
    int64_t start_ms;
    const int64_t day = FirstDay(kind, of);
    if (__builtin_mul_overflow(day, kDayMs, &start_ms)) return day < 0 ? INT64_MIN : INT64_MAX;
    return SaturatedAdd(start_ms, -offset_ms);
  };
  return {start(number), start(number + 1)};
}

}  // namespace

Result<TimeZone> TimeZone::Find(const std::string& name) {
  TimeZone found;
  if (name.empty() || name == "UTC") return found;
  try {
    found.zone_ = date::locate_zone(name);
  } catch (const std::runtime_error&) {
    return Status::InvalidArgument(
        "invalid_time_zone",
        "time_zone `" + name.substr(0, 64) + "` is no name of the tz database (as Europe/Berlin)");
  }
  return found;
}

TimeRange TimeBuckets::Of(int64_t ms) const {
  if (kind_ == Field::Kind::kHourStartMs) {
    const int64_t hour = FloorDiv(ms, kHourMs);
    int64_t begin, end;
    if (__builtin_mul_overflow(hour, kHourMs, &begin)) begin = INT64_MIN;
    if (__builtin_mul_overflow(hour + 1, kHourMs, &end)) end = INT64_MAX;
    return {begin, end};
  }
  TALLY_CHECK(kind_ == Field::Kind::kDay || kind_ == Field::Kind::kMonth);
  if (zone_.zone() == nullptr) return InFixedOffset(kind_, ms, 0);
  const date::sys_seconds at{seconds(FloorDiv(std::clamp(ms, kZoneFirstMs, kZoneLastMs), 1000))};
  if (ms < kZoneFirstMs || ms > kZoneLastMs) {
    const auto offset = zone_.zone()->get_info(at).offset;
    return InFixedOffset(kind_, ms, milliseconds(offset).count());
  }
  const auto start = [&](int64_t number) {
    const date::local_days midnight{date::days(FirstDay(kind_, number))};
    return milliseconds(zone_.zone()->to_sys(midnight, date::choose::earliest).time_since_epoch())
        .count();
  };
  const auto local_day = floor<date::days>(zone_.zone()->to_local(at));
  int64_t number = NumberOfDay(kind_, local_day.time_since_epoch().count());
  TimeRange range{start(number), start(number + 1)};
  // A clock that is set back over midnight shows the old day again: the new one has begun.
  while (ms >= range.end_ms) {
    ++number;
    range = {range.end_ms, start(number + 1)};
  }
  return range;
}

}  // namespace tallystick
