// A raw segment of usageDb 0.4.0 (raw_X.seg, compacted_X.seg): the bytes of a file to rows, and
// rows to a file. docs/formats/usagedb.md has the byte table.
//
// Reading is total: any bytes give rows or kCorruption, and nothing is allocated by a length that
// the bytes do not hold. It is stricter than usageDb's reader: no byte may be left over anywhere,
// no column may be unknown or there twice, and all text must be UTF-8.
//
// Thread rule: free functions; rows are immutable once decoded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "tallystick/event.h"
#include "tallystick/status.h"

namespace tallystick::usagedb {

inline constexpr char kSegmentMagic[8] = {'U', 'D', 'B', 'R', 'A', 'W', '1', '\n'};
inline constexpr char kSegmentEndMagic[8] = {'U', 'D', 'B', 'E', 'N', 'D', '0', '1'};
inline constexpr uint8_t kSegmentVersion = 1;
inline constexpr uint64_t kSegmentBytesMax = uint64_t{4} << 30;
// What all columns together may unpack to: a frame of few bytes must not fill the memory.
inline constexpr uint64_t kUnpackedBytesMax = kSegmentBytesMax;

enum class ColumnEncoding : uint8_t {
  kPlain = 0,
  kDictionary = 1,
  kDelta = 2,
  kZigzag = 3,
  kRle = 4
};

// A column before compression.
struct ColumnPayload {
  std::string name;
  ColumnEncoding encoding = ColumnEncoding::kPlain;
  Bytes data;
};

// A row of usageDb. Dimensions are ascending by key; the quantity is whole.
struct Row {
  EventView event;
  int64_t ingested_at_ms = 0;
};

class SegmentRows {
 public:
  uint32_t size() const { return rows_; }
  // REQUIRES: row < size(). Points into these rows.
  Row Get(uint32_t row) const;
  int64_t timestamp_ms(uint32_t row) const { return timestamps_[row]; }
  int128 quantity(uint32_t row) const { return quantities_[row]; }

 private:
  friend class SegmentDecoder;

  // By row a text, or the code of one.
  struct Texts {
    static constexpr uint32_t kNone = UINT32_MAX;
    std::vector<std::string_view> values;
    std::vector<uint32_t> codes;  // empty: the values are by row
    std::string_view Get(uint32_t row) const { return values[codes.empty() ? row : codes[row]]; }
    std::optional<std::string_view> GetOptional(uint32_t row) const {
      if (codes[row] == kNone) return std::nullopt;
      return values[codes[row]];
    }
  };

  uint32_t rows_ = 0;
  std::vector<ColumnPayload> payloads_;  // what all views point into
  Texts event_id_, account_id_, product_id_, meter_id_, unit_, source_;
  Texts subscription_id_, model_id_;  // always with codes
  std::vector<uint8_t> kinds_;
  std::vector<std::optional<CorrectionRefView>> correction_refs_;
  std::vector<int64_t> timestamps_;
  std::vector<int64_t> ingested_at_;
  std::vector<int128> quantities_;
  std::vector<uint32_t> dimension_ends_;
  std::vector<Dimension> dimensions_;
};

// The columns of a file, unpacked, in its order. Verifies both magics and the checksum. `checksum`
// gets the footer's value, `rows` the header's row count.
Result<std::vector<ColumnPayload>> UnpackSegment(ByteSpan file, uint64_t* checksum, uint32_t* rows,
                                                 uint64_t unpacked_bytes_max = kUnpackedBytesMax);

// What the header says, unverified; 0 where that is no header.
inline constexpr size_t kSegmentHeaderBytes = sizeof kSegmentMagic + 1 + 4 + 2;
uint32_t RowsInHeader(ByteSpan header);

struct DecodedSegment {
  SegmentRows rows;
  uint64_t checksum = 0;  // the footer's
};
Result<DecodedSegment> DecodeSegment(ByteSpan file,
                                     uint64_t unpacked_bytes_max = kUnpackedBytesMax);

// As usageDb writes it. REQUIRES: rows as Row says, fewer than 2^32.
std::vector<ColumnPayload> EncodeColumns(std::span<const Row> rows);
struct EncodedSegment {
  Bytes file;
  uint64_t checksum = 0;
};
// kInvalidArgument `segment_too_large` where a column does not fit its 32-bit length.
Result<EncodedSegment> EncodeSegment(std::span<const Row> rows);

// The order of rows in usageDb's segments: account, product, meter, model or "", timestamp.
bool InSegmentOrder(const Row& a, const Row& b);

}  // namespace tallystick::usagedb
