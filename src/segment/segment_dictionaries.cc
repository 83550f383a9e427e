#include "segment/segment_dictionaries.h"

#include <algorithm>

#include "base/check.h"
#include "base/result.h"

namespace tallystick {
namespace {

size_t PlaceOf(SegmentColumn column) {
  if (column == SegmentColumn::kDimensions) return kDimensionDictionary;
  const auto at = std::ranges::find(kDictionaryColumns, column, &DictionaryColumn::column);
  TALLY_CHECK(at != kDictionaryColumns.end());
  return static_cast<size_t>(at - kDictionaryColumns.begin());
}

constexpr uint64_t kKinds = 3;  // their texts are EventKindName's

}  // namespace

Result<const SegmentDictionaries::Dictionary*> SegmentDictionaries::Load(SegmentColumn column) {
  const size_t place = PlaceOf(column);
  Dictionary& dictionary = dictionaries_[place];
  if (!dictionary.there) {
    TALLY_ASSIGN_OR_RETURN(dictionary.loaded, LoadDictionary(file_, place));
    dictionary.nullable = place < kDictionaryColumns.size() && kDictionaryColumns[place].nullable;
    dictionary.there = true;
  }
  return &dictionary;
}

Status SegmentDictionaries::BadCode(SegmentColumn column) const {
  const SegmentFooter& footer = file_.footer();
  const uint64_t offset = column == SegmentColumn::kKind
                              ? footer.directory_offset
                              : footer.dictionaries[PlaceOf(column)].offset;
  return file_.Fault(offset, "a row has a code that its dictionary has not");
}

Result<uint64_t> SegmentDictionaries::CodeCount(SegmentColumn column) {
  if (column == SegmentColumn::kKind) return kKinds;
  TALLY_ASSIGN_OR_RETURN(const Dictionary* dictionary, Load(column));
  return uint64_t{dictionary->loaded.view.size()} + (dictionary->nullable ? 1 : 0);
}

Result<std::optional<std::string_view>> SegmentDictionaries::Text(SegmentColumn column,
                                                                  uint64_t code) {
  if (column == SegmentColumn::kKind) {
    if (code >= kKinds) return BadCode(column);
    return std::optional<std::string_view>(EventKindName(static_cast<EventKind>(code)));
  }
  TALLY_ASSIGN_OR_RETURN(const Dictionary* dictionary, Load(column));
  if (dictionary->nullable) {
    if (code == 0) return std::optional<std::string_view>();
    --code;
  }
  std::string_view text;
  if (!dictionary->loaded.view.Get(code, &text)) return BadCode(column);
  return std::optional<std::string_view>(text);
}

Result<std::optional<uint64_t>> SegmentDictionaries::Code(SegmentColumn column,
                                                          std::string_view text) {
  if (column == SegmentColumn::kKind) {
    uint64_t kind = 0;
    while (kind < kKinds && EventKindName(static_cast<EventKind>(kind)) != text) ++kind;
    return kind < kKinds ? std::optional<uint64_t>(kind) : std::nullopt;
  }
  TALLY_ASSIGN_OR_RETURN(const Dictionary* dictionary, Load(column));
  const auto code = dictionary->loaded.view.Find(text);
  if (!code.has_value()) return std::optional<uint64_t>();
  return std::optional<uint64_t>(uint64_t{*code} + (dictionary->nullable ? 1 : 0));
}

Result<RowView> SegmentDictionaries::Dimensions(uint64_t code) {
  TALLY_ASSIGN_OR_RETURN(const Dictionary* dictionary, Load(SegmentColumn::kDimensions));
  std::string_view set;
  if (!dictionary->loaded.view.Get(code, &set)) return BadCode(SegmentColumn::kDimensions);
  RowView row;
  Decoder decoder(AsByteSpan(set));
  const uint64_t count = decoder.Varint();
  row.dimension_bytes = decoder.Raw(decoder.remaining());
  // Each pair takes two bytes at least.
  if (!decoder.ok() || count > row.dimension_bytes.size() / 2) {
    return BadCode(SegmentColumn::kDimensions);
  }
  row.dimension_count = static_cast<uint32_t>(count);
  return row;
}

}  // namespace tallystick
