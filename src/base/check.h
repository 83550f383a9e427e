// TALLY_CHECK is for our own mistakes only (never for bytes from a file, a socket or a caller): it
// prints the condition and aborts, in every build. TALLY_DCHECK is for checks that cost O(n); it is
// compiled in unless TALLY_NO_DCHECK is defined.
#pragma once

namespace tallystick {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}  // namespace tallystick

#define TALLY_CHECK(condition) \
  ((condition) ? (void)0 : ::tallystick::CheckFailed(#condition, __FILE__, __LINE__))

#ifdef TALLY_NO_DCHECK
#define TALLY_DCHECK(condition) ((void)0)
#else
#define TALLY_DCHECK(condition) TALLY_CHECK(condition)
#endif
