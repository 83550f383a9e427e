// The text of an answer that explains sums.
//
// Thread rule: a pure function.
#pragma once

#include <string>

#include "tallystick/status.h"

namespace tallystick {

// From the JSON of GET /v1/accounts/{account}/explain: a table of lines, behind each line what gave
// it its events; corrections with their originals; the plan. kCorruption if it is other JSON.
Result<std::string> ExplainText(const std::string& json);

}  // namespace tallystick
