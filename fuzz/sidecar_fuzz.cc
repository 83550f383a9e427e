// Both sidecar layouts of any bytes: open, load, check, list, look up. Nothing may crash.
#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"
#include "dedupe/sidecar_format.h"
#include "dedupe/sidecar_reader.h"
#include "dedupe/udbidx01.h"
#include "testing/sim_fs.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  if (size > 1 << 16) return 0;
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const auto entries = udbidx01::DecodeDedupeIndex(bytes); entries.ok()) {
    const Bytes again = udbidx01::EncodeDedupeIndex(*entries);
    TALLY_CHECK(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  }
  constexpr char kPath[] = "000007.idx";
  SimFs fs;
  TALLY_CHECK(fs.Open(kPath, OpenMode::kCreateNew).ok());
  fs.SetContent(kPath, bytes);
  const auto binding = SidecarReader::ReadBinding(fs, kPath);
  if (!binding.ok()) return 0;
  const auto sidecar = SidecarReader::Open(fs, kPath, *binding);
  if (!sidecar.ok()) return 0;
  const bool whole = CheckSidecar(**sidecar).ok();
  std::vector<EventHash> keys;
  const Status listed = (*sidecar)->ForEach([&](const SidecarEntry& entry) {
    if (keys.size() < 1000) keys.push_back(entry.key);
  });
  TALLY_CHECK(listed.ok() || !whole);
  (void)(*sidecar)->LoadFilter(nullptr).ok();
  std::vector<uint32_t> candidates;
  (*sidecar)->Filter(keys, &candidates);
  std::vector<std::optional<SidecarReader::Found>> found(candidates.size());
  const bool looked = (*sidecar)->Find(keys, candidates, found).ok();
  if (whole) {
    TALLY_CHECK(looked && candidates.size() == keys.size());
    for (const auto& one : found) TALLY_CHECK(one.has_value());
  }
  return 0;
}
