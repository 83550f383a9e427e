// ExactSum: a sum of Quantities that cannot overflow.
//
// 256-bit two's complement at scale 12. A quantity is at most 2^127 * 10^12 < 2^167, so 2^64 rows
// stay below 2^231: no sum inside the engine can overflow, in any order, and addition is
// associative.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

#include "tallystick/quantity.h"

namespace tallystick {

class ExactSum {
 public:
  void Add(const Quantity& quantity);
  void Add(const ExactSum& other);
  bool IsZero() const;
  ExactSum Negated() const;
  std::string ToString() const;  // shortest exact form: "12.5", "-3", "0"

  const std::array<uint64_t, 4>& limbs() const { return limbs_; }  // least significant first
  static ExactSum FromLimbs(const std::array<uint64_t, 4>& limbs);

  friend bool operator==(const ExactSum&, const ExactSum&) = default;
  friend std::strong_ordering operator<=>(const ExactSum& a, const ExactSum& b);  // by value

 private:
  std::array<uint64_t, 4> limbs_{};
};

}  // namespace tallystick
