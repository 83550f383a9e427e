// CSV of what the database answers (RFC 4180): cells with commas, quotes or line ends are quoted,
// lines end in CR LF. Names and order of the columns are those of the JSON. A text is never
// nothing: an empty one is `""`, a missing one (JSON null) an empty cell.
//
// Everything appends to a string that the caller owns.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tallystick/event.h"

namespace tallystick {

inline constexpr std::string_view kCsvLineEnd = "\r\n";

// One cell, quoted where it must be.
void AppendCsvText(std::string& out, std::string_view text);

// "account_id,correction_ref,...,unit" and the end of the line.
void AppendEventCsvHeader(std::string& out);
// Dimensions and the correction's reference are cells of JSON.
void AppendEventCsv(std::string& out, const Event& event);
// The same with another quantity: a sum can be larger than that of any event.
void AppendEventCsv(std::string& out, const Event& event, std::string_view quantity);

}  // namespace tallystick
