// Little-endian integers, LEB128 varints and length-prefixed strings: how all of our bytes are laid
// out.
//
// Writing appends to a std::string-like buffer or stores at a pointer. Reading goes through
// Decoder, which is total: it never reads past its span, and once something did not fit it stays
// failed.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tallystick {

static_assert(std::endian::native == std::endian::little,
              "on-disk integers are copied; a big-endian port needs byte swaps here");

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;

template <typename T>
inline void StoreFixed(std::byte* out, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(out, &value, sizeof value);
}

template <typename T>
inline T LoadFixed(const std::byte* in) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

template <typename T>
inline void PutFixed(Bytes& out, T value) {
  const size_t at = out.size();
  out.resize(at + sizeof value);
  StoreFixed(out.data() + at, value);
}

inline constexpr size_t kVarint64BytesMax = 10;

inline size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++bytes;
  }
  return bytes;
}

// Returns the position behind the varint; `out` has kVarint64BytesMax bytes of room.
inline std::byte* StoreVarint(std::byte* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<std::byte>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<std::byte>(value);
  return out;
}

inline ByteSpan AsByteSpan(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads from the front of a span that it does not own. After the first read that does not fit,
// ok() is false and every further read gives zero or empty.
class Decoder {
 public:
  explicit Decoder(ByteSpan data) : data_(data) {}

  bool ok() const { return ok_; }
  size_t remaining() const { return data_.size() - at_; }
  size_t position() const { return at_; }

  template <typename T>
  T Fixed() {
    if (!Need(sizeof(T))) return T{};
    T value = LoadFixed<T>(data_.data() + at_);
    at_ += sizeof(T);
    return value;
  }

  // Only the shortest form is accepted, so that one value has one encoding.
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (!Need(1)) return 0;
      const auto byte = static_cast<uint8_t>(data_[at_++]);
      if (shift == 63 && byte > 1) return Fail();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) {
        if (byte == 0 && shift > 0) return Fail();
        return value;
      }
    }
    return Fail();
  }

  ByteSpan Raw(uint64_t bytes) {
    if (!Need(bytes)) return {};
    ByteSpan out = data_.subspan(at_, bytes);
    at_ += bytes;
    return out;
  }

  // Varint length, then that many bytes.
  std::string_view Text() { return AsText(Raw(Varint())); }

  uint64_t Fail() {
    ok_ = false;
    return 0;
  }

 private:
  bool Need(uint64_t bytes) {
    if (ok_ && bytes <= data_.size() - at_) return true;
    ok_ = false;
    return false;
  }

  ByteSpan data_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace tallystick
