// A manifest of usageDb of any text: what is read is printed to what reads the same.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "usagedb/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick::usagedb;
  const auto manifest = ParseManifest({reinterpret_cast<const char*>(data), size});
  if (!manifest.ok()) return 0;
  const std::string text = PrintManifest(*manifest);
  const auto again = ParseManifest(text);
  TALLY_CHECK(again.ok());
  TALLY_CHECK(PrintManifest(*again) == text);
  return 0;
}
