// What the process of the flush model can do next, one file operation at a time, with each rule of
// the protocol in its place and the switch that leaves it out.
#pragma once

#include <string_view>

#include "testing/flush_protocol.h"
#include "testing/flush_protocol_disk.h"
#include "testing/flush_protocol_state.h"
#include "testing/model_result.h"

namespace tallystick::flush_protocol {

using Step = ModelStep;
using Emit = EmitStep<State>;

class Steps {
 public:
  Steps(BrokenFlushRule rule, const FlushProtocolBounds& bounds);

  State Initial() const;
  // Every state that one step, crashes left out, leads to. Always in the same order.
  void ForEach(const State& state, const Emit& emit) const;

 private:
  using Rule = BrokenFlushRule;
  bool Broken(Rule rule) const { return rule_ == rule; }

  // flush_protocol_recovery.cc
  void StartRecovery(const State& state, const Emit& emit) const;
  void Recover(const State& state, const Emit& emit) const;
  void CreateNewLog(State state, const Emit& emit) const;
  void FlushBeforeRecovered(State state, const Emit& emit) const;
  bool RemoveOneUnlisted(const State& state, const Manifest& listed, const Emit& emit) const;
  void Serve(State state, const Emit& emit) const;

  // flush_protocol_ingest.cc
  void Ingest(const State& state, const Emit& emit) const;
  void SendEvents(const State& state, const Emit& emit) const;
  Probe Ask(State& state, uint8_t event) const;
  void Judge(State state, Probe probe, const Emit& emit) const;
  void RollOver(const State& state, const Emit& emit) const;
  void DropKeys(const State& state, const Emit& emit) const;

  // flush_protocol_close.cc
  void StartClose(const State& state, const Emit& emit) const;
  void Close(const State& state, const Emit& emit) const;
  void DropAllLogs(const State& state, const Emit& emit) const;

  // flush_protocol_background.cc
  void Flush(const State& state, const Emit& emit) const;
  void WriteSegment(const State& state, const Emit& emit) const;
  void WriteSidecar(const State& state, const Emit& emit) const;
  void PublishFlush(const State& state, const Emit& emit) const;
  void Rebuild(const State& state, const Emit& emit) const;
  void Keep(const State& state, const Emit& emit) const;
  void RemoveFreeLog(const State& state, const Emit& emit) const;
  void Rot(const State& state, const Emit& emit) const;
  Manifest NextManifest(const State& state) const;
  void SyncRenamed(State& state) const;

  const BrokenFlushRule rule_;
  const FlushProtocolBounds bounds_;
};

}  // namespace tallystick::flush_protocol
