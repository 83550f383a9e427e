// Quantity: an exact decimal, mantissa / 10^scale, as an event carries it.
//
// The mantissa is a 128-bit integer and the scale 0..12, without trailing zeros (so 1, 1.0 and
// 10e-1 are one value with one representation, and operator== is equality of value). Every 128-bit
// integer is legal. Nothing here ever goes through a double.
//
// Thread rule: a value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tallystick/status.h"

namespace tallystick {

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

struct Quantity {
  static constexpr int kScaleMax = 12;

  int128 mantissa = 0;
  uint8_t scale = 0;

  static Quantity FromInteger(int128 value) { return {value, 0}; }

  // Parses a whole JSON number token ("-12.50", "1e3"): sign, digits, optional fraction, optional
  // exponent, no blanks, no leading '+', no leading zeros. Errors are kInvalidArgument with reason
  //   invalid_quantity       not such a token
  //   quantity_too_precise   needs more than 12 decimals
  //   quantity_out_of_range  does not fit 128 bits at the scale it needs
  // Time and memory are bounded by the token's length, whatever its exponent.
  static Result<Quantity> Parse(std::string_view token);

  // Shortest exact form: "12.5", "-3", "0"; never an exponent.
  std::string ToString() const;

  // Brings mantissa and scale to the one form without trailing zeros.
  static Quantity Normalized(int128 mantissa, uint8_t scale);

  friend bool operator==(const Quantity&, const Quantity&) = default;
};

}  // namespace tallystick
