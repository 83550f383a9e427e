#include "query/cursor.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/coding.h"
#include "base/types.h"

namespace tallystick {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kBytes = 1 + 5 * 8 + 4;  // and the text
constexpr size_t kTextBytesMax = 64 << 10;

uint32_t Checksum(ByteSpan body) {
  return static_cast<uint32_t>(XXH3_64bits(body.data(), body.size()));
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool FromHex(std::string_view text, Bytes* out) {
  if (text.size() % 2 != 0 || text.size() < 2 * kBytes ||
      text.size() > 2 * (kBytes + kTextBytesMax)) {
    return false;
  }
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]), low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return false;
    out->push_back(static_cast<std::byte>(high * 16 + low));
  }
  return true;
}

}  // namespace

std::string EncodeCursor(const Cursor& cursor, uint64_t incarnation, uint64_t query_hash) {
  Bytes out;
  PutFixed<uint8_t>(out, kVersion);
  PutFixed<uint64_t>(out, incarnation);
  PutFixed<uint64_t>(out, cursor.as_of.value);
  PutFixed<uint64_t>(out, query_hash);
  PutFixed<int64_t>(out, cursor.last_timestamp_ms);
  PutFixed<uint64_t>(out, cursor.last_lsn.value);
  const ByteSpan name = AsByteSpan(cursor.last_text);
  out.insert(out.end(), name.begin(), name.end());
  PutFixed<uint32_t>(out, Checksum(out));
  return ToHex(out.data(), out.size());
}

Result<Cursor> DecodeCursor(std::string_view text, uint64_t incarnation, uint64_t query_hash) {
  const Status invalid = Status::InvalidArgument(
      "invalid_cursor", "cursor is not one that an earlier page of this query returned");
  Bytes bytes;
  if (!FromHex(text, &bytes)) return invalid;
  Decoder in(bytes);
  const auto version = in.Fixed<uint8_t>();
  const auto cursor_incarnation = in.Fixed<uint64_t>();
  Cursor cursor;
  cursor.as_of = {in.Fixed<uint64_t>()};
  const auto cursor_query = in.Fixed<uint64_t>();
  cursor.last_timestamp_ms = in.Fixed<int64_t>();
  cursor.last_lsn = {in.Fixed<uint64_t>()};
  cursor.last_text = AsText(in.Raw(bytes.size() - kBytes));
  const auto checksum = in.Fixed<uint32_t>();
  if (version != kVersion || checksum != Checksum(ByteSpan(bytes).first(bytes.size() - 4)))
    return invalid;
  if (cursor_incarnation != incarnation) {
    return Status::InvalidArgument(
        "foreign_cursor",
        "cursor is from before a restore or repair of this database, or from another database");
  }
  if (cursor_query != query_hash) return invalid;
  return cursor;
}

}  // namespace tallystick
