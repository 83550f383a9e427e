// Writes a segment's dedupe sidecar, N.idx: the keys of its rows sorted by hash, in pages, with a
// page directory and a filter. docs/formats/sidecar.md has the layout.
//
// Thread rule: a free function; background threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/types.h"
#include "env/env.h"
#include "env/io_governor.h"
#include "tallystick/event.h"

namespace tallystick {

struct SidecarEntry {
  EventHash key;  // id hash, or the conflict key of a quarantined row
  uint64_t payload_hash = 0;
  uint32_t row = 0;  // number of the row in the segment
  friend bool operator==(const SidecarEntry&, const SidecarEntry&) = default;
};

// What ties a sidecar to its segment: nothing else is believed.
struct SidecarBinding {
  DatabaseId database_id;
  FileNumber number;
  Lsn first_lsn;
  Lsn last_lsn;
  uint64_t rows = 0;
  uint64_t footer_checksum = 0;  // of the .seg
  friend bool operator==(const SidecarBinding&, const SidecarBinding&) = default;
};

// Creates `path` (which must not exist) with exactly these entries, in any order; row numbers are a
// permutation of 0..rows-1 and keys are distinct, else kCorruption and nothing is left that could
// be believed. Syncs the file; the caller syncs the directory. On an error the caller removes the
// file. `governor` may be null.
Status WriteSidecar(FileSystem& fs, const std::string& path, const SidecarBinding& binding,
                    std::vector<SidecarEntry> entries, IoGovernor* governor);

}  // namespace tallystick
