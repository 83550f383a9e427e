#include "tallystick/event.h"

namespace tallystick {

std::string_view EventKindName(EventKind kind) {
  switch (kind) {
    case EventKind::kUsage:
      return "Usage";
    case EventKind::kCorrection:
      return "Correction";
    case EventKind::kRetraction:
      return "Retraction";
  }
  return "Unknown";
}

std::optional<EventKind> EventKindFromName(std::string_view name) {
  for (const EventKind kind : {EventKind::kUsage, EventKind::kCorrection, EventKind::kRetraction}) {
    if (EventKindName(kind) == name) return kind;
  }
  return std::nullopt;
}

}  // namespace tallystick
