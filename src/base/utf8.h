// UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tallystick {

// The offset of the first byte that is not part of valid UTF-8; text.size() if all of it is.
size_t FirstInvalidUtf8(std::string_view text);

inline bool IsUtf8(std::string_view text) { return FirstInvalidUtf8(text) == text.size(); }

// `text` (any bytes) fit to be shown in a message: cut to `bytes_max` at the start of a character,
// and each byte that is no UTF-8 replaced by '?'.
std::string Shown(std::string_view text, size_t bytes_max = 64);

}  // namespace tallystick
