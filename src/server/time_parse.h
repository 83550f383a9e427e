// Points in time as clients write them: RFC 3339 with a zone, or epoch milliseconds.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tallystick/status.h"

namespace tallystick {

// Epoch milliseconds, UTC, of
//   "1782000000000"                     a decimal integer, '-' allowed
//   "2026-06-01T00:00:00Z"              'T', 't' or a blank; 'Z', 'z' or an offset "+02:00"
//   "2026-06-01 02:00:00.123456+02:00"  a fraction is cut to milliseconds
// Second 60 is the start of the next minute. A date alone, or a time without a zone, is refused.
// Error: kInvalidArgument `invalid_time`.
Result<int64_t> ParseTime(std::string_view text);

// "2026-06-01T00:00:00.000Z"; years beyond 0000..9999 are printed as epoch milliseconds, so that
// ParseTime reads back whatever this prints.
std::string FormatTime(int64_t epoch_ms);

}  // namespace tallystick
