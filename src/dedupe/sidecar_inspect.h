// For people and scripts: what stands in a dedupe sidecar, ours (N.idx) or usageDb's (UDBIDX01).
#pragma once

#include <string>

#include "env/env.h"
#include "tallystick/status.h"

namespace tallystick {

// Appends to `out` a description of one file, told apart by its magic, and every entry: hashes as
// hex digits in the order of the file's bytes. With `json`, one JSON object. All of the file is
// verified; the status is kCorruption if anything is wrong, and then entries are listed only as far
// as they can be believed.
Status InspectSidecar(FileSystem& fs, const std::string& path, bool json, std::string* out);

}  // namespace tallystick
