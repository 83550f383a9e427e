// Checks and reads single JSON tokens, which simdjson's On-Demand reader hands out unchecked.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tallystick {

// What must be readable (and may be written) behind a text that is parsed.
inline constexpr size_t kJsonPaddingBytes = 64;
// Deeper nesting than this is refused as invalid_json.
inline constexpr size_t kJsonDepthMax = 64;

// The grammar of RFC 8259, section 6: no leading zeros, no '+', digits on both sides of a point.
bool IsJsonNumber(std::string_view token);

// A number, true, false or null.
bool IsJsonScalar(std::string_view token);

// A JSON number without fraction and exponent that fits.
std::optional<int64_t> ParseJsonInteger(std::string_view token);

// The first '"' or '\\' at or behind `at`. REQUIRES: there is one, and 64 readable bytes behind it.
const char* FindQuoteOrBackslash(const char* at);

}  // namespace tallystick
