// Sorted dictionaries: the distinct texts of a column, in ascending order, so that codes compare as
// texts do.
//
//   u32 number of texts, u32 end of each in the bytes behind, the bytes
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/coding.h"

namespace tallystick {

// A view over bytes that it does not own. Total on any bytes.
class DictionaryView {
 public:
  DictionaryView() = default;  // empty
  static bool Parse(ByteSpan block, DictionaryView* view);

  uint32_t size() const { return size_; }
  // False: there is no such code, or the bytes contradict themselves.
  bool Get(uint64_t code, std::string_view* text) const {
    if (code >= size_) return false;
    const uint32_t begin = code == 0 ? 0 : End(code - 1);
    const uint32_t end = End(code);
    if (begin > end || end > bytes_.size()) return false;
    *text = AsText(bytes_.subspan(begin, end - begin));
    return true;
  }
  std::optional<uint32_t> Find(std::string_view text) const;
  // Whether the texts are ascending, distinct and tile the bytes.
  bool IsWhole() const;

 private:
  uint32_t End(uint64_t code) const {
    return LoadFixed<uint32_t>(ends_.data() + code * sizeof(uint32_t));
  }
  ByteSpan ends_;
  ByteSpan bytes_;
  uint32_t size_ = 0;
};

// Collects texts, which it borrows. Codes are given in the order of appearance until Finish ranks
// them.
class DictionaryBuilder {
 public:
  uint32_t Add(std::string_view text) {
    if (!texts_.empty() && texts_[last_] == text) return last_;
    return last_ = Lookup(text);
  }
  uint32_t size() const { return static_cast<uint32_t>(texts_.size()); }
  uint64_t text_bytes() const { return text_bytes_; }
  const std::vector<std::string_view>& texts() const { return texts_; }

  // Appends the dictionary's bytes; the rank of each code so far. None: more than 32 bits of bytes.
  std::optional<std::vector<uint32_t>> Finish(Bytes& out) const;

 private:
  struct Slot {
    uint32_t hash = 0;
    uint32_t code_plus_one = 0;  // 0: free
  };
  uint32_t Lookup(std::string_view text);
  void Grow();

  std::vector<std::string_view> texts_;  // by code
  uint64_t text_bytes_ = 0;
  std::vector<Slot> slots_;  // a power of two, at most half of them in use
  uint32_t last_ = 0;
};

// Merges sorted dictionaries: appends the one of all their texts to `out`, and gives for each the
// code there of each of its codes. None: more than 32 bits of bytes. REQUIRES: the views are whole.
std::optional<std::vector<std::vector<uint32_t>>> MergeDictionaries(
    std::span<const DictionaryView> dictionaries, Bytes& out);

}  // namespace tallystick
