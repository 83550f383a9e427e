// The order of rows in a segment.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "segment/segment_format.h"

namespace tallystick {

// What a segment's writer keeps of a row: codes of the dictionary columns in their order, then of
// the dimension set.
using RowCodes = std::array<uint32_t, kDictionaryCount>;

// The rows in ascending order of the first kSortedDictionaryColumns codes, the timestamp, and their
// place. `code_counts`: each code is below its column's.
std::vector<uint32_t> SortRows(std::span<const RowCodes> codes,
                               std::span<const int64_t> timestamps_ms,
                               std::span<const uint32_t> code_counts);

}  // namespace tallystick
