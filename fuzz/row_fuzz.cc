// The row codec on any bytes, read as one canonical encoding and as a run of records. What is
// accepted must encode to the same bytes again.
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "model/event_check.h"
#include "model/row.h"

namespace tallystick {
namespace {

void CheckCanonical(ByteSpan canonical) {
  RowView row;
  if (!DecodeCanonical(canonical, &row)) return;
  TALLY_CHECK(CanonicalEventId(canonical) == row.event_id);
  TALLY_CHECK(CanonicalAccountId(canonical) == row.account_id);
  const Event event = ToEvent(row, Lsn{1}, 1);
  TALLY_CHECK(event.dimensions.size() == row.dimension_count);
  std::vector<Dimension> dimensions;
  for (const auto& [key, value] : event.dimensions) {
    TALLY_CHECK(row.Dimension(key) == value);
    dimensions.push_back({key, value});
  }
  if (dimensions.size() > kDimensionsMax) return;  // a limit of ingest; the encoder holds to it
  EventView view;
  view.event_id = row.event_id;
  view.account_id = row.account_id;
  view.product_id = row.product_id;
  view.meter_id = row.meter_id;
  view.subscription_id = row.subscription_id;
  view.model_id = row.model_id;
  view.unit = row.unit;
  view.source = row.source;
  view.kind = row.kind;
  view.correction_ref = row.correction_ref;
  view.timestamp_ms = row.timestamp_ms;
  view.quantity = row.quantity;
  view.dimensions = dimensions;
  Bytes again;
  EncodeCanonical(view, again);
  TALLY_CHECK(AsText(again) == AsText(canonical));
}

}  // namespace
}  // namespace tallystick

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  const ByteSpan bytes = std::as_bytes(std::span(data, size));
  CheckCanonical(bytes);
  Decoder decoder(bytes);
  RecordView record;
  while (decoder.remaining() > 0 && DecodeRecord(decoder, &record)) {
    TALLY_CHECK(record.canonical.size() + kRecordHeaderBytes >= kRecordBytesMin);
    CheckCanonical(record.canonical);
  }
  return 0;
}
