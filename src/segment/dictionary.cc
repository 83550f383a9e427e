#include "segment/dictionary.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>

namespace tallystick {

bool DictionaryView::Parse(ByteSpan block, DictionaryView* view) {
  *view = {};
  Decoder decoder(block);
  view->size_ = decoder.Fixed<uint32_t>();
  view->ends_ = decoder.Raw(uint64_t{view->size_} * sizeof(uint32_t));
  view->bytes_ = decoder.Raw(decoder.remaining());
  return decoder.ok();
}

std::optional<uint32_t> DictionaryView::Find(std::string_view text) const {
  uint32_t begin = 0;
  for (uint32_t end = size_; begin < end;) {
    const uint32_t middle = begin + (end - begin) / 2;
    std::string_view at;
    if (!Get(middle, &at)) return std::nullopt;
    if (at == text) return middle;
    (at < text ? begin : end) = at < text ? middle + 1 : middle;
  }
  return std::nullopt;
}

bool DictionaryView::IsWhole() const {
  std::string_view last;
  for (uint32_t code = 0; code < size_; ++code) {
    std::string_view text;
    if (!Get(code, &text) || (code > 0 && text <= last)) return false;
    last = text;
  }
  return (size_ == 0 ? 0 : End(size_ - 1)) == bytes_.size();
}

uint32_t DictionaryBuilder::Lookup(std::string_view text) {
  if (slots_.size() < 2 * (texts_.size() + 1)) Grow();
  const uint64_t hash = XXH3_64bits(text.data(), text.size());
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    Slot& slot = slots_[at];
    if (slot.code_plus_one == 0) {
      texts_.push_back(text);
      text_bytes_ += text.size();
      slot = {tag, size()};
      return size() - 1;
    }
    if (slot.hash == tag && texts_[slot.code_plus_one - 1] == text) return slot.code_plus_one - 1;
  }
}

void DictionaryBuilder::Grow() {
  slots_.assign(std::max<size_t>(64, slots_.size() * 2), Slot{});
  for (uint32_t code = 0; code < size(); ++code) {
    const uint64_t hash = XXH3_64bits(texts_[code].data(), texts_[code].size());
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].code_plus_one != 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {static_cast<uint32_t>(hash >> 32), code + 1};
  }
}

std::optional<std::vector<uint32_t>> DictionaryBuilder::Finish(Bytes& out) const {
  std::vector<uint32_t> order(texts_.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, {}, [this](uint32_t code) { return texts_[code]; });
  std::vector<uint32_t> ranks(texts_.size());
  PutFixed<uint32_t>(out, size());
  uint64_t end = 0;
  for (uint32_t rank = 0; rank < size(); ++rank) {
    ranks[order[rank]] = rank;
    end += texts_[order[rank]].size();
    PutFixed<uint32_t>(out, static_cast<uint32_t>(end));
  }
  if (end > UINT32_MAX) return std::nullopt;
  for (const uint32_t code : order) {
    const ByteSpan text = AsByteSpan(texts_[code]);
    out.insert(out.end(), text.begin(), text.end());
  }
  return ranks;
}

std::optional<std::vector<std::vector<uint32_t>>> MergeDictionaries(
    std::span<const DictionaryView> dictionaries, Bytes& out) {
  struct Head {
    std::string_view text;
    size_t dictionary;
    uint32_t code;
    bool operator>(const Head& other) const { return text > other.text; }
  };
  std::priority_queue<Head, std::vector<Head>, std::greater<>> heads;
  std::vector<std::vector<uint32_t>> codes(dictionaries.size());
  const auto push = [&](size_t dictionary, uint32_t code) {
    Head head{{}, dictionary, code};
    if (dictionaries[dictionary].Get(code, &head.text)) heads.push(head);
  };
  for (size_t d = 0; d < dictionaries.size(); ++d) {
    codes[d].resize(dictionaries[d].size());
    push(d, 0);
  }
  std::vector<std::string_view> texts;
  uint64_t bytes = 0;
  while (!heads.empty()) {
    const Head head = heads.top();
    heads.pop();
    if (texts.empty() || texts.back() != head.text) {
      texts.push_back(head.text);
      bytes += head.text.size();
    }
    codes[head.dictionary][head.code] = static_cast<uint32_t>(texts.size() - 1);
    push(head.dictionary, head.code + 1);
  }
  if (bytes > UINT32_MAX) return std::nullopt;
  PutFixed<uint32_t>(out, static_cast<uint32_t>(texts.size()));
  uint64_t end = 0;
  for (const std::string_view text : texts) {
    end += text.size();
    PutFixed<uint32_t>(out, static_cast<uint32_t>(end));
  }
  for (const std::string_view text : texts) {
    const ByteSpan raw = AsByteSpan(text);
    out.insert(out.end(), raw.begin(), raw.end());
  }
  return codes;
}

}  // namespace tallystick
