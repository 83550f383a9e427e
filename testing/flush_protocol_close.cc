// The steps of a clean stop: what is in memory is flushed, and then no manifest lists a log file.
#include "testing/flush_protocol_steps.h"

namespace tallystick::flush_protocol {
namespace {

// Steps of Process::close_step.
enum CloseStep : uint8_t { kFlushAll, kSyncDropped, kRemoveLogs };

int LastSealed(const Process& process) {
  if (process.sealed_count > 0) return process.sealed[process.sealed_count - 1].last;
  return process.run_count > 0 ? process.runs[process.run_count - 1].last : 0;
}

// In good order, which is no crash.
void End(State state, const Emit& emit) {
  Kill(state);
  emit(state, {"close: the process ends"});
}

}  // namespace

// What is on its way is finished first: a row, a request, a spare, a rebuilt sidecar.
void Steps::StartClose(const State& state, const Emit& emit) const {
  const Process& process = state.process;
  if (state.closes_left == 0 || process.writing != 0 || process.pinned.event != 0 ||
      process.keeper_log != 0 || process.rebuild_step != 0) {
    return;
  }
  State next = state;
  --next.closes_left;
  next.mode = Mode::kClosing;
  if (process.visible > LastSealed(process)) {
    next.process.sealed[next.process.sealed_count++] = {process.visible, process.active_log};
  }
  emit(next, {"close: seal the rows up to LSN {}", process.visible});
}

void Steps::Close(const State& state, const Emit& emit) const {
  const Process& process = state.process;
  if (process.manifest_writer == 0) End(state, emit);  // its time may be up at any point
  if (process.close_step == kRemoveLogs) return RemoveFreeLog(state, emit);
  const bool flushed = process.sealed_count == 0;
  if (!flushed && process.close_step == kFlushAll) Flush(state, emit);
  if (flushed || Broken(Rule::kLogDroppedUnflushed)) DropAllLogs(state, emit);
}

void Steps::DropAllLogs(const State& state, const Emit& emit) const {
  State next = state;
  Process& process = next.process;
  if (process.close_step == kFlushAll) {
    if (process.flush_step != 0 || state.manifest_count == kManifests) return;
    Manifest manifest = NextManifest(state);
    manifest.log_count = 0;
    manifest.logs = {};
    RenameManifest(next, manifest);
    process.close_step = kSyncDropped;
    return emit(next, {"close: write, sync and rename a manifest that lists no log file"});
  }
  if (state.failures_left > 0) {
    State failed = state;
    --failed.failures_left;
    End(failed, emit);
  }
  for (uint8_t number = 1; number <= kLogs; ++number) {
    if (state.logs[number].file.visible != kNone) process.free_logs |= Bit(number);
  }
  SyncRenamed(next);
  process.close_step = kRemoveLogs;
  emit(next, {"close: sync the directory of the manifest"});
}

}  // namespace tallystick::flush_protocol
