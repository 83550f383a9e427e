#include "dedupe/sidecar_merge.h"

#include <utility>

#include "base/mutant.h"
#include "base/result.h"

namespace tallystick {

Status SidecarMerger::Advance(Source& source) {
  TALLY_RETURN_IF_ERROR(source.cursor.Next());
  if (!source.cursor.done()) source.key = KeyHalves::Of(source.cursor.entry().key);
  return Status::Ok();
}

Result<std::unique_ptr<SidecarMerger>> SidecarMerger::Start(
    FileSystem& fs, const std::string& path, const SidecarBinding& binding,
    const std::vector<const SidecarReader*>& inputs, MapRow map_row, IoGovernor* governor) {
  std::unique_ptr<SidecarMerger> merger(new SidecarMerger(std::move(map_row)));
  for (const SidecarReader* input : inputs) {
    merger->sources_.push_back({SidecarCursor(*input), {}});
    TALLY_RETURN_IF_ERROR(Advance(merger->sources_.back()));
  }
  TALLY_ASSIGN_OR_RETURN(merger->output_, SidecarOutput::Create(fs, path, binding, governor));
  return merger;
}

Result<bool> SidecarMerger::Step(uint64_t entries) {
  for (; entries > 0; --entries) {
    Source* least = nullptr;
    for (Source& source : sources_) {
      if (source.cursor.done()) continue;
      if (least == nullptr || source.key < least->key) least = &source;
    }
    if (least == nullptr) return true;
    SidecarEntry entry = least->cursor.entry();
    entry.row = map_row_(static_cast<size_t>(least - sources_.data()), entry.row);
    if (TALLY_MUTANT("merged_key_missing") && entry.key.bytes[0] == 0xff) entry.key.bytes[15] ^= 1;
    TALLY_RETURN_IF_ERROR(output_->Add(entry));
    if (on_entry_) on_entry_(entry);
    TALLY_RETURN_IF_ERROR(Advance(*least));
  }
  return false;
}

}  // namespace tallystick
