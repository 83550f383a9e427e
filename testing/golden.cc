#include "testing/golden.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace tallystick {

std::string CompareGolden(const std::string& path, const std::string& text) {
  const std::string full = std::string(TALLY_SOURCE_DIR) + "/" + path;
  if (std::getenv("TALLY_REWRITE_GOLDEN") != nullptr) {
    std::ofstream(full) << text;
    return "";
  }
  std::ifstream in(full);
  if (!in) return path + " does not exist; TALLY_REWRITE_GOLDEN=1 writes it";
  std::istringstream now(text);
  std::string expected, got;
  for (int line = 1;; ++line) {
    const bool more_expected = static_cast<bool>(std::getline(in, expected));
    const bool more_got = static_cast<bool>(std::getline(now, got));
    if (!more_expected && !more_got) return "";
    if (more_expected != more_got || expected != got) {
      return fmt::format("{}:{}: expected '{}', got '{}'", path, line,
                         more_expected ? expected : "(end)", more_got ? got : "(end)");
    }
  }
}

std::string HexDump(const void* data, size_t bytes) {
  const auto* in = static_cast<const unsigned char*>(data);
  std::string out;
  for (size_t at = 0; at < bytes; at += 16) {
    std::string hex, text;
    for (size_t i = at; i < at + 16 && i < bytes; ++i) {
      hex += fmt::format("{:02x} ", in[i]);
      text += in[i] >= 0x20 && in[i] < 0x7f ? static_cast<char>(in[i]) : '.';
    }
    out += fmt::format("{:06x}  {:<48} {}\n", at, hex, text);
  }
  return out;
}

}  // namespace tallystick
