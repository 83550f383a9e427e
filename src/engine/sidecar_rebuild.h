// Makes a segment's sidecar anew from its rows.
//
// Thread rule: free functions; background threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dedupe/sidecar_writer.h"
#include "engine/layout.h"
#include "env/io_governor.h"
#include "query/live_segment.h"
#include "tallystick/options.h"

namespace tallystick {

// Has `write` make a temporary file, synced, and puts it in the place of `path`. On an error no
// partial file is left.
Status ReplaceFile(FileSystem& fs, const std::string& directory, const std::string& path,
                   const std::function<Status(const std::string&)>& write);

// The entries of a segment's sidecar, made from its rows.
Result<std::vector<SidecarEntry>> KeysOfSegment(const SegmentReader& rows, IdentityScope scope);

inline constexpr uint32_t kRebuildRowsAtOnce = 4u << 20;  // some 130 MB

// Writes the segment's sidecar anew from its rows: temporary name, sync, rename, directory sync.
// Opens and checks it. A segment of more rows than `rows_at_once` is done part by part, in
// temporary files that are then merged, so that memory does not grow with it. kUnavailable
// `cancelled` soon after `stopped` (may be empty) says so. On an error no partial file is left.
Result<std::unique_ptr<SidecarReader>> RebuildSidecar(FileSystem& fs, const Layout& layout,
                                                      const LiveSegment& segment,
                                                      IdentityScope scope, IoGovernor* governor,
                                                      const std::function<bool()>& stopped,
                                                      uint32_t rows_at_once = kRebuildRowsAtOnce);

}  // namespace tallystick
