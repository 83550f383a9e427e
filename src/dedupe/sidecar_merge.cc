#include "dedupe/sidecar_merge.h"

#include <algorithm>
#include <utility>

#include "base/mutant.h"
#include "base/result.h"

namespace tallystick {
namespace {

constexpr size_t kEntriesAtOnce = 256;

}  // namespace

Status SidecarMerger::Advance(Source& source) {
  TALLY_RETURN_IF_ERROR(source.cursor.Next());
  if (!source.cursor.done()) source.key = KeyHalves::Of(source.cursor.entry().key);
  return Status::Ok();
}

Result<std::unique_ptr<SidecarMerger>> SidecarMerger::Start(
    FileSystem& fs, const std::string& path, const SidecarBinding& binding,
    const std::vector<const SidecarReader*>& inputs, MapRows map_rows, IoGovernor* governor) {
  std::unique_ptr<SidecarMerger> merger(new SidecarMerger(std::move(map_rows)));
  for (const SidecarReader* input : inputs) {
    merger->sources_.push_back({SidecarCursor(*input), {}});
    TALLY_RETURN_IF_ERROR(Advance(merger->sources_.back()));
  }
  TALLY_ASSIGN_OR_RETURN(merger->output_, SidecarOutput::Create(fs, path, binding, governor));
  return merger;
}

Status SidecarMerger::Take(size_t most) {
  entries_.clear();
  inputs_.clear();
  while (entries_.size() < most) {
    Source* least = nullptr;
    for (Source& source : sources_) {
      if (source.cursor.done()) continue;
      if (least == nullptr || source.key < least->key) least = &source;
    }
    if (least == nullptr) break;
    SidecarEntry& entry = entries_.emplace_back(least->cursor.entry());
    if (TALLY_MUTANT("merged_key_missing") && entry.key.bytes[0] == 0xff) entry.key.bytes[15] ^= 1;
    inputs_.push_back(static_cast<uint32_t>(least - sources_.data()));
    TALLY_RETURN_IF_ERROR(Advance(*least));
  }
  return Status::Ok();
}

Result<bool> SidecarMerger::Step(uint64_t entries) {
  while (entries > 0) {
    const size_t most = std::min<uint64_t>(entries, kEntriesAtOnce);
    TALLY_RETURN_IF_ERROR(Take(most));
    map_rows_(inputs_, entries_);
    for (const SidecarEntry& entry : entries_) TALLY_RETURN_IF_ERROR(output_->Add(entry));
    if (entries_.size() < most) return true;
    entries -= most;
  }
  return false;
}

}  // namespace tallystick
