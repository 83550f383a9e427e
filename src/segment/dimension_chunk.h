// The dimensions of a row group where a segment has too many distinct sets of them for a
// dictionary: a column for each key that any of the rows has.
//
//   u32 number of keys; for each, in ascending order:
//     text key                 (varint length, bytes)
//     u32 rows that have it    all: nothing more; else their numbers, ascending, as integers
//     u32 distinct values, the values as texts, in order of appearance
//     which value each of those rows has, as integers; absent where all values are distinct
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "segment/chunk.h"

namespace tallystick {

// A view over bytes that it does not own.
class DimensionChunk {
 public:
  // Total: any bytes give a view or false.
  static bool Parse(ByteSpan bytes, uint32_t rows, DimensionChunk* chunk);
  // Appends the row's pairs as they stand in canonical bytes (model/row.h). False: contradiction.
  bool AppendPairs(uint32_t row, uint32_t* count, Bytes& pairs) const;
  // Whether rows and texts are as they are when written.
  bool IsWhole() const;

 private:
  struct Key {
    std::string_view key;
    uint32_t present = 0;
    uint32_t distinct = 0;
    IntChunk rows;  // where not all have it
    TextChunk values;
    IntChunk codes;  // where not all values are distinct
  };
  // Which of the rows that have the key `row` is, or `present`.
  uint32_t Place(const Key& key, uint32_t row) const;

  uint32_t rows_ = 0;
  std::vector<Key> keys_;
};

// Whether the text is the count of dimensions and the pairs as they stand at the end of canonical
// bytes: complete, keys ascending.
bool IsDimensionSet(std::string_view text);

// `tails`: for each row, the count of its dimensions and the pairs, as at the end of valid
// canonical bytes. False: more than 32 bits of bytes.
[[nodiscard]] bool AppendDimensionChunk(std::span<const std::string_view> tails, Bytes& out);

}  // namespace tallystick
