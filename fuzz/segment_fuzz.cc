// A whole segment of any bytes: open, check, read every row. Nothing may crash, and what the check
// accepts must be readable to the end.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "segment/chunk.h"
#include "segment/dictionary.h"
#include "segment/dimension_chunk.h"
#include "segment/segment_format.h"
#include "segment/segment_reader.h"
#include "segment/uuid.h"
#include "testing/sim_fs.h"

namespace {

constexpr char kPath[] = "000123.seg";

void Try(tallystick::ByteSpan content) {
  using namespace tallystick;
  if (content.size() < kSegmentTailBytes) return;
  SimFs fs;
  TALLY_CHECK(fs.Open(kPath, OpenMode::kCreateNew).ok());
  fs.SetContent(kPath, content);
  const auto footer = DecodeSegmentTail(content.last(kSegmentTailBytes), content.size());
  if (!footer.ok()) return;
  BlockCache cache(1 << 20);
  const SegmentInfo& info = footer->info;
  auto reader = SegmentReader::Open(fs, kPath, {info.database_id, info.number, 0}, cache);
  if (!reader.ok()) return;
  const bool whole = CheckSegment(**reader, {}).ok();
  SegmentCursor cursor(**reader, kAllSegmentColumns);
  for (uint32_t row = 0; row < std::min<uint64_t>(info.rows, 1000); ++row) {
    const bool sought = cursor.Seek(row).ok();
    TALLY_CHECK(sought || !whole);
    if (!sought) break;
    const RowView view = cursor.row();
    TALLY_CHECK(!whole || !view.event_id.empty());
  }
  (void)(*reader)->RowsOfAccount("account-0").ok();
  (void)(*reader)->QuarantinedRows(std::nullopt).ok();
  (void)(*reader)->CommitTimeMicros(info.first_lsn).ok();
}

// What stands in blocks, without the checksums around them. The first byte is the number of rows.
void TryChunks(tallystick::ByteSpan bytes) {
  using namespace tallystick;
  if (bytes.empty()) return;
  const uint32_t rows = std::to_integer<uint32_t>(bytes[0]) + 1;
  bytes = bytes.subspan(1);
  if (QuantityChunk chunk; QuantityChunk::Parse(bytes, rows, &chunk)) {
    for (uint32_t i = 0; i < rows; ++i) (void)chunk.Get(i);
  }
  if (EventIdChunk chunk; EventIdChunk::Parse(bytes, rows, &chunk)) {
    char buffer[kUuidTextBytes];
    std::string_view id;
    for (uint32_t i = 0; i < rows; ++i) (void)chunk.Get(i, buffer, &id);
    (void)chunk.IsWhole();
  }
  if (CorrectionChunk chunk; CorrectionChunk::Parse(bytes, rows, &chunk)) {
    std::optional<CorrectionRefView> ref;
    for (uint32_t i = 0; i < rows; ++i) (void)chunk.Get(i, &ref);
    (void)chunk.IsWhole();
  }
  if (DimensionChunk chunk; DimensionChunk::Parse(bytes, rows, &chunk)) {
    uint32_t count = 0;
    Bytes pairs;
    for (uint32_t i = 0; i < rows; ++i) (void)chunk.AppendPairs(i, &count, pairs);
    (void)chunk.IsWhole();
  }
  if (DictionaryView view; DictionaryView::Parse(bytes, &view)) {
    std::string_view text;
    for (uint32_t i = 0; i < std::min(view.size(), 1000u); ++i) (void)view.Get(i, &text);
    (void)view.Find("x");
    (void)view.IsWhole();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  if (size > 1 << 16) return 0;
  Bytes bytes(reinterpret_cast<const std::byte*>(data),
              reinterpret_cast<const std::byte*>(data) + size);
  TryChunks(bytes);
  Try(bytes);
  // The checksums would keep the fuzzer out: the footer's is made right for a second try.
  if (bytes.size() < kSegmentTailBytes) return 0;
  std::byte* const tail = bytes.data() + bytes.size() - kSegmentTailBytes;
  SegmentFooter footer;
  Bytes right;
  AppendSegmentTail(footer, right);
  std::copy(right.begin() + kSegmentFooterBytes + 8, right.end(), tail + kSegmentFooterBytes + 8);
  StoreFixed(tail + kSegmentFooterBytes, FooterChecksum({tail, kSegmentFooterBytes}));
  Try(bytes);
  return 0;
}
