// Time buckets: hours in UTC, days and months in a time zone (the system's tz database, by
// Howard Hinnant's date library).
//
// A bucket begins at the earliest instant of its local midnight (where that does not exist, at the
// transition that skips it), and ends where the next one begins. So buckets tile the time line,
// whatever a zone has done to its clocks.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <string>

#include "tallystick/query.h"

namespace date {
class time_zone;
}

namespace tallystick {

// Half-open.
struct TimeRange {
  int64_t begin_ms = 0;
  int64_t end_ms = 0;
  bool Has(int64_t ms) const { return ms >= begin_ms && ms < end_ms; }
  friend bool operator==(const TimeRange&, const TimeRange&) = default;
};

class TimeZone {
 public:
  TimeZone() = default;  // UTC
  // An IANA name; empty is UTC. kInvalidArgument `invalid_time_zone`.
  static Result<TimeZone> Find(const std::string& name);
  const date::time_zone* zone() const { return zone_; }  // null: UTC

 private:
  const date::time_zone* zone_ = nullptr;
};

class TimeBuckets {
 public:
  // REQUIRES: kind is a bucket.
  TimeBuckets(Field::Kind kind, const TimeZone& zone) : kind_(kind), zone_(zone) {}
  // The bucket that the instant lies in; at the ends of the 64-bit line cut off there.
  TimeRange Of(int64_t ms) const;

 private:
  Field::Kind kind_;
  TimeZone zone_;
};

}  // namespace tallystick
