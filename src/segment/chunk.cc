#include "segment/chunk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "segment/uuid.h"

namespace tallystick {
namespace {

constexpr size_t kSlackBytes = 8;  // behind packed deltas

template <typename Word>
void PackBytes(std::span<const uint64_t> values, uint64_t base, std::byte* out) {
  for (size_t i = 0; i < values.size(); ++i) {
    StoreFixed(out + i * sizeof(Word), static_cast<Word>(values[i] - base));
  }
}

// Without going through memory for each value: what is not yet a whole word waits in `word`.
void PackBits(std::span<const uint64_t> values, uint64_t base, unsigned bits, std::byte* out) {
  uint64_t word = 0;
  unsigned filled = 0;
  for (const uint64_t value : values) {
    const uint64_t delta = value - base;
    word |= delta << filled;
    filled += bits;
    if (filled < 64) continue;
    StoreFixed(out, word);
    out += sizeof word;
    filled -= 64;
    word = filled == 0 ? 0 : delta >> (bits - filled);
  }
  std::memcpy(out, &word, (filled + 7) / 8);
}

// Eight values of a width end with a byte, so that all shifts are constants. Source of the idea:
// Lemire, Boytsov, "Decoding billions of integers per second through vectorization" (2015).
constexpr size_t kUnrolled = 8;

// As many values as come in whole eights; returns their number.
template <unsigned kBits>
size_t UnpackEights(const std::byte* data, uint64_t base, std::span<uint64_t> out) {
  constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  const size_t eights = out.size() / kUnrolled;
  uint64_t* to = out.data();
  for (size_t e = 0; e < eights; ++e, data += kBits, to += kUnrolled) {
#pragma GCC unroll 8
    for (unsigned k = 0; k < kUnrolled; ++k) {
      to[k] = base + ((LoadFixed<uint64_t>(data + k * kBits / 8) >> (k * kBits % 8)) & kMask);
    }
  }
  return eights * kUnrolled;
}

using Unpacker = size_t (*)(const std::byte*, uint64_t, std::span<uint64_t>);
// By bits: a value and the bits before it in its first byte fit into one word.
constexpr auto kUnpackers = []<size_t... kBits>(std::index_sequence<kBits...>) {
  return std::array<Unpacker, sizeof...(kBits)>{UnpackEights<kBits>...};
}(std::make_index_sequence<58>());

constexpr std::array<uint64_t, Quantity::kScaleMax + 1> kPowersOfTen = [] {
  std::array<uint64_t, Quantity::kScaleMax + 1> powers{1};
  for (size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();

}  // namespace

// --- integers ---

bool IntChunk::Parse(Decoder& decoder, uint32_t count, IntChunk* chunk) {
  *chunk = {};
  chunk->bits_ = decoder.Fixed<uint8_t>();
  chunk->base_ = decoder.Fixed<uint64_t>();
  if (!decoder.ok() || chunk->bits_ > 64) return false;
  if (chunk->bits_ == 0) return true;
  chunk->mask_ = ~uint64_t{0} >> (64 - chunk->bits_);
  chunk->data_ = decoder.Raw((uint64_t{count} * chunk->bits_ + 7) / 8 + kSlackBytes).data();
  return decoder.ok();
}

void IntChunk::Unpack(uint32_t begin, std::span<uint64_t> out) const {
  if (bits_ == 0) {
    std::ranges::fill(out, base_);
    return;
  }
  // Up to a value that begins a byte.
  size_t head = 0;
  while (head < out.size() && (begin + head) % kUnrolled != 0) {
    out[head] = Get(begin + static_cast<uint32_t>(head));
    ++head;
  }
  const std::byte* data = data_ + (begin + head) * bits_ / 8;
  out = out.subspan(head);
  begin += static_cast<uint32_t>(head);
  size_t done = 0;
  if (bits_ < kUnpackers.size()) done = kUnpackers[bits_](data, base_, out);
  for (size_t i = done; i < out.size(); ++i) out[i] = Get(begin + static_cast<uint32_t>(i));
}

void AppendIntChunk(std::span<const uint64_t> values, Bytes& out) {
  uint64_t min = values.empty() ? 0 : values[0];
  uint64_t max = min;
  for (const uint64_t value : values) {
    min = std::min(min, value);
    max = std::max(max, value);
  }
  const auto bits = static_cast<unsigned>(std::bit_width(max - min));
  PutFixed<uint8_t>(out, static_cast<uint8_t>(bits));
  PutFixed<uint64_t>(out, min);
  if (bits == 0) return;
  const size_t begin = out.size();
  out.resize(begin + (values.size() * bits + 7) / 8 + kSlackBytes);
  std::byte* data = out.data() + begin;
  switch (bits) {
    case 8:
      return PackBytes<uint8_t>(values, min, data);
    case 16:
      return PackBytes<uint16_t>(values, min, data);
    case 32:
      return PackBytes<uint32_t>(values, min, data);
    default:
      return PackBits(values, min, bits, data);
  }
}

// --- texts ---

bool TextChunk::Parse(Decoder& decoder, uint32_t count, TextChunk* chunk) {
  *chunk = {};
  chunk->count_ = count;
  if (!IntChunk::Parse(decoder, count, &chunk->lengths_)) return false;
  const uint64_t starts = (uint64_t{count} + kStride - 1) / kStride;
  chunk->starts_ = decoder.Raw(starts * sizeof(uint32_t));
  chunk->bytes_ = decoder.Raw(decoder.Fixed<uint32_t>());
  return decoder.ok();
}

bool TextChunk::Get(uint32_t i, std::string_view* text) const {
  const uint32_t first = i / kStride * kStride;
  uint64_t begin = LoadFixed<uint32_t>(starts_.data() + i / kStride * sizeof(uint32_t));
  if (lengths_.constant()) {
    if (lengths_.base() > bytes_.size()) return false;
    begin += (i - first) * lengths_.base();
  } else {
    for (uint32_t at = first; at < i && begin <= bytes_.size(); ++at) {
      const uint64_t length = lengths_.Get(at);
      if (length > bytes_.size()) return false;
      begin += length;
    }
  }
  const uint64_t length = lengths_.Get(i);
  if (begin > bytes_.size() || length > bytes_.size() - begin) return false;
  *text = AsText(bytes_.subspan(begin, length));
  return true;
}

bool TextChunk::IsWhole() const {
  uint64_t at = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    const uint64_t length = lengths_.Get(i);
    if (length > bytes_.size() - at) return false;
    if (i % kStride == 0 &&
        LoadFixed<uint32_t>(starts_.data() + i / kStride * sizeof(uint32_t)) != at) {
      return false;
    }
    at += length;
  }
  return at == bytes_.size();
}

bool AppendTextChunk(std::span<const std::string_view> texts, Bytes& out) {
  uint64_t bytes = 0;
  for (const std::string_view text : texts) bytes += text.size();
  if (bytes > UINT32_MAX) return false;
  std::vector<uint64_t> lengths(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) lengths[i] = texts[i].size();
  AppendIntChunk(lengths, out);
  uint32_t start = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i % TextChunk::kStride == 0) PutFixed<uint32_t>(out, start);
    start += static_cast<uint32_t>(texts[i].size());
  }
  PutFixed<uint32_t>(out, static_cast<uint32_t>(bytes));
  size_t at = out.size();
  out.resize(at + bytes);
  for (const std::string_view text : texts) {
    std::copy_n(reinterpret_cast<const std::byte*>(text.data()), text.size(), out.data() + at);
    at += text.size();
  }
  return true;
}

