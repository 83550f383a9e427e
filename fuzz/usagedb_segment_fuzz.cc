// A segment of usageDb of any bytes: what is read is written again to what reads the same.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "usagedb/event_hash.h"
#include "usagedb/segment.h"

namespace {

constexpr uint64_t kColumnBytes = 1 << 20;

void Try(tallystick::ByteSpan bytes) {
  using namespace tallystick::usagedb;
  const auto segment = DecodeSegment(bytes, kColumnBytes);
  if (!segment.ok()) return;
  std::vector<Row> rows;
  for (uint32_t i = 0; i < segment->rows.size(); ++i) rows.push_back(segment->rows.Get(i));
  const auto again = DecodeSegment(EncodeSegment(rows)->file);
  TALLY_CHECK(again.ok() && again->rows.size() == rows.size());
  tallystick::Bytes scratch;
  for (uint32_t i = 0; i < rows.size(); ++i) {
    const Row row = again->rows.Get(i);
    TALLY_CHECK(HashOfPayload(row.event, &scratch) == HashOfPayload(rows[i].event, &scratch));
    TALLY_CHECK(row.ingested_at_ms == rows[i].ingested_at_ms);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  if (size > 1 << 16) return 0;
  Bytes bytes(reinterpret_cast<const std::byte*>(data),
              reinterpret_cast<const std::byte*>(data) + size);
  Try(bytes);
  // The checksum would keep the fuzzer out: it is made right for the second try.
  constexpr size_t kFooterBytes = sizeof(uint64_t) + sizeof usagedb::kSegmentEndMagic;
  if (size < kFooterBytes) return 0;
  const size_t covered = size - kFooterBytes;
  StoreFixed<uint64_t>(bytes.data() + covered, usagedb::Checksum(ByteSpan(bytes).first(covered)));
  std::ranges::copy(std::as_bytes(std::span(usagedb::kSegmentEndMagic)),
                    bytes.begin() + static_cast<std::ptrdiff_t>(covered + sizeof(uint64_t)));
  Try(bytes);
  return 0;
}
