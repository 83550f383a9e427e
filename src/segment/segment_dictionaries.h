// The texts behind a segment's codes. A dictionary is read when it is first asked for.
//
// Thread rule: one thread; the reader must outlive it. Texts are valid as long as it lives.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "model/row.h"
#include "segment/segment_file.h"
#include "segment/segment_reader.h"

namespace tallystick {

class SegmentDictionaries {
 public:
  explicit SegmentDictionaries(const SegmentReader& reader) : file_(reader.file()) {}

  // Dimensions have no codes in this segment: there are too many sets of them.
  bool dimensions_by_key() const { return file_.footer().dimensions_by_key; }

  // All below are of the columns of kDictionaryColumns, of kKind, and of kDimensions where these
  // have codes. Codes are below this number; the code of an absent value counts.
  Result<uint64_t> CodeCount(SegmentColumn column);
  // None: absent. Not of kDimensions.
  Result<std::optional<std::string_view>> Text(SegmentColumn column, uint64_t code);
  // None: no row of the segment has this text. Not of kDimensions.
  Result<std::optional<uint64_t>> Code(SegmentColumn column, std::string_view text);
  // A row with nothing but this set of dimensions.
  Result<RowView> Dimensions(uint64_t code);
  // A row has a code that is not below CodeCount: kCorruption, with file and offset.
  Status BadCode(SegmentColumn column) const;

 private:
  struct Dictionary {
    LoadedDictionary loaded;
    bool there = false;
    bool nullable = false;
  };
  Result<const Dictionary*> Load(SegmentColumn column);
  const SegmentFile& file_;
  std::array<Dictionary, kDictionaryCount> dictionaries_;
};

}  // namespace tallystick
