// Invariants:
//  1. The file is created only for entries that are right: as many as rows, keys distinct, every
//     row number once.
//  2. The footer is written last: what a crash or an error leaves behind does not open.
#include "dedupe/sidecar_writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "dedupe/sidecar_output.h"

namespace tallystick {
namespace {

Status SortEntries(const std::string& path, const SidecarBinding& binding,
                   std::vector<SidecarEntry>& entries) {
  const auto refuse = [&](std::string_view why) {
    return Status::Corruption(fmt::format("{} is not written: {}", path, why));
  };
  if (entries.empty() || entries.size() != binding.rows || binding.rows > kSidecarRowsMax) {
    return refuse(fmt::format("{} entries for {} rows", entries.size(), binding.rows));
  }
  std::vector<bool> seen(entries.size());
  for (const SidecarEntry& entry : entries) {
    if (entry.row >= entries.size()) {
      return refuse(fmt::format("row {} is beyond the {} rows", entry.row, binding.rows));
    }
    if (seen[entry.row]) return refuse(fmt::format("row {} has two entries", entry.row));
    seen[entry.row] = true;
  }
  std::ranges::sort(entries, {},
                    [](const SidecarEntry& entry) { return KeyHalves::Of(entry.key); });
  const auto twice = std::ranges::adjacent_find(entries, {}, &SidecarEntry::key);
  if (twice != entries.end()) {
    return refuse(fmt::format("rows {} and {} have the same key", twice->row, (twice + 1)->row));
  }
  return Status::Ok();
}

}  // namespace

Status WriteSidecar(FileSystem& fs, const std::string& path, const SidecarBinding& binding,
                    std::vector<SidecarEntry> entries, IoGovernor* governor) {
  TALLY_RETURN_IF_ERROR(SortEntries(path, binding, entries));
  TALLY_ASSIGN_OR_RETURN(const auto output, SidecarOutput::Create(fs, path, binding, governor));
  for (const SidecarEntry& entry : entries) TALLY_RETURN_IF_ERROR(output->Add(entry));
  return output->Finish();
}

}  // namespace tallystick
