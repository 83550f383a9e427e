// For people and scripts: what stands in a rollup, N.sum.
#pragma once

#include <string>

#include "env/env.h"
#include "tallystick/status.h"

namespace tallystick {

// Appends to `out` a description of the file, and its lines block by block: codes of the segment's
// dictionaries, kind, hour, exact sum, number of events. With `json`, one JSON object. All of the
// file is verified, though not compared with the segment; the status is kCorruption if anything is
// wrong, and then no lines are listed.
Status InspectRollup(FileSystem& fs, const std::string& path, bool json, std::string* out);

}  // namespace tallystick
