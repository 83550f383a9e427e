// Event ids that are UUIDs in the canonical form (8-4-4-4-12 lower-case hex digits), and the 16
// bytes that they stand for. Exactly these texts survive the way there and back.
#pragma once

#include <cstddef>
#include <string_view>

namespace tallystick {

inline constexpr size_t kUuidBytes = 16;
inline constexpr size_t kUuidTextBytes = 36;

// False, with any bytes, if `text` has another form.
bool PackUuid(std::string_view text, std::byte* uuid);
void UnpackUuid(const std::byte* uuid, char* text);

}  // namespace tallystick
