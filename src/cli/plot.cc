#include "cli/plot.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/result.h"
#include "cli/table.h"

namespace tallystick {
namespace {

constexpr uint64_t kLinesMax = 100'000;
constexpr std::string_view kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
constexpr std::string_view kFull = "█";
constexpr std::string_view kRightHalf = "▐";
constexpr std::string_view kAxis = "│";

// For drawing only.
double ToDouble(std::string_view quantity) {
  double value = 0;
  const char* const end = quantity.data() + quantity.size();
  const auto [at, error] = std::from_chars(quantity.data(), end, value, std::chars_format::fixed);
  return error == std::errc() && at == end && std::isfinite(value) ? value : 0;
}

std::string Repeat(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

struct Series {
  std::string heading;
  std::map<int64_t, std::string> quantities;  // by the bucket's number
};

}  // namespace

size_t TerminalColumns() {
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

BarScale::BarScale(std::span<const std::string> quantities, size_t columns) {
  columns = std::max(columns, kColumnsMin);
  double highest = 0;
  double lowest = 0;
  for (const std::string& quantity : quantities) {
    highest = std::max(highest, ToDouble(quantity));
    lowest = std::min(lowest, ToDouble(quantity));
  }
  right_ = columns;
  if (lowest < 0) {
    axis_ = true;
    const size_t both = columns - 1;
    const double share = std::round(static_cast<double>(both) * (lowest / (lowest - highest)));
    left_ = std::clamp<size_t>(static_cast<size_t>(share), 1, highest > 0 ? both - 1 : both);
    right_ = both - left_;
    per_column_ = -lowest / static_cast<double>(left_);
  }
  if (highest > 0)
    per_column_ = std::max(axis_ ? per_column_ : 0, highest / static_cast<double>(right_));
}

std::string BarScale::Draw(std::string_view quantity) const {
  const double length = ToDouble(quantity) / per_column_;
  // `parts` a column, at least one unless it is zero.
  const auto parts_of = [](double columns, size_t room, size_t parts) {
    if (!(columns > 0)) return size_t{0};
    const double rounded = std::round(columns * static_cast<double>(parts));
    return static_cast<size_t>(std::clamp(rounded, 1.0, static_cast<double>(room * parts)));
  };

  const size_t halves = axis_ ? parts_of(-length, left_, 2) : 0;
  const size_t eighths = right_ > 0 ? parts_of(length, right_, 8) : 0;
  const size_t left_columns = (halves + 1) / 2;
  const size_t right_columns = (eighths + 7) / 8;
  std::string out(left_ - left_columns, ' ');
  if (halves % 2 == 1) out += kRightHalf;
  out += Repeat(kFull, halves / 2);
  if (axis_) out += kAxis;
  out += Repeat(kFull, eighths / 8);
  out += kEighths[eighths % 8];
  out.append(right_ - right_columns, ' ');
  return out;
}

Result<std::string> DrawPlot(std::span<const JsonRow> rows, const std::string& bucket_key,
                             std::span<const std::string> series_keys, const Calendar& calendar,
                             size_t width) {
  const std::optional<Bucket> bucket = BucketOf(bucket_key);
  TALLY_CHECK(bucket.has_value());
  std::vector<Series> all;
  std::map<std::vector<std::string>, size_t> by_keys;
  std::vector<std::string> quantities;
  size_t quantity_columns = 0;
  int64_t first = 0;
  int64_t last = -1;
  for (const JsonRow& row : rows) {
    const std::string& start = Member(row, bucket_key);
    int64_t epoch_ms = 0;
    std::optional<int64_t> number;
    const auto [at, error] = std::from_chars(start.data(), start.data() + start.size(), epoch_ms);
    if (error == std::errc() && at == start.data() + start.size()) {
      number = calendar.NumberOf(*bucket, epoch_ms);
    }
    if (!number) {
      return Status::Corruption(fmt::format("`{}` is `{:.40}`, no time", bucket_key, start));
    }
    first = quantities.empty() ? *number : std::min(first, *number);
    last = quantities.empty() ? *number : std::max(last, *number);

    std::vector<std::string> keys;
    std::string heading;
    for (const std::string& key : series_keys) {
      keys.push_back(Member(row, key));
      if (!heading.empty()) heading += ", ";
      heading += Printable(fmt::format("{}={}", key, keys.back()));
    }
    const auto [found, is_new] = by_keys.emplace(std::move(keys), all.size());
    if (is_new) all.push_back({std::move(heading), {}});
    const std::string quantity = Printable(Member(row, "quantity"));
    quantity_columns = std::max(quantity_columns, Columns(quantity));
    if (!all[found->second].quantities.emplace(*number, quantity).second) {
      return Status::Corruption(fmt::format("two lines for {} of one series: one would be lost",
                                            calendar.Text(*bucket, *number)));
    }
    quantities.push_back(quantity);
  }
  const uint64_t buckets = static_cast<uint64_t>(last - first) + 1;
  if (buckets * all.size() > kLinesMax) {
    return Status::InvalidArgument(
        "plot_too_long",
        fmt::format("{} lines of {}: more than {}; narrow --from and --to, or use larger buckets",
                    buckets * all.size(), bucket_key, kLinesMax));
  }

  const size_t text_columns = Columns(calendar.Text(*bucket, first));
  const size_t taken = text_columns + 2 + 2 + quantity_columns;
  const BarScale scale(quantities, width > taken ? width - taken : 0);
  std::string out;
  for (const Series& series : all) {
    if (!out.empty()) out += '\n';
    if (!series.heading.empty()) out += series.heading + '\n';
    for (int64_t number = first; number <= last; ++number) {
      const std::string text = calendar.Text(*bucket, number);
      if (text.empty()) continue;
      const auto found = series.quantities.find(number);
      const std::string_view quantity =
          found == series.quantities.end() ? std::string_view() : found->second;
      std::string line = fmt::format("{:<{}}  {}  ", text, text_columns, scale.Draw(quantity));
      line += std::string(quantity_columns - Columns(quantity), ' ');
      line += quantity;
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + '\n';
    }
  }
  return out;
}

}  // namespace tallystick
