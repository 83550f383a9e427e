#include "cli/calendar.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <exception>

#include <date/tz.h>
#include <fmt/format.h>

namespace tallystick {
namespace {

constexpr int64_t kHourSeconds = 3600;
constexpr int64_t kDaySeconds = 24 * kHourSeconds;
// Years 0001..9998: whatever the offset, the local year has four digits.
constexpr int64_t kFirstMs = -62'135'596'800'000;
constexpr int64_t kEndMs = 253'370'764'800'000;

int64_t FloorDiv(int64_t value, int64_t by) { return (value - (value % by + by) % by) / by; }

date::year_month_day DateOf(int64_t day) {
  return date::year_month_day(date::local_days(date::days(static_cast<int>(day))));
}

std::string DateText(int64_t day) {
  const date::year_month_day date = DateOf(day);
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

}  // namespace

std::optional<Bucket> BucketOf(std::string_view field) {
  if (field == "hour_start_ms") return Bucket::kHour;
  if (field == "day") return Bucket::kDay;
  if (field == "month") return Bucket::kMonth;
  return std::nullopt;
}

Result<Calendar> Calendar::Of(const std::string& time_zone) {
  Calendar calendar;
  if (time_zone.empty() || time_zone == "UTC") return calendar;
  try {
    calendar.zone_ = date::locate_zone(time_zone);
  } catch (const std::exception& error) {
    return Status::InvalidArgument("invalid_time_zone",
                                   fmt::format("time zone `{}`: {}", time_zone, error.what()));
  }
  return calendar;
}

int64_t Calendar::OffsetSeconds(int64_t epoch_s) const {
  if (zone_ == nullptr) return 0;
  return zone_->get_info(date::sys_seconds(std::chrono::seconds(epoch_s))).offset.count();
}

std::optional<int64_t> Calendar::NumberOf(Bucket bucket, int64_t epoch_ms) const {
  if (epoch_ms < kFirstMs || epoch_ms >= kEndMs) return std::nullopt;
  const int64_t epoch_s = FloorDiv(epoch_ms, 1000);
  if (bucket == Bucket::kHour) return FloorDiv(epoch_s, kHourSeconds);
  const int64_t day = FloorDiv(epoch_s + OffsetSeconds(epoch_s), kDaySeconds);
  if (bucket == Bucket::kDay) return day;
  const date::year_month_day date = DateOf(day);
  return static_cast<int>(date.year()) * 12 +
         static_cast<int>(static_cast<unsigned>(date.month())) - 1;
}

std::string Calendar::Text(Bucket bucket, int64_t number) const {
  switch (bucket) {
    case Bucket::kHour: {
      const int64_t epoch_s = number * kHourSeconds;
      const int64_t offset = OffsetSeconds(epoch_s);
      const int64_t day = FloorDiv(epoch_s + offset, kDaySeconds);
      const int64_t second = epoch_s + offset - day * kDaySeconds;
      const std::string zone =
          zone_ == nullptr ? "Z"
                           : fmt::format("{}{:02}:{:02}", offset < 0 ? '-' : '+',
                                         std::abs(offset) / 3600, std::abs(offset) / 60 % 60);
      return fmt::format("{}T{:02}:{:02}:{:02}{}", DateText(day), second / 3600, second / 60 % 60,
                         second % 60, zone);
    }
    case Bucket::kDay: {
      if (zone_ != nullptr) {
        // The day's first instant lies in a later day: there is no such day.
        const date::local_seconds midnight(date::local_days(date::days(static_cast<int>(number))));
        const auto first = zone_->to_sys(midnight, date::choose::earliest);
        if (zone_->to_local(first) >= midnight + date::days(1)) return "";
      }
      return DateText(number);
    }
    case Bucket::kMonth:
      return fmt::format("{:04}-{:02}", FloorDiv(number, 12),
                         number - FloorDiv(number, 12) * 12 + 1);
  }
  return "";
}

std::string Calendar::TextOf(Bucket bucket, const std::string& epoch_ms) const {
  int64_t value = 0;
  const char* const end = epoch_ms.data() + epoch_ms.size();
  const auto [at, error] = std::from_chars(epoch_ms.data(), end, value);
  if (error != std::errc() || at != end) return epoch_ms;
  const std::optional<int64_t> number = NumberOf(bucket, value);
  return number ? Text(bucket, *number) : epoch_ms;
}

}  // namespace tallystick
