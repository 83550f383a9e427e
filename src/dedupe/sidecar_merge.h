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
#include <span>
#include <string>
#include <vector>

#include "dedupe/sidecar_cursor.h"
#include "dedupe/sidecar_output.h"

namespace tallystick {

class SidecarMerger {
 public:
  // Takes the next merged entries, of which each has the row of its input, inputs[i] that of
  // entries[i]; puts where that row is in the merged segment. Many at once, since to look one up
  // may take several cache misses.
  using MapRows =
      std::function<void(std::span<const uint32_t> inputs, std::span<SidecarEntry> entries)>;

  // Creates `path` (which must not exist). On an error, here or later, the caller removes the file.
  static Result<std::unique_ptr<SidecarMerger>> Start(
      FileSystem& fs, const std::string& path, const SidecarBinding& binding,
      const std::vector<const SidecarReader*>& inputs, MapRows map_rows, IoGovernor* governor);

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

  explicit SidecarMerger(MapRows map_rows) : map_rows_(std::move(map_rows)) {}
  static Status Advance(Source& source);
  // The next entries in key order; fewer than `most` only if those are the last.
  Status Take(size_t most);

  const MapRows map_rows_;
  std::vector<Source> sources_;
  std::vector<SidecarEntry> entries_;  // taken, and not yet in the output
  std::vector<uint32_t> inputs_;       // whose they are
  std::unique_ptr<SidecarOutput> output_;
};

}  // namespace tallystick
