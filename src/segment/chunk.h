// How the values of one column of one row group are laid out: integers, texts, quantities, event
// ids, correction references. Writing appends to a buffer. Reading is a view over bytes that it
// does not own: Parse is total (any bytes give a view or false), and a view gives every row in O(1)
// (but for a binary search among correction references).
//
// Little-endian throughout. docs/formats/segment.md has the byte tables.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "tallystick/event.h"
#include "tallystick/quantity.h"

namespace tallystick {

// Integers, frame of reference: u8 bits, u64 base, then `bits` (0..64) of each value - base, packed
// without gaps from the lowest bit on, and 8 bytes of zeros, so that a value may be read as one
// word. With 0 bits all are `base`, and base ends it. `bits` is the fewest that hold the largest
// delta.
class IntChunk {
 public:
  IntChunk() = default;  // all 0
  static IntChunk Constant(uint64_t value) {
    IntChunk chunk;
    chunk.base_ = value;
    return chunk;
  }
  static bool Parse(Decoder& decoder, uint32_t count, IntChunk* chunk);

  // REQUIRES: i < count.
  uint64_t Get(uint32_t i) const {
    if (bits_ == 0) return base_;
    const uint64_t bit = uint64_t{i} * bits_;
    const std::byte* at = data_ + (bit >> 3);
    const auto shift = static_cast<unsigned>(bit & 7);
    uint64_t delta = LoadFixed<uint64_t>(at) >> shift;
    if (shift + bits_ > 64) delta |= std::to_integer<uint64_t>(at[8]) << (64 - shift);
    return base_ + (delta & mask_);
  }
  // The out.size() values from `begin` on. REQUIRES: begin + out.size() <= count.
  void Unpack(uint32_t begin, std::span<uint64_t> out) const;
  bool constant() const { return bits_ == 0; }
  uint64_t base() const { return base_; }
  uint64_t bound() const { return base_ + mask_; }  // no value is above it, unless it wraps

 private:
  const std::byte* data_ = nullptr;
  uint64_t base_ = 0;
  uint64_t mask_ = 0;
  unsigned bits_ = 0;
};
void AppendIntChunk(std::span<const uint64_t> values, Bytes& out);

// Signed values in the order of unsigned ones.
constexpr uint64_t Biased(int64_t value) {
  return static_cast<uint64_t>(value) ^ (uint64_t{1} << 63);
}
constexpr int64_t Unbiased(uint64_t value) {
  return static_cast<int64_t>(value ^ (uint64_t{1} << 63));
}

// Texts: their lengths as integers; u32 where text 0, 64, 128, ... begins; u32 bytes; the bytes.
class TextChunk {
 public:
  static constexpr uint32_t kStride = 64;

  static bool Parse(Decoder& decoder, uint32_t count, TextChunk* chunk);
  // False: the bytes contradict themselves. REQUIRES: i < count.
  bool Get(uint32_t i, std::string_view* text) const;
  // Whether the texts tile the bytes, as they do when written.
  bool IsWhole() const;

 private:
  IntChunk lengths_;
  ByteSpan starts_;
  ByteSpan bytes_;
  uint32_t count_ = 0;
};
// False: more than 32 bits of bytes.
[[nodiscard]] bool AppendTextChunk(std::span<const std::string_view> texts, Bytes& out);

// Quantities. u8 form:
//   0, 1   u8 scale of all; mantissas at it as 64-bit integers (biased), or of 16 bytes each
//   2      a u8 scale each, then mantissas of 16 bytes each: a common scale would not fit 128 bits
class QuantityChunk {
 public:
  static bool Parse(ByteSpan bytes, uint32_t count, QuantityChunk* chunk);
  Quantity Get(uint32_t i) const;  // without trailing zeros. REQUIRES: i < count.
  // As it stands, not normalised.
  Quantity Stored(uint32_t i) const { return {Mantissa(i), Scale(i)}; }
  // Null: the mantissas are wider than 64 bits. Else they are Unbiased() values, at scale().
  const IntChunk* narrow() const { return form_ == Form::kNarrow ? &narrow_ : nullptr; }
  uint8_t scale() const { return scale_; }  // REQUIRES: narrow()
  // Calls add(Quantity) with quantities, not normalised, whose sum is that of the rows for which
  // counted(i): one for all of them where that is possible.
  template <typename Counted, typename Add>
  void ForSum(Counted&& counted, Add&& add) const;

