// Cursors: where a listing goes on. Opaque to clients; lower-case hex of
//   u8 1, u64 incarnation, u64 LSN of the first page, u64 hash of the query, i64 last timestamp,
//   u64 last LSN, text that the last row is known by, u32 checksum
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "query/view.h"
#include "tallystick/event.h"

namespace tallystick {

struct Cursor {
  Lsn as_of;
  int64_t last_timestamp_ms = 0;  // of listings by time
  Lsn last_lsn;                   // of listings by LSN, or by time and then LSN
  std::string last_text;          // of listings by name
};

std::string EncodeCursor(const Cursor& cursor, uint64_t incarnation, uint64_t query_hash);

// kInvalidArgument: `foreign_cursor` from another incarnation of the database, `invalid_cursor` for
// anything else that is wrong: damaged, or of another query.
Result<Cursor> DecodeCursor(std::string_view text, uint64_t incarnation, uint64_t query_hash);

}  // namespace tallystick
