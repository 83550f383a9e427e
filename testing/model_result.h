// What exploring a model gives (model_explorer.h does it).
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tallystick {

// One step of a trace; `format` takes up to two numbers.
struct ModelStep {
  std::string_view format;
  int a = 0;
  int b = 0;
  std::string_view violation = {};  // the step itself breaks an invariant

  std::string ToString() const { return fmt::format(fmt::runtime(format), a, b); }
};

template <typename State>
using EmitStep = std::function<void(const State&, const ModelStep&)>;

struct ModelResult {
  uint64_t states = 0;
  uint64_t transitions = 0;
  uint64_t recoveries = 0;  // plans computed, of states as they are and as a crash could leave them
  int depth = 0;
  std::string violation;           // empty: all invariants hold in all states
  std::vector<std::string> trace;  // a shortest way to it, one step a line
};

}  // namespace tallystick
