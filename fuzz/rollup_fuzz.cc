// A rollup of any bytes: open, look up, read by blocks and whole. Nothing may crash; what reads
// whole gives the same lines by blocks, and when it is written again.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "rollup/whole_rollup_fixture.h"
#include "testing/sim_fs.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tallystick {
namespace {

constexpr char kPath[] = "000123.sum";
constexpr uint64_t kEntriesMax = 1 << 16;  // of equal starts any number fits a few bytes

SegmentInfo SegmentOf(const RollupFooter& footer) {
  return {.database_id = footer.database_id,
          .number = footer.number,
          .first_lsn = footer.first_lsn,
          .last_lsn = footer.last_lsn,
          .rows = footer.rows,
          .footer_checksum = footer.segment_checksum};
}

// Written, read and written again: all is the same.
void CheckWritten(const SegmentInfo& segment, const Rollup& rollup) {
  Bytes before;
  Rollup stored = rollup;
  for (int i = 0; i < 2; ++i) {
    SimFs fs;
    BlockCache cache(1 << 20);
    TALLY_CHECK(WriteRollup(fs, kPath, segment, stored, nullptr).ok());
    const auto reader = RollupReader::Open(fs, kPath, segment, cache);
    TALLY_CHECK(reader.ok());
    TALLY_CHECK(CheckRollup(**reader, rollup).ok());
    stored = *ReadRollup(**reader);
    const Bytes now = *fs.Content(kPath);
    TALLY_CHECK(i == 0 || now == before);
    before = now;
  }
}

void Try(const Bytes& bytes) {
  SimFs fs;
  TALLY_CHECK(fs.Open(kPath, OpenMode::kCreateNew).ok());
  fs.SetContent(kPath, bytes);
  BlockCache cache(1 << 20);
  const auto reader = RollupReader::OpenAlone(fs, kPath, cache);
  if (!reader.ok()) return;
  const RollupFooter& footer = (*reader)->footer();
  if (footer.entries > kEntriesMax) return;
  const auto rollup = ReadRollup(**reader);
  for (uint64_t entry = 0; entry < footer.entries; ++entry) {
    const auto lines = (*reader)->LinesOf(entry);
    if (rollup.ok()) {
      TALLY_CHECK(lines.ok());
      TALLY_CHECK(lines->begin == rollup->starts[entry] && lines->end == rollup->starts[entry + 1]);
    } else if (!lines.ok()) {
      break;
    }
  }
  RollupColumns columns(**reader);
  uint64_t at = 0;
  for (uint64_t block = 0; block < footer.blocks(); ++block) {
    const bool entered = columns.Enter(block, 0, footer.lines_of(block)).ok();
    TALLY_CHECK(entered || !rollup.ok());
    if (!entered) break;
    const auto counts = *columns.Counts();
    const auto hours = *columns.Integers(SegmentColumn::kTimestamp);
    for (uint32_t i = 0; rollup.ok() && i < columns.rows(); ++i, ++at) {
      TALLY_CHECK(counts[i] == rollup->lines[at].count);
      TALLY_CHECK(static_cast<int64_t>(hours[i]) == rollup->lines[at].key.hour_start_ms);
    }
  }
  if (rollup.ok()) CheckWritten(SegmentOf(footer), *rollup);
}

void Seal(const RollupFooter& footer, uint64_t begin, uint64_t end, Bytes& bytes) {
  if (begin < kRollupHeaderBytes || begin > end || end > bytes.size() ||
      end - begin < kBlockTrailerBytes) {
    return;
  }
  const auto at = bytes.begin() + static_cast<ptrdiff_t>(begin);
  Bytes block(at, at + static_cast<ptrdiff_t>(end - begin - kBlockTrailerBytes));
  SealBlock(RollupSeed(footer.database_id, footer.number), begin,
            static_cast<BlockCodec>(bytes[end - kBlockTrailerBytes]), 0, block);
  std::ranges::copy(block, at);
}

// Makes every checksum right, which would keep the fuzzer out.
bool Reseal(Bytes& bytes) {
  if (bytes.size() < kRollupHeaderBytes + kRollupFooterBytes) return false;
  const uint64_t footer_at = bytes.size() - kRollupFooterBytes;
  std::byte* const tail = bytes.data() + footer_at;
  constexpr uint64_t kChecked = kRollupFooterBytes - sizeof(uint64_t);
  StoreFixed<uint64_t>(tail + kChecked, XXH3_64bits(tail, kChecked));
  const auto footer = DecodeRollupFooter(ByteSpan(bytes).subspan(footer_at), bytes.size());
  if (!footer.ok()) return false;
  Bytes header;
  AppendRollupHeader(footer->database_id, footer->number, header);
  std::ranges::copy(header, bytes.begin());
  Decoder in(ByteSpan(bytes).subspan(footer->index.offset, footer->index.bytes));
  IntChunk starts, offsets;
  if (IntChunk::Parse(in, static_cast<uint32_t>(footer->entries + 1), &starts) &&
      IntChunk::Parse(in, static_cast<uint32_t>(footer->blocks() + 1), &offsets)) {
    for (uint32_t block = 0; block < footer->blocks(); ++block) {
      if (offsets.Get(block) >= offsets.Get(block + 1)) break;
      Seal(*footer, offsets.Get(block), offsets.Get(block + 1), bytes);
    }
  }
  Seal(*footer, footer->index.offset, footer_at, bytes);
  return true;
}

}  // namespace
}  // namespace tallystick

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  if (size > 1 << 16) return 0;
  Bytes bytes(reinterpret_cast<const std::byte*>(data),
              reinterpret_cast<const std::byte*>(data) + size);
  Try(bytes);
  if (Reseal(bytes)) Try(bytes);
  return 0;
}
