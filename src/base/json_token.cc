#include "base/json_token.h"

#include <bit>
#include <charconv>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace tallystick {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes all leading digits; false if there was none.
bool TakeDigits(std::string_view& text) {
  size_t digits = 0;
  while (digits < text.size() && IsDigit(text[digits])) ++digits;
  text.remove_prefix(digits);
  return digits > 0;
}

}  // namespace

bool IsJsonNumber(std::string_view token) {
  if (token.starts_with('-')) token.remove_prefix(1);
  const bool zero_first = token.starts_with('0');
  const size_t before = token.size();
  if (!TakeDigits(token)) return false;
  if (zero_first && before - token.size() > 1) return false;
  if (token.starts_with('.')) {
    token.remove_prefix(1);
    if (!TakeDigits(token)) return false;
  }
  if (token.starts_with('e') || token.starts_with('E')) {
    token.remove_prefix(1);
    if (token.starts_with('+') || token.starts_with('-')) token.remove_prefix(1);
    if (!TakeDigits(token)) return false;
  }
  return token.empty();
}

bool IsJsonScalar(std::string_view token) {
  return token == "true" || token == "false" || token == "null" || IsJsonNumber(token);
}

std::optional<int64_t> ParseJsonInteger(std::string_view token) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (error != std::errc() || end != token.data() + token.size()) return std::nullopt;
  return value;
}

const char* FindQuoteOrBackslash(const char* at) {
#ifdef __SSE2__
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  for (;; at += 16) {
    __m128i bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    const int found = _mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)));
    if (found != 0) return at + std::countr_zero(static_cast<unsigned>(found));
  }
#else
  while (*at != '"' && *at != '\\') ++at;
  return at;
#endif
}

}  // namespace tallystick
