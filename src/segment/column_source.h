// ColumnSource: a run of rows (of a segment's row group) or of rollup lines, as arrays of integers,
// for scans that work column by column.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <span>

#include "base/decimal.h"
#include "segment/segment_reader.h"

namespace tallystick {

// The least and the greatest value of a column, or bounds of them.
struct ColumnZone {
  uint64_t min = 0;
  uint64_t max = 0;
  bool constant() const { return min == max; }
};

// Quantities as 64-bit mantissas at one scale, none below `min` or above `max`; or, where they are
// wider (then `mantissas` is empty), as sums one by one.
struct QuantityColumn {
  std::span<const int64_t> mantissas;
  uint8_t scale = 0;
  int64_t min = 0;
  int64_t max = 0;
  std::span<const ExactSum> wide;
};

class ColumnSource {
 public:
  virtual ~ColumnSource() = default;

  virtual uint32_t rows() const = 0;
  // Known without reading the rows. The codes of kDictionaryColumns and of dimension sets, of kind
  // and disposition (as in model/row.h); timestamps and LSNs as they are. REQUIRES: the column is
  // made of integers.
  virtual ColumnZone zone(SegmentColumn column) const = 0;
  // One value for each row; read when first asked for, and valid until the source goes on.
  virtual Result<std::span<const uint64_t>> Integers(SegmentColumn column) = 0;
  virtual Result<QuantityColumn> Quantities() = 0;
  // How many events each row stands for. Empty: one each.
  virtual Result<std::span<const uint64_t>> Counts() = 0;
};

}  // namespace tallystick
