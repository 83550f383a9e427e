// Bars for people: usage by hour, day or month as text.
//
// Thread rule: pure functions; a BarScale is a value.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/calendar.h"
#include "cli/json_rows.h"
#include "tallystick/status.h"

namespace tallystick {

// The columns of the terminal that stdout is, else 80.
size_t TerminalColumns();

// Draws quantities as bars of block characters, all to one scale: the largest takes all the room,
// and everything that is not zero shows. Positive ones are exact to an eighth of a column. Where
// any is negative, a line stands at zero, and the negative bars are drawn to the left of it, exact
// to half a column. A bar is a picture: the quantity belongs beside it as text.
class BarScale {
 public:
  // At least kColumnsMin columns are used, however few are given.
  static constexpr size_t kColumnsMin = 10;
  BarScale(std::span<const std::string> quantities, size_t columns);

  // Exactly columns() wide. Text that is no number is drawn as zero.
  std::string Draw(std::string_view quantity) const;
  size_t columns() const { return left_ + (axis_ ? 1 : 0) + right_; }

 private:
  bool axis_ = false;
  size_t left_ = 0;
  size_t right_ = 0;
  double per_column_ = 1;
};

// Draws lines of an answer that was grouped by `bucket_key` (a bucket) and, maybe, by
// `series_keys`, names as they stand in the rows. A line of text for each bucket from the first to
// the last one of the answer, those without usage too, with the date, a bar and the exact quantity;
// one block for each series, in the order of the rows, all to one scale. kInvalidArgument
// `plot_too_long` beyond 100,000 lines; kCorruption if a bucket is no time, or occurs twice in a
// series.
Result<std::string> DrawPlot(std::span<const JsonRow> rows, const std::string& bucket_key,
                             std::span<const std::string> series_keys, const Calendar& calendar,
                             size_t width);

}  // namespace tallystick