// --- quantities ---

bool QuantityChunk::Parse(ByteSpan bytes, uint32_t count, QuantityChunk* chunk) {
  *chunk = {};
  chunk->count_ = count;
  Decoder decoder(bytes);
  const auto form = decoder.Fixed<uint8_t>();
  if (form > static_cast<uint8_t>(Form::kMixed)) return false;
  chunk->form_ = static_cast<Form>(form);
  if (chunk->form_ == Form::kMixed) {
    chunk->scales_ = decoder.Raw(count);
  } else {
    chunk->scale_ = decoder.Fixed<uint8_t>();
  }
  if (chunk->form_ == Form::kNarrow) {
    if (!IntChunk::Parse(decoder, count, &chunk->narrow_)) return false;
  } else {
    chunk->wide_ = decoder.Raw(uint64_t{count} * sizeof(int128));
  }
  const auto in_range = [](std::byte scale) { return scale <= std::byte{Quantity::kScaleMax}; };
  return decoder.ok() && decoder.remaining() == 0 && chunk->scale_ <= Quantity::kScaleMax &&
         std::ranges::all_of(chunk->scales_, in_range);
}

Quantity QuantityChunk::Get(uint32_t i) const {
  return Quantity::Normalized(Mantissa(i), Scale(i));
}

void AppendQuantityChunk(std::span<const Quantity> quantities, Bytes& out) {
  using Form = QuantityChunk::Form;
  uint8_t scale = 0;
  for (const Quantity& quantity : quantities) scale = std::max(scale, quantity.scale);
  std::vector<uint64_t> narrow(quantities.size());
  std::vector<int128> wide;
  bool common = true;
  bool fits_64 = true;
  for (size_t i = 0; i < quantities.size() && common; ++i) {
    const Quantity& quantity = quantities[i];
    const int128 factor = kPowersOfTen[scale - quantity.scale];
    int128 mantissa = quantity.mantissa;
    if (factor != 1) common = !__builtin_mul_overflow(mantissa, factor, &mantissa);
    if (fits_64 && mantissa != static_cast<int64_t>(mantissa)) {
      fits_64 = false;
      wide.reserve(quantities.size());
      for (size_t k = 0; k < i; ++k) wide.push_back(Unbiased(narrow[k]));
    }
    if (fits_64) {
      narrow[i] = Biased(static_cast<int64_t>(mantissa));
    } else {
      wide.push_back(mantissa);
    }
  }
  if (common) {
    PutFixed<uint8_t>(out, static_cast<uint8_t>(fits_64 ? Form::kNarrow : Form::kWide));
    PutFixed<uint8_t>(out, scale);
    if (fits_64) return AppendIntChunk(narrow, out);
  } else {
    PutFixed<uint8_t>(out, static_cast<uint8_t>(Form::kMixed));
    for (const Quantity& quantity : quantities) PutFixed<uint8_t>(out, quantity.scale);
    wide.clear();
    for (const Quantity& quantity : quantities) wide.push_back(quantity.mantissa);
  }
  const ByteSpan raw = std::as_bytes(std::span<const int128>(wide));
  out.insert(out.end(), raw.begin(), raw.end());
}

