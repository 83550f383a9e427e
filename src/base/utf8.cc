#include "base/utf8.h"

#include <cstdint>

namespace tallystick {
namespace {

bool IsContinuation(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80;
}

// The bytes of the character that starts at `at`; 0 if none does.
size_t CharacterBytes(std::string_view text, size_t at) {
  const auto first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (!IsContinuation(text, at + 1)) return 0;
  if (first < 0xE0) return 2;
  const auto second = static_cast<uint8_t>(text[at + 1]);
  if (first == 0xE0 && second < 0xA0) return 0;   // overlong
  if (first == 0xED && second >= 0xA0) return 0;  // a surrogate
  if (!IsContinuation(text, at + 2)) return 0;
  if (first < 0xF0) return 3;
  if (first == 0xF0 && second < 0x90) return 0;  // overlong
  if (first == 0xF4 && second >= 0x90) return 0;
  if (first > 0xF4 || !IsContinuation(text, at + 3)) return 0;
  return 4;
}

}  // namespace

size_t FirstInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t bytes = CharacterBytes(text, at);
    if (bytes == 0) return at;
    at += bytes;
  }
  return at;
}

std::string Shown(std::string_view text, size_t bytes_max) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    const size_t bytes = CharacterBytes(text, at);
    const size_t shown = bytes == 0 ? 1 : bytes;
    if (out.size() + shown > bytes_max) {
      out += "...";
      break;
    }
    if (bytes == 0) {
      out += '?';
    } else {
      out += text.substr(at, bytes);
    }
    at += shown;
  }
  return out;
}

}  // namespace tallystick
