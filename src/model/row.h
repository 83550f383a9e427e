// The canonical encoding of an event, and the record that wraps it in a WAL frame and a memtable.
//
// Canonical bytes are a pure function of an event's payload (everything but the server's stamp),
// and payload_hash is XXH3-64 of exactly these bytes. One event has one encoding: dimensions sorted
// by key, quantity normalised, shortest varints. A field added later contributes bytes only when
// present, so that old duplicates stay duplicates. docs/formats/row.md has the byte table:
//
//   u8   kind                 0 Usage, 1 Correction, 2 Retraction
//   u8   quantity scale       0..12
//   u8   mantissa bytes m     0..16, fewest that hold the two's complement value; 0 for zero
//   u8   flags                1 subscription_id, 2 model_id, 4 correction_ref; other bits: refuse
//   i64  timestamp_ms
//   m    mantissa, little-endian two's complement
//   text event_id, account_id, product_id, meter_id, unit, source     (text: varint length, bytes)
//   text subscription_id      if flag 1
//   text model_id             if flag 2
//   text original_event_id, text reason     if flag 4
//   varint number of dimensions, then text key, text value for each, keys strictly ascending
//
// Record: u32 bytes of canonical encoding, u8 disposition, canonical bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/coding.h"
#include "tallystick/event.h"

namespace tallystick {

enum class Disposition : uint8_t {
  kCounted = 0,
  kQuarantined = 1,  // a conflict: kept and listed, never in a total
};

inline constexpr size_t kRecordHeaderBytes = 5;
inline constexpr size_t kCanonicalFixedBytes = 12;
// Four ids of one byte, empty unit and source, no dimension: no record is shorter.
inline constexpr size_t kRecordBytesMin = kRecordHeaderBytes + kCanonicalFixedBytes + 4 * 2 + 2 + 1;

// A decoded row. Everything points into the bytes that it was decoded from.
struct RowView {
  EventKind kind = EventKind::kUsage;
  Quantity quantity;
  int64_t timestamp_ms = 0;
  std::string_view event_id;
  std::string_view account_id;
  std::string_view product_id;
  std::string_view meter_id;
  std::string_view unit;
  std::string_view source;
  std::optional<std::string_view> subscription_id;
  std::optional<std::string_view> model_id;
  std::optional<CorrectionRefView> correction_ref;
  uint32_t dimension_count = 0;
  ByteSpan dimension_bytes;  // the pairs

  // The value of a dimension, none if the row has no such key.
  std::optional<std::string_view> Dimension(std::string_view key) const;
};

struct RecordView {
  Disposition disposition = Disposition::kCounted;
  ByteSpan canonical;
};

// Appends the canonical bytes. The event must have passed CheckEventShape (event_check.h);
// dimensions in any order.
void EncodeCanonical(const EventView& event, Bytes& out);

// The row as an event, but for its dimensions, which have another form. Borrows from the row.
EventView WithoutDimensions(const RowView& row);

// The canonical bytes of a row, for hashing what was read from a segment. REQUIRES: a row as
// DecodeCanonical gave it (dimensions sorted, quantity normalised).
void EncodeRow(const RowView& row, Bytes& out);

// Total: any bytes give a row or false. True only for bytes that EncodeCanonical could have
// produced (apart from limits of ingest, which a format does not have).
bool DecodeCanonical(ByteSpan canonical, RowView* row);

// Reads one record off the front of `decoder`; total.
bool DecodeRecord(Decoder& decoder, RecordView* record);

// The two strings at the front of valid canonical bytes, without decoding the rest.
std::string_view CanonicalEventId(ByteSpan canonical);
std::string_view CanonicalAccountId(ByteSpan canonical);

Event ToEvent(const RowView& row, Lsn lsn, int64_t commit_time_us);

}  // namespace tallystick