// --- event ids ---

bool EventIdChunk::Parse(ByteSpan bytes, uint32_t count, EventIdChunk* chunk) {
  *chunk = {};
  chunk->count_ = count;
  Decoder decoder(bytes);
  const auto form = decoder.Fixed<uint8_t>();
  chunk->uuids_ = form == 0;
  if (form > 1) return false;
  if (!chunk->uuids_) {
    return TextChunk::Parse(decoder, count, &chunk->texts_) && decoder.remaining() == 0;
  }
  chunk->raw_ = decoder.Raw(uint64_t{count} * kUuidBytes);
  return decoder.ok() && decoder.remaining() == 0;
}

bool EventIdChunk::Get(uint32_t i, char* buffer, std::string_view* id) const {
  if (!uuids_) return texts_.Get(i, id);
  UnpackUuid(raw_.data() + size_t{i} * kUuidBytes, buffer);
  *id = {buffer, kUuidTextBytes};
  return true;
}

bool EventIdChunk::IsWhole() const {
  if (uuids_) return true;
  if (!texts_.IsWhole()) return false;
  for (uint32_t i = 0; i < count_; ++i) {
    std::string_view id;
    if (!texts_.Get(i, &id) || id.empty()) return false;
  }
  return true;
}

void EventIdBuilder::Clear() {
  ids_.clear();
  texts_.clear();
  packed_ = 0;
}

