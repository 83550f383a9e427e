// The rows of an answer, for a table: every value as the text that stands in the JSON, so that a
// number of any size and precision stays what it is.
//
// Thread rule: pure functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tallystick/status.h"

namespace tallystick {

// Member name -> value; members of objects inside as "outer.inner". Text is unescaped, numbers and
// booleans are as written, null is "", arrays are their JSON.
using JsonRow = std::map<std::string, std::string>;

struct JsonRows {
  JsonRow top;                // the answer's own members
  std::vector<JsonRow> rows;  // the elements of its array `array_key`
};

// `array_key` may be empty: no rows. kCorruption if the text is not such a document.
Result<JsonRows> ReadJsonRows(std::string_view json, std::string_view array_key);

// The elements of an array of objects, or of texts, as a member that is an array gives it; "" has
// none.
Result<std::vector<JsonRow>> ReadJsonArray(std::string_view json);
Result<std::vector<std::string>> ReadJsonTexts(std::string_view json);

// The member, or "".
const std::string& Member(const JsonRow& row, const std::string& name);

}  // namespace tallystick
