#include "server/time_parse.h"

#include <charconv>
#include <chrono>
#include <optional>

#include <fmt/format.h>

#include "base/utf8.h"

namespace tallystick {
namespace {

Status InvalidTime(std::string_view text) {
  return Status::InvalidArgument(
      "invalid_time",
      fmt::format("`{}` is no time: RFC 3339 with a zone (\"2026-06-01T00:00:00Z\"; a "
                  "'+' in a query is written %2B) or epoch milliseconds",
                  Shown(text)));
}

// Takes fixed-width parts off the front of a text.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool done() const { return text_.empty(); }

  std::optional<int> Digits(size_t count) {
    if (text_.size() < count) return std::nullopt;
    int value = 0;
    for (size_t i = 0; i < count; ++i) {
      if (text_[i] < '0' || text_[i] > '9') return std::nullopt;
      value = value * 10 + (text_[i] - '0');
    }
    text_.remove_prefix(count);
    return value;
  }

  bool Take(std::string_view one_of) {
    if (text_.empty() || one_of.find(text_[0]) == std::string_view::npos) return false;
    last_ = text_[0];
    text_.remove_prefix(1);
    return true;
  }

  char last() const { return last_; }

 private:
  std::string_view text_;
  char last_ = 0;
};

// Digits behind the point, at least one; all beyond the third are dropped.
std::optional<int> ReadMilliseconds(Reader& reader) {
  int milliseconds = 0;
  int unit = 100;
  size_t digits = 0;
  while (auto digit = reader.Digits(1)) {
    milliseconds += *digit * unit;
    unit /= 10;
    ++digits;
  }
  if (digits == 0) return std::nullopt;
  return milliseconds;
}

std::optional<int64_t> ReadOffsetMs(Reader& reader) {
  if (reader.Take("Zz")) return 0;
  if (!reader.Take("+-")) return std::nullopt;
  const int sign = reader.last() == '-' ? -1 : 1;
  const auto hours = reader.Digits(2);
  if (!hours || *hours > 23 || !reader.Take(":")) return std::nullopt;
  const auto minutes = reader.Digits(2);
  if (!minutes || *minutes > 59) return std::nullopt;
  return int64_t{sign} * (*hours * 60 + *minutes) * 60'000;
}

std::optional<int64_t> ParseRfc3339(std::string_view text) {
  Reader reader(text);
  const auto year = reader.Digits(4);
  if (!year || !reader.Take("-")) return std::nullopt;
  const auto month = reader.Digits(2);
  if (!month || !reader.Take("-")) return std::nullopt;
  const auto day = reader.Digits(2);
  if (!day || !reader.Take("Tt ")) return std::nullopt;
  const auto hour = reader.Digits(2);
  if (!hour || !reader.Take(":")) return std::nullopt;
  const auto minute = reader.Digits(2);
  if (!minute || !reader.Take(":")) return std::nullopt;
  const auto second = reader.Digits(2);
  if (!second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;

  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) return std::nullopt;

  int milliseconds = 0;
  if (reader.Take(".")) {
    const auto fraction = ReadMilliseconds(reader);
    if (!fraction) return std::nullopt;
    milliseconds = *fraction;
  }
  const auto offset_ms = ReadOffsetMs(reader);
  if (!offset_ms || !reader.done()) return std::nullopt;

  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const int64_t seconds = ((days * 24 + *hour) * 60 + *minute) * 60 + *second;
  return seconds * 1000 + milliseconds - *offset_ms;
}

bool LooksLikeInteger(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

Result<int64_t> ParseTime(std::string_view text) {
  if (LooksLikeInteger(text)) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return InvalidTime(text);
    return value;
  }
  const auto time = ParseRfc3339(text);
  if (!time) return InvalidTime(text);
  return *time;
}

std::string FormatTime(int64_t epoch_ms) {
  constexpr int64_t kYear0Ms = -62'167'219'200'000;
  constexpr int64_t kYear10000Ms = 253'402'300'800'000;
  if (epoch_ms < kYear0Ms || epoch_ms >= kYear10000Ms) return std::to_string(epoch_ms);

  using std::chrono::floor;
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(epoch_ms)};
  const auto days = floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(days);
  const int64_t ms = (time - days).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60, ms % 1000);
}

}  // namespace tallystick
