// The web page that GET / answers: page.html, compiled in. docs/page.md tells what it shows.
//
// Thread rule: a pure function.
#pragma once

#include <string_view>

namespace tallystick {

std::string_view PageHtml();

}  // namespace tallystick