 private:
  enum class Form : uint8_t { kNarrow = 0, kWide = 1, kMixed = 2 };
  friend void AppendQuantityChunk(std::span<const Quantity> quantities, Bytes& out);
  int128 Mantissa(uint32_t i) const {
    return form_ == Form::kNarrow ? int128{Unbiased(narrow_.Get(i))}
                                  : LoadFixed<int128>(wide_.data() + size_t{i} * sizeof(int128));
  }
  uint8_t Scale(uint32_t i) const {
    return form_ == Form::kMixed ? std::to_integer<uint8_t>(scales_[i]) : scale_;
  }

  Form form_ = Form::kNarrow;
  uint8_t scale_ = 0;
  uint32_t count_ = 0;
  IntChunk narrow_;
  ByteSpan scales_;
  ByteSpan wide_;
};
void AppendQuantityChunk(std::span<const Quantity> quantities, Bytes& out);

// Event ids. u8 form: 0 UUIDs of 16 bytes each, 1 texts.
class EventIdChunk {
 public:
  static bool Parse(ByteSpan bytes, uint32_t count, EventIdChunk* chunk);
  bool uuids() const { return uuids_; }
  ByteSpan raw() const { return raw_; }  // kUuidBytes each. REQUIRES: uuids()
  // Of UUIDs the text is written to `buffer` (kUuidTextBytes). False: contradiction.
  bool Get(uint32_t i, char* buffer, std::string_view* id) const;
  // Whether all ids are there and none is empty.
  bool IsWhole() const;

 private:
  bool uuids_ = false;
  uint32_t count_ = 0;
  ByteSpan raw_;
  TextChunk texts_;
};

// Collects the ids of a chunk. UUIDs are packed as they come, while their bytes are at hand; other
// ids are borrowed until Append.
class EventIdBuilder {
 public:
  void Clear();
  void Add(std::string_view id);
  void AddUuids(ByteSpan packed);                        // kUuidBytes each
  bool uuids() const { return packed_ == ids_.size(); }  // all so far
  // False: more than 32 bits of bytes.
  [[nodiscard]] bool Append(Bytes& out) const;

 private:
  void Pack(const std::byte* uuid);
  std::string_view TextOf(const std::byte* uuid);

  std::vector<std::string_view> ids_;  // empty: came packed, and stands in uuids_ only
  Bytes uuids_;
  size_t packed_ = 0;              // the ids before the first one that is no UUID
  std::deque<std::string> texts_;  // of those that came packed among others that are none
};

// Correction references, of the rows that have one: u32 number of them; their rows, ascending, as
// integers; twice as many texts: original event id and reason of each.
class CorrectionChunk {
 public:
  struct Item {
    uint32_t row = 0;
    CorrectionRefView ref;
  };

  CorrectionChunk() = default;  // no row has one
  static bool Parse(ByteSpan bytes, uint32_t count, CorrectionChunk* chunk);
  // False: contradiction.
  bool Get(uint32_t row, std::optional<CorrectionRefView>* ref) const;
  // Whether the rows are ascending and all is there.
  bool IsWhole() const;
  uint32_t size() const { return size_; }
  uint32_t Row(uint32_t i) const { return static_cast<uint32_t>(rows_.Get(i)); }

 private:
  uint32_t size_ = 0;
  uint32_t count_ = 0;
  IntChunk rows_;
  TextChunk texts_;
};
[[nodiscard]] bool AppendCorrectionChunk(std::span<const CorrectionChunk::Item> items, Bytes& out);

template <typename Counted, typename Add>
void QuantityChunk::ForSum(Counted&& counted, Add&& add) const {
  if (form_ != Form::kNarrow) {
    for (uint32_t i = 0; i < count_; ++i) {
      if (counted(i)) add(Stored(i));
    }
    return;
  }
  int128 sum = 0;  // 2^32 rows of 64 bits fit
  for (uint32_t i = 0; i < count_; ++i) {
    if (counted(i)) sum += Unbiased(narrow_.Get(i));
  }
  add(Quantity{sum, scale_});
}

}  // namespace tallystick
