// `tallystick inspect wal`: reads a WAL file offline and tells what it holds.
#pragma once

#include <string>

#include "env/env.h"
#include "tallystick/status.h"

namespace tallystick {

// Appends to `out` a description of one file: header, one line a frame,
// and how the file ends, judged by itself alone. With `json`, one JSON object. The status is
// kCorruption if anything is wrong (what could be read is in `out` all the same).
Status InspectWal(FileSystem& fs, const std::string& path, bool json, std::string* out);

}  // namespace tallystick
