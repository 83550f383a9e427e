// The buckets of time that usage is grouped by, as a calendar counts them: hours of UTC, days and
// months of a time zone. Each bucket has a number; the next bucket has the next number.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tallystick/status.h"

namespace date {
class time_zone;
}

namespace tallystick {

enum class Bucket : uint8_t { kHour, kDay, kMonth };

// "hour_start_ms", "day", "month"; none for any other field.
std::optional<Bucket> BucketOf(std::string_view field);

class Calendar {
 public:
  Calendar() = default;  // UTC

  // An IANA name; "" is UTC. kInvalidArgument `invalid_time_zone`, also where the system's time
  // zone database is missing.
  static Result<Calendar> Of(const std::string& time_zone);

  // The number of the bucket that holds this time; none if its year is not one of 0001..9998.
  std::optional<int64_t> NumberOf(Bucket bucket, int64_t epoch_ms) const;

  // "2026-06-01T14:00:00+02:00" (an hour, in local time), "2026-06-01" or "2026-06". "" for a day
  // that the zone has left out (crossing the date line).
  std::string Text(Bucket bucket, int64_t number) const;

  // The text of the bucket that begins at `epoch_ms`, a number as text; anything else is returned
  // as it is.
  std::string TextOf(Bucket bucket, const std::string& epoch_ms) const;

 private:
  int64_t OffsetSeconds(int64_t epoch_s) const;

  const date::time_zone* zone_ = nullptr;  // null: UTC; lives as long as the program
};

}  // namespace tallystick
