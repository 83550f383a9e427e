#include "testing/tried.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

namespace tallystick {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr Effort kDefaultEffort = Effort::kQuick;
#else
constexpr Effort kDefaultEffort = Effort::kNormal;
#endif

}  // namespace

void ReportTried(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  if (const char* file = std::getenv("TALLY_TRIED_FILE")) {
    std::ofstream(file, std::ios::app) << line << "\n";
  }
}

Effort ChosenEffort() {
  if (NumberFromEnvironment("TALLY_QUICK", 0) != 0) return Effort::kQuick;
  return NumberFromEnvironment("TALLY_SOAK", 0) != 0 ? Effort::kSoak : kDefaultEffort;
}

uint64_t NumberFromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

}  // namespace tallystick
