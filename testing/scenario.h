// Small histories of a database: what clients send, when nobody sends, when it is closed and opened
// again. Small on purpose (log files of eight blocks, frames of one, two and many blocks), so that
// roll-overs, an offered but empty spare, marks, conflicts and duplicates all occur within some
// dozen operations, and a crash at each of them can be tried.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "tallystick/db.h"

namespace tallystick {

// Event number `id`. `variant` changes its payload (same id, other payload: a conflict); `blocks`
// is about how many log blocks it fills beyond its first 200 bytes (0..2).
Event SmallEvent(int id, int variant = 0, int blocks = 0);

// Log files of eight blocks; `direct_io` false: every frame is a write and a sync.
OpenOptions SmallOptions(bool direct_io);

struct ScenarioStep {
  enum class Kind : uint8_t {
    kIngest,  // all requests are sent before any is answered
    kIdle,    // until nothing is due any more: a mark is written, a spare is prepared
    kReopen,  // closed in order and opened again
  };
  Kind kind = Kind::kIdle;
  std::vector<std::vector<Event>> requests;
};

struct Scenario {
  std::string name;
  OpenOptions options;
  std::vector<ScenarioStep> steps;
};

// For GoogleTest.
void PrintTo(const Scenario& scenario, std::ostream* out);

// Those of the crash matrix and of the fault tests, smallest first.
std::vector<Scenario> SmallScenarios();

}  // namespace tallystick
