// Eight digits are handled at once, one a byte of a word: branch-free, and the same on every
// machine.
#include "segment/uuid.h"

#include <bit>
#include <cstdint>

#include "base/coding.h"

namespace tallystick {
namespace {

constexpr uint64_t Each(uint8_t byte) { return 0x0101010101010101ull * byte; }

// Where four groups of eight digits stand in the text, as two halves of four each.
constexpr size_t kHalves[4][2] = {{0, 4}, {9, 14}, {19, 24}, {28, 32}};
constexpr size_t kDashes[4] = {8, 13, 18, 23};

uint64_t LoadDigits(const char* text, const size_t (&at)[2]) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text);
  return LoadFixed<uint32_t>(bytes + at[0]) | uint64_t{LoadFixed<uint32_t>(bytes + at[1])} << 32;
}

// In each byte the high bit says whether that byte of `word` (all < 0x80) is >= bound.
constexpr uint64_t AtLeast(uint64_t word, uint8_t bound) {
  return (word + Each(static_cast<uint8_t>(0x80 - bound))) & Each(0x80);
}

// High bits where a byte is no digit 0-9 or a-f; exact where all bytes are < 0x80.
constexpr uint64_t Wrong(uint64_t word) {
  const uint64_t digit = AtLeast(word, '0') & ~AtLeast(word, '9' + 1);
  const uint64_t letter = AtLeast(word, 'a') & ~AtLeast(word, 'f' + 1);
  return (~(digit | letter) & Each(0x80)) | (word & Each(0x80));
}

// Eight digits, the first in the lowest byte, to four bytes in the order of the digits.
constexpr uint32_t Pack(uint64_t word) {
  // A letter has bit 6: its low four bits are 1..6, to be 10..15.
  uint64_t nibbles = (word & Each(0x0f)) + ((word >> 6) & Each(0x01)) * 9;
  nibbles = (nibbles << 4 | nibbles >> 8) & 0x00ff00ff00ff00ffull;
  nibbles = (nibbles | nibbles >> 8) & 0x0000ffff0000ffffull;
  return static_cast<uint32_t>(nibbles | nibbles >> 16);
}

constexpr uint64_t Unpack(uint32_t bytes) {
  uint64_t spread = bytes;
  spread = (spread | spread << 16) & 0x0000ffff0000ffffull;
  spread = (spread | spread << 8) & 0x00ff00ff00ff00ffull;
  const uint64_t nibbles = (spread >> 4 | spread << 8) & Each(0x0f);
  const uint64_t letters = (AtLeast(nibbles, 10) >> 7) & Each(0x01);
  return nibbles + Each('0') + letters * ('a' - '0' - 10);
}

}  // namespace

bool PackUuid(std::string_view text, std::byte* uuid) {
  if (text.size() != kUuidTextBytes) return false;
  uint64_t wrong = 0;
  for (size_t i = 0; i < 4; ++i) {
    const uint64_t word = LoadDigits(text.data(), kHalves[i]);
    wrong |= Wrong(word);
    StoreFixed<uint32_t>(uuid + 4 * i, Pack(word));
  }
  for (const size_t at : kDashes) wrong |= static_cast<uint64_t>(text[at] ^ '-');
  return wrong == 0;
}

void UnpackUuid(const std::byte* uuid, char* text) {
  auto* out = reinterpret_cast<std::byte*>(text);
  for (size_t i = 0; i < 4; ++i) {
    const uint64_t word = Unpack(LoadFixed<uint32_t>(uuid + 4 * i));
    StoreFixed<uint32_t>(out + kHalves[i][0], static_cast<uint32_t>(word));
    StoreFixed<uint32_t>(out + kHalves[i][1], static_cast<uint32_t>(word >> 32));
  }
  for (const size_t at : kDashes) text[at] = '-';
}

}  // namespace tallystick
