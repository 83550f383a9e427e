// A key as numbers: how keys are ordered, and where in an evenly spread range one belongs.
//
// Thread rule: values.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>

#include "base/coding.h"
#include "base/types.h"
#include "tallystick/quantity.h"

namespace tallystick {

// The two numbers that order a key bytewise.
struct KeyHalves {
  uint64_t leading = 0;
  uint64_t trailing = 0;
  friend auto operator<=>(const KeyHalves&, const KeyHalves&) = default;

  static KeyHalves At(const std::byte* key) {
    return {std::byteswap(LoadFixed<uint64_t>(key)), std::byteswap(LoadFixed<uint64_t>(key + 8))};
  }
  static KeyHalves Of(const EventHash& key) {
    return At(reinterpret_cast<const std::byte*>(key.bytes.data()));
  }
};

// The place of `value`, out of all 64-bit numbers in order, among `places` equal parts of them.
// Below `places`, and ascending with `value`.
inline uint64_t SpreadOver(uint64_t value, uint64_t places) {
  return static_cast<uint64_t>((static_cast<uint128>(value) * places) >> 64);
}

}  // namespace tallystick
