#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace tallystick {

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "tallystick: check failed: %s at %s:%d\n", condition, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace tallystick
