// A line of usageDb's log of any text: what is read is printed to what reads the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "usagedb/event_hash.h"
#include "usagedb/wal_line.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  usagedb::WalLineParser parser;
  const auto row = parser.Parse({reinterpret_cast<const char*>(data), size});
  if (!row.ok()) return 0;
  std::string text;
  usagedb::AppendWalLine(text, *row);
  Bytes scratch;
  const EventHash hash = usagedb::HashOfPayload(row->event, &scratch);
  const int64_t ingested_at_ms = row->ingested_at_ms;
  const auto again = parser.Parse(text);
  TALLY_CHECK(again.ok());
  TALLY_CHECK(usagedb::HashOfPayload(again->event, &scratch) == hash);
  TALLY_CHECK(again->ingested_at_ms == ingested_at_ms);
  return 0;
}
