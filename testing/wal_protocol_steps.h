// What the process of the model can do next, one file operation at a time, with each rule of the
// protocol in its place and the switch that leaves it out.
#pragma once

#include "testing/model_result.h"
#include "testing/wal_protocol.h"
#include "testing/wal_protocol_disk.h"
#include "testing/wal_protocol_state.h"

namespace tallystick::wal_protocol {

using Step = ModelStep;
using Emit = EmitStep<State>;

class Steps {
 public:
  Steps(BrokenRule rule, const WalProtocolBounds& bounds) : rule_(rule), bounds_(bounds) {}

  State Initial() const;
  // Every state that one step, crashes left out, leads to. Always in the same order.
  void ForEach(const State& state, const Emit& emit) const;

 private:
  bool Broken(BrokenRule rule) const { return rule_ == rule; }
  void Create(const State& state, const Emit& emit) const;
  void Recover(const State& state, const Emit& emit) const;
  void StartRecovery(const State& state, const Emit& emit) const;
  void DeleteUnlisted(const State& state, int next_step, const Emit& emit) const;
  void Serve(State state, const Emit& emit) const;
  void Commit(const State& state, const Emit& emit) const;
  void StartFrame(const State& state, int blocks, bool mark, const Emit& emit) const;
  void StartTwoFrames(const State& state, const Emit& emit) const;
  void RollOver(const State& state, const Emit& emit) const;
  void SyncFrame(const State& state, const Emit& emit) const;
  void Acknowledge(const State& state, std::string_view format, const Emit& emit) const;
  void MarkAfterPoison(const State& state, const Emit& emit) const;
  void Keep(const State& state, const Emit& emit) const;
  void StartKeeping(const State& state, const Emit& emit) const;
  void PrepareSpare(const State& state, const Emit& emit) const;
  void PublishManifest(const State& state, const Emit& emit) const;
  void RenameNextManifest(const State& state, const Emit& emit) const;

  const BrokenRule rule_;
  const WalProtocolBounds bounds_;
};

}  // namespace tallystick::wal_protocol
