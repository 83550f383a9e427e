// Breadth-first exploration of a model: every state that its steps reach, each audited, and a
// shortest way to the first that breaks an invariant.
//
// A state is known by a 64-bit fingerprint; only the frontier is kept whole. With some millions of
// states two of them share a fingerprint with a probability of about one in a million. A trace is
// rebuilt by taking the same numbered steps again.
//
// A model offers
//   State, plain bytes without padding: compared and hashed as bytes
//   State Initial() const
//   void ForEachSuccessor(const State&, const Emit<State>&) const, always in the same order
//   std::string Audit(const State&, std::string* last): the broken invariant, or empty; `last` says
//     what must happen in this state to show it
//
// Thread rule: free functions without shared state.
#pragma once

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "testing/model_result.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tallystick {

template <typename Model>
class ModelExplorer {
 public:
  using State = typename Model::State;

  explicit ModelExplorer(Model& model) : model_(model) {}

  ModelResult Run() {
    std::vector<State> frontier = {model_.Initial()};
    origins_.push_back({0, 0});
    std::vector<uint32_t> indexes = {0};
    seen_.insert(Fingerprint(frontier[0]));
    while (!frontier.empty() && result_.violation.empty()) {
      std::vector<State> next;
      std::vector<uint32_t> next_indexes;
      for (size_t i = 0; i < frontier.size() && result_.violation.empty(); ++i) {
        Expand(frontier[i], indexes[i], next, next_indexes);
      }
      frontier = std::move(next);
      indexes = std::move(next_indexes);
      result_.depth += frontier.empty() ? 0 : 1;
    }
    result_.states = seen_.size();
    return std::move(result_);
  }

 private:
  // Where a state was first reached from.
  struct Origin {
    uint32_t parent;  // index into origins_
    uint16_t step;    // number among the parent's steps
  };

  static uint64_t Fingerprint(const State& state) { return XXH3_64bits(&state, sizeof state); }

  void Expand(const State& state, uint32_t index, std::vector<State>& next,
              std::vector<uint32_t>& next_indexes) {
    std::string last;
    if (std::string violation = model_.Audit(state, &last); !violation.empty()) {
      return Fail(std::move(violation), index, last);
    }
    uint16_t number = 0;
    model_.ForEachSuccessor(state, [&](const State& successor, const ModelStep& step) {
      const uint16_t this_step = number++;
      ++result_.transitions;
      if (!result_.violation.empty()) return;
      if (!step.violation.empty()) {
        return Fail(std::string(step.violation), index, step.ToString());
      }
      if (!seen_.insert(Fingerprint(successor)).second) return;
      next_indexes.push_back(static_cast<uint32_t>(origins_.size()));
      origins_.push_back({index, this_step});
      next.push_back(successor);
    });
  }

  void Fail(std::string violation, uint32_t index, const std::string& last) {
    result_.violation = std::move(violation);
    result_.trace = TraceTo(index);
    result_.trace.push_back(last);
  }

  std::vector<std::string> TraceTo(uint32_t index) const {
    std::vector<uint16_t> path;
    for (; index != 0; index = origins_[index].parent) path.push_back(origins_[index].step);
    std::ranges::reverse(path);
    std::vector<std::string> trace;
    State state = model_.Initial();
    for (const uint16_t wanted : path) {
      uint16_t number = 0;
      State taken = state;
      model_.ForEachSuccessor(state, [&](const State& successor, const ModelStep& step) {
        if (number++ != wanted) return;
        taken = successor;
        trace.push_back(step.ToString());
      });
      state = taken;
    }
    return trace;
  }

  Model& model_;
  boost::unordered_flat_set<uint64_t> seen_;
  std::vector<Origin> origins_;
  ModelResult result_;
};

}  // namespace tallystick