void EventIdBuilder::Pack(const std::byte* uuid) {
  if (uuids_.size() < (packed_ + 1) * kUuidBytes) uuids_.resize((packed_ + 1) * 2 * kUuidBytes);
  std::copy_n(uuid, kUuidBytes, uuids_.data() + packed_++ * kUuidBytes);
}

std::string_view EventIdBuilder::TextOf(const std::byte* uuid) {
  std::string& text = texts_.emplace_back(kUuidTextBytes, '\0');
  UnpackUuid(uuid, text.data());
  return text;
}

void EventIdBuilder::Add(std::string_view id) {
  std::byte uuid[kUuidBytes];
  if (uuids()) {
    if (PackUuid(id, uuid)) {
      Pack(uuid);
    } else {
      for (size_t i = 0; i < packed_; ++i) {
        if (ids_[i].empty()) ids_[i] = TextOf(uuids_.data() + i * kUuidBytes);
      }
    }
  }
  ids_.push_back(id);
}

void EventIdBuilder::AddUuids(ByteSpan packed) {
  for (size_t at = 0; at < packed.size(); at += kUuidBytes) {
    if (uuids()) {
      Pack(packed.data() + at);
      ids_.emplace_back();
    } else {
      ids_.push_back(TextOf(packed.data() + at));
    }
  }
}

bool EventIdBuilder::Append(Bytes& out) const {
  PutFixed<uint8_t>(out, uuids() ? 0 : 1);
  if (!uuids()) return AppendTextChunk(ids_, out);
  const ByteSpan packed = ByteSpan(uuids_).first(packed_ * kUuidBytes);
  out.insert(out.end(), packed.begin(), packed.end());
  return true;
}

// --- correction references ---

bool CorrectionChunk::Parse(ByteSpan bytes, uint32_t count, CorrectionChunk* chunk) {
  *chunk = {};
  chunk->count_ = count;
  Decoder decoder(bytes);
  chunk->size_ = decoder.Fixed<uint32_t>();
  return decoder.ok() && chunk->size_ <= count &&
         IntChunk::Parse(decoder, chunk->size_, &chunk->rows_) &&
         TextChunk::Parse(decoder, 2 * chunk->size_, &chunk->texts_) && decoder.remaining() == 0;
}

bool CorrectionChunk::Get(uint32_t row, std::optional<CorrectionRefView>* ref) const {
  ref->reset();
  uint32_t begin = 0;
  for (uint32_t end = size_; begin < end;) {
    const uint32_t middle = begin + (end - begin) / 2;
    (rows_.Get(middle) < row ? begin : end) = rows_.Get(middle) < row ? middle + 1 : middle;
  }
  if (begin == size_ || rows_.Get(begin) != row) return true;
  CorrectionRefView& found = ref->emplace();
  return texts_.Get(2 * begin, &found.original_event_id) &&
         texts_.Get(2 * begin + 1, &found.reason);
}

bool CorrectionChunk::IsWhole() const {
  for (uint32_t i = 0; i < size_; ++i) {
    const uint64_t row = rows_.Get(i);
    if (row >= count_ || (i > 0 && row <= rows_.Get(i - 1))) return false;
  }
  return size_ == 0 || texts_.IsWhole();
}

bool AppendCorrectionChunk(std::span<const CorrectionChunk::Item> items, Bytes& out) {
  std::vector<uint64_t> rows;
  std::vector<std::string_view> texts;
  for (const CorrectionChunk::Item& item : items) {
    rows.push_back(item.row);
    texts.push_back(item.ref.original_event_id);
    texts.push_back(item.ref.reason);
  }
  PutFixed<uint32_t>(out, static_cast<uint32_t>(items.size()));
  AppendIntChunk(rows, out);
  return AppendTextChunk(texts, out);
}

}  // namespace tallystick
