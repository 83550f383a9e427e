// `tallystick inspect manifest`: reads a manifest offline and tells what it lists.
#pragma once

#include <string>

#include "env/env.h"
#include "tallystick/status.h"

namespace tallystick {

// Appends a description (or, with `json`, one JSON object) of the manifest file at `path` to `out`.
Status InspectManifest(FileSystem& fs, const std::string& path, bool json, std::string* out);

}  // namespace tallystick
