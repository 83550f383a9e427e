// Merges the sidecars of adjacent segments into that of the segment which their rows were merged
// into: keys and payload hashes as they are, row numbers mapped; nothing is hashed again.
//
// Keys are conserved: the output has as many entries as its segment has rows and as the inputs have
// together, all keys distinct, or there is none.
//
// Thread rule: one thread; the inputs must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dedupe/sidecar_cursor.h"
#include "dedupe/sidecar_output.h"

namespace tallystick {

class SidecarMerger {
 public:
  // Where the row of an input is in the merged segment.
  using MapRow = std::function<uint32_t(size_t input, uint32_t row)>;

  // Creates `path` (which must not exist). On an error, here or later, the caller removes the file.
  static Result<std::unique_ptr<SidecarMerger>> Start(
      FileSystem& fs, const std::string& path, const SidecarBinding& binding,
      const std::vector<const SidecarReader*>& inputs, MapRow map_row, IoGovernor* governor);

  // Called with each entry that is written.
  void SetOnEntry(std::function<void(const SidecarEntry&)> on_entry) {
    on_entry_ = std::move(on_entry);
  }
  // Merges the next entries, at most this many. True: that was all of them.
  Result<bool> Step(uint64_t entries);
  // Writes the rest of the file and syncs it; the caller syncs the directory.
  // REQUIRES: Step gave true; called once.
  Status Finish() { return output_->Finish(); }

 private:
  struct Source {
    SidecarCursor cursor;
    KeyHalves key;  // of its current entry
  };

  explicit SidecarMerger(MapRow map_row) : map_row_(std::move(map_row)) {}
  static Status Advance(Source& source);

  const MapRow map_row_;
  std::function<void(const SidecarEntry&)> on_entry_;
  std::vector<Source> sources_;
  std::unique_ptr<SidecarOutput> output_;
};

}  // namespace tallystick
