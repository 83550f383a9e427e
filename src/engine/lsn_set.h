// LsnSet: some LSNs, as ranges.
//
// Thread rule: a value.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "tallystick/repair.h"

namespace tallystick {

class LsnSet {
 public:
  // Ascending calls are cheap; ranges may overlap.
  void Add(LsnRange range) {
    if (range.first > range.last) return;
    if (!ranges_.empty() && range.first < ranges_.back().first) sorted_ = false;
    if (sorted_ && !ranges_.empty() && range.first.value <= ranges_.back().last.value + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
      return;
    }
    ranges_.push_back(range);
  }
  void Add(const LsnSet& other) {
    for (const LsnRange& range : other.ranges()) Add(range);
  }

  // Ascending, without overlap, none adjacent to the next.
  std::span<const LsnRange> ranges() const {
    Normalize();
    return ranges_;
  }
  bool empty() const { return ranges_.empty(); }
  uint64_t count() const {
    uint64_t rows = 0;
    for (const LsnRange& range : ranges()) rows += range.last.value - range.first.value + 1;
    return rows;
  }

  LsnSet Within(LsnRange bounds) const {
    LsnSet out;
    for (const LsnRange& range : ranges()) {
      out.Add({std::max(range.first, bounds.first), std::min(range.last, bounds.last)});
    }
    return out;
  }
  // Those of `bounds` that are not in this set.
  LsnSet MissingOf(LsnRange bounds) const {
    LsnSet out;
    Lsn next = bounds.first;
    for (const LsnRange& range : ranges()) {
      if (range.last < next) continue;
      if (range.first > bounds.last) break;
      out.Add({next, {range.first.value - 1}});
      next = {range.last.value + 1};
    }
    out.Add({next, bounds.last});
    return out;
  }

 private:
  void Normalize() const {
    if (sorted_) return;
    std::ranges::sort(ranges_, {}, &LsnRange::first);
    std::vector<LsnRange> merged;
    for (const LsnRange& range : ranges_) {
      if (!merged.empty() && range.first.value <= merged.back().last.value + 1) {
        merged.back().last = std::max(merged.back().last, range.last);
      } else {
        merged.push_back(range);
      }
    }
    ranges_ = std::move(merged);
    sorted_ = true;
  }

  mutable std::vector<LsnRange> ranges_;
  mutable bool sorted_ = true;
};

}  // namespace tallystick
