// What exploring a model gives (model_explorer.h does it).
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
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

// A rule of a protocol that can be left out, with the name that tests print.
template <typename Rule>
using NamedRule = std::pair<Rule, std::string_view>;

template <typename Rule, size_t kCount>
constexpr std::array<Rule, kCount> RulesOf(const NamedRule<Rule> (&named)[kCount]) {
  std::array<Rule, kCount> rules{};
  for (size_t i = 0; i < kCount; ++i) rules[i] = named[i].first;
  return rules;
}

template <typename Rule, size_t kCount>
std::string_view NameOfRule(const NamedRule<Rule> (&named)[kCount], Rule rule) {
  for (const auto& [known, name] : named) {
    if (known == rule) return name;
  }
  return "none";
}

// The directory of manifests was synced: in states of models that keep the superseded one, the
// durable one, and then those whose names are not synced.
template <typename State>
void SettleManifests(State& state) {
  if (state.manifest_count == 2) return;
  const auto superseded = state.manifests[state.manifest_count - 2];
  const auto newest = state.Newest();
  state.manifests = {};
  state.manifests[0] = superseded;
  state.manifests[1] = newest;
  state.manifest_count = 2;
}

}  // namespace tallystick
