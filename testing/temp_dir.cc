#include "testing/temp_dir.h"

#include <filesystem>
#include <string>

#include "base/check.h"

namespace tallystick {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "tallystick-XXXXXX").string();
  TALLY_CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace tallystick
