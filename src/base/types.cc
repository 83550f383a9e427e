#include "base/types.h"

namespace tallystick {

std::string ToHex(const void* data, size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const auto* in = static_cast<const uint8_t*>(data);
  std::string out(bytes * 2, '0');
  for (size_t i = 0; i < bytes; ++i) {
    out[2 * i] = kDigits[in[i] >> 4];
    out[2 * i + 1] = kDigits[in[i] & 15];
  }
  return out;
}

std::string DatabaseId::ToHex() const { return tallystick::ToHex(bytes.data(), bytes.size()); }

}  // namespace tallystick
