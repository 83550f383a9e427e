// For people and scripts: what stands in a segment, and what each column costs.
#pragma once

#include <string>

#include "env/env.h"
#include "tallystick/status.h"

namespace tallystick {

// Appends to `out` a description of one file: what its footer says, the bytes of each column and
// table, the row groups. With `json`, one JSON object. All of the file is verified; the status is
// kCorruption if anything is wrong (what could be read is in `out` all the same).
Status InspectSegment(FileSystem& fs, const std::string& path, bool json, std::string* out);

}  // namespace tallystick
