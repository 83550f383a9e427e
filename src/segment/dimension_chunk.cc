#include "segment/dimension_chunk.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "segment/dictionary.h"

namespace tallystick {
namespace {

// Of a key: the length of its text, two counts, and a chunk of no texts.
constexpr size_t kKeyBytesMin = 1 + 4 + 4 + (1 + 8 + 4);

void AppendText(std::string_view text, Bytes& out) {
  const size_t at = out.size();
  out.resize(at + VarintBytes(text.size()) + text.size());
  std::byte* bytes = StoreVarint(out.data() + at, text.size());
  std::copy_n(reinterpret_cast<const std::byte*>(text.data()), text.size(), bytes);
}

}  // namespace

bool DimensionChunk::Parse(ByteSpan bytes, uint32_t rows, DimensionChunk* chunk) {
  *chunk = {};
  chunk->rows_ = rows;
  Decoder decoder(bytes);
  const auto count = decoder.Fixed<uint32_t>();
  if (count > decoder.remaining() / kKeyBytesMin) return false;
  chunk->keys_.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    Key key;
    key.key = decoder.Text();
    key.present = decoder.Fixed<uint32_t>();
    if (!decoder.ok() || key.present > rows || (i > 0 && key.key <= chunk->keys_.back().key)) {
      return false;
    }
    if (key.present < rows && !IntChunk::Parse(decoder, key.present, &key.rows)) return false;
    key.distinct = decoder.Fixed<uint32_t>();
    if (key.distinct > key.present || !TextChunk::Parse(decoder, key.distinct, &key.values)) {
      return false;
    }
    if (key.distinct < key.present && !IntChunk::Parse(decoder, key.present, &key.codes)) {
      return false;
    }
    chunk->keys_.push_back(key);
  }
  return decoder.ok() && decoder.remaining() == 0;
}

uint32_t DimensionChunk::Place(const Key& key, uint32_t row) const {
  if (key.present == rows_) return row;
  uint32_t begin = 0;
  for (uint32_t end = key.present; begin < end;) {
    const uint32_t middle = begin + (end - begin) / 2;
    (key.rows.Get(middle) < row ? begin : end) = key.rows.Get(middle) < row ? middle + 1 : middle;
  }
  return begin < key.present && key.rows.Get(begin) == row ? begin : key.present;
}

bool DimensionChunk::AppendPairs(uint32_t row, uint32_t* count, Bytes& pairs) const {
  *count = 0;
  for (const Key& key : keys_) {
    const uint32_t place = Place(key, row);
    if (place == key.present) continue;
    const uint64_t code = key.distinct < key.present ? key.codes.Get(place) : place;
    std::string_view value;
    if (code >= key.distinct || !key.values.Get(static_cast<uint32_t>(code), &value)) return false;
    AppendText(key.key, pairs);
    AppendText(value, pairs);
    ++*count;
  }
  return true;
}

bool DimensionChunk::IsWhole() const {
  for (const Key& key : keys_) {
    if (key.present == 0 || !key.values.IsWhole()) return false;
    for (uint32_t i = 0; key.present < rows_ && i < key.present; ++i) {
      if (key.rows.Get(i) >= rows_ || (i > 0 && key.rows.Get(i) <= key.rows.Get(i - 1))) {
        return false;
      }
    }
  }
  return true;
}

bool IsDimensionSet(std::string_view text) {
  Decoder decoder(AsByteSpan(text));
  const uint64_t count = decoder.Varint();
  if (count > decoder.remaining() / 2) return false;
  std::string_view last;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = decoder.Text();
    decoder.Text();
    if (!decoder.ok() || (i > 0 && key <= last)) return false;
    last = key;
  }
  return decoder.ok() && decoder.remaining() == 0;
}

bool AppendDimensionChunk(std::span<const std::string_view> tails, Bytes& out) {
  struct Column {
    std::vector<uint64_t> rows;
    std::vector<uint64_t> codes;
    DictionaryBuilder values;
  };
  DictionaryBuilder keys;
  std::vector<Column> columns;
  for (size_t row = 0; row < tails.size(); ++row) {
    Decoder decoder(AsByteSpan(tails[row]));
    for (uint64_t left = decoder.Varint(); left > 0; --left) {
      const uint32_t key = keys.Add(decoder.Text());
      if (key == columns.size()) columns.emplace_back();
      columns[key].rows.push_back(row);
      columns[key].codes.push_back(columns[key].values.Add(decoder.Text()));
      TALLY_CHECK(decoder.ok());
    }
  }
  std::vector<uint32_t> order(columns.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, {}, [&](uint32_t key) { return keys.texts()[key]; });

  PutFixed<uint32_t>(out, keys.size());
  for (const uint32_t key : order) {
    const Column& column = columns[key];
    AppendText(keys.texts()[key], out);
    PutFixed<uint32_t>(out, static_cast<uint32_t>(column.rows.size()));
    if (column.rows.size() < tails.size()) AppendIntChunk(column.rows, out);
    PutFixed<uint32_t>(out, column.values.size());
    if (!AppendTextChunk(column.values.texts(), out)) return false;
    if (column.values.size() < column.rows.size()) AppendIntChunk(column.codes, out);
  }
  return true;
}

}  // namespace tallystick
