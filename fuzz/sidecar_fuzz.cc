// A sidecar of any bytes: open, load, check, list, look up. Nothing may crash; what is whole
// answers for all of its keys and is written again to the same bytes.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "dedupe/sidecar_format.h"
#include "dedupe/sidecar_reader.h"
#include "testing/sim_fs.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tallystick {
namespace {

constexpr char kPath[] = "000007.idx";

void CheckWhole(const Bytes& bytes, const SidecarBinding& binding,
                const std::vector<SidecarEntry>& entries) {
  SimFs fs;
  TALLY_CHECK(WriteSidecar(fs, kPath, binding, entries, nullptr).ok());
  TALLY_CHECK(*fs.Content(kPath) == bytes);
}

void Try(const Bytes& bytes) {
  SimFs fs;
  TALLY_CHECK(fs.Open(kPath, OpenMode::kCreateNew).ok());
  fs.SetContent(kPath, bytes);
  const auto binding = SidecarReader::ReadBinding(fs, kPath);
  if (!binding.ok()) return;
  const auto sidecar = SidecarReader::Open(fs, kPath, *binding);
  TALLY_CHECK(sidecar.ok());
  const bool whole = CheckSidecar(**sidecar).ok();
  std::vector<SidecarEntry> entries;
  const Status listed =
      (*sidecar)->ForEach([&](const SidecarEntry& entry) { entries.push_back(entry); });
  TALLY_CHECK(listed.ok() || !whole);
  TALLY_CHECK((*sidecar)->LoadFilter(nullptr).ok() || !whole);
  std::vector<EventHash> keys;
  for (const SidecarEntry& entry : entries) keys.push_back(entry.key);
  std::vector<uint32_t> candidates;
  (*sidecar)->Filter(keys, &candidates);
  std::vector<std::optional<SidecarReader::Found>> found(candidates.size());
  const Status looked = (*sidecar)->Find(keys, candidates, found);
  if (!whole) return;
  TALLY_CHECK(looked.ok());
  TALLY_CHECK(candidates.size() == entries.size());
  for (size_t i = 0; i < entries.size(); ++i) TALLY_CHECK(found[i]->row == entries[i].row);
  CheckWhole(bytes, *binding, entries);
}

// The number of rows of a file of this size, if there is one.
std::optional<uint64_t> RowsOf(uint64_t file_bytes) {
  for (uint64_t rows = 1; SidecarLayout::For(rows).file_bytes <= file_bytes; ++rows) {
    if (SidecarLayout::For(rows).file_bytes == file_bytes) return rows;
  }
  return std::nullopt;
}

// Makes every checksum right, which would keep the fuzzer out.
void Reseal(const SidecarLayout& layout, Bytes& bytes) {
  SidecarFooter footer;
  SidecarBinding& binding = footer.binding;
  Decoder decoder(ByteSpan(bytes).last(kSidecarFooterBytes).subspan(16));
  binding.database_id.bytes = decoder.Fixed<std::array<uint8_t, 16>>();
  binding.number = {decoder.Fixed<uint64_t>()};
  binding.first_lsn = {decoder.Fixed<uint64_t>()};
  binding.last_lsn = {decoder.Fixed<uint64_t>()};
  binding.rows = layout.rows;
  footer.directory_checksum =
      XXH3_64bits(bytes.data() + layout.directory_offset, layout.directory_bytes);
  footer.filter_checksum = XXH3_64bits(bytes.data() + layout.filter_offset, layout.filter_bytes);
  for (uint64_t page = 0; page < layout.pages; ++page) {
    SealSidecarPage(SidecarSeed(binding), page,
                    std::span(bytes).subspan(layout.PageOffset(page), kSidecarPageBytes));
  }
  Bytes ends;
  AppendSidecarHeader(binding, ends);
  std::ranges::copy(ends, bytes.begin());
  ends.clear();
  AppendSidecarFooter(footer, ends);
  std::ranges::copy(ends, bytes.end() - kSidecarFooterBytes);
}

}  // namespace
}  // namespace tallystick

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  if (size > 1 << 16) return 0;
  Bytes bytes(reinterpret_cast<const std::byte*>(data),
              reinterpret_cast<const std::byte*>(data) + size);
  Try(bytes);
  if (const auto rows = RowsOf(size)) {
    Reseal(SidecarLayout::For(*rows), bytes);
    Try(bytes);
  }
  return 0;
}
