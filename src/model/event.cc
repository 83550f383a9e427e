#include "tallystick/event.h"

#include <iterator>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr std::string_view kNames[] = {"Usage", "Correction", "Retraction"};

}  // namespace

std::string_view EventKindName(EventKind kind) {
  const auto index = static_cast<size_t>(kind);
  TALLY_CHECK(index < std::size(kNames));
  return kNames[index];
}

std::optional<EventKind> EventKindFromName(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name) return static_cast<EventKind>(i);
  }
  return std::nullopt;
}

}  // namespace tallystick
