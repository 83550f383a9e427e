// The steps of ingest: probe, verdict, write, sync, and the key tables.
#include <algorithm>

#include "base/check.h"
#include "testing/flush_protocol_steps.h"

namespace tallystick::flush_protocol {
namespace {

bool SegmentHas(const State& state, const ListedRun& run, uint8_t event) {
  for (int lsn = run.first; lsn <= run.last; ++lsn) {
    if (state.segments[run.number].rows[lsn] == event) return true;
  }
  return false;
}

bool KeyTablesHave(const Process& process, uint8_t event) {
  for (int lsn = 1; lsn <= process.visible; ++lsn) {
    if ((process.keys & Bit(lsn)) != 0 && process.rows[lsn] == event) return true;
  }
  return false;
}

bool Stored(const Process& process, uint8_t event) {
  return std::ranges::find(process.rows, event) != process.rows.end();
}

// The number of the first segment that neither a key table nor a sidecar knows; there is one.
uint8_t UnknownRun(const Process& process) {
  int i = 0;
  while ((process.sidecars & Bit(process.runs[i].number)) != 0) ++i;
  TALLY_CHECK(i < process.run_count && process.runs[i].last <= process.dropped);
  return process.runs[i].number;
}

}  // namespace

void Steps::Ingest(const State& state, const Emit& emit) const {
  const Process& process = state.process;
  DropKeys(state, emit);
  if (process.writing == 0) {
    SendEvents(state, emit);
    if (process.pinned.event != 0) {
      State next = state;
      next.process.pinned = Probe{};
      Judge(next, process.pinned, emit);
    }
    return RollOver(state, emit);
  }
  State next = state;
  const auto lsn = static_cast<uint8_t>(process.visible + 1);
  next.logs[process.active_log].unsynced = 0;
  next.process.visible = lsn;
  next.process.keys |= Bit(lsn);
  next.process.writing = 0;
  next.promised[lsn] = process.writing;
  emit(next, {"sync wal/{}, acknowledge LSN {}", process.active_log, lsn});
}

// Events are all alike: a new one is always the next that was never seen.
void Steps::SendEvents(const State& state, const Emit& emit) const {
  uint8_t seen = state.process.pinned.event;
  for (const uint8_t event : state.process.rows) seen = std::max(seen, event);
  const int last = std::min(seen + 1, bounds_.events);
  for (int event = 1; event <= last; ++event) {
    State next = state;
    const Probe probe = Ask(next, static_cast<uint8_t>(event));
    Judge(next, probe, emit);
    if (!bounds_.pinned || state.process.pinned.event != 0) continue;
    next.process.pinned = probe;
    emit(next, {"event {} is sent, and probed up to LSN {}", event, probe.covered});
  }
}

// Segment by segment, up to the first that has no sidecar. One that cannot be read is out of use
// from now on.
Probe Steps::Ask(State& state, uint8_t event) const {
  Process& process = state.process;
  Probe probe{event, 0, 0};
  for (int i = 0; i < process.run_count; ++i) {
    const ListedRun& run = process.runs[i];
    const uint8_t bit = Bit(run.number);
    if ((process.sidecars & bit) == 0) break;
    if ((process.empty & bit) == 0) {
      if (state.segments[run.number].keys_file.visible == kWhole) {
        if (SegmentHas(state, run, event)) probe.hit = 1;
      } else if (!Broken(Rule::kProbeErrorIsNew)) {
        process.sidecars &= ~bit;
        process.excused |= bit;
        break;
      }
    }
    probe.covered = run.last;
  }
  return probe;
}

// The committer's part: it reads no file.
void Steps::Judge(State state, Probe probe, const Emit& emit) const {
  Process& process = state.process;
  if (probe.covered < process.dropped && !Broken(Rule::kKeysUnknownNotCompared)) {
    probe = Ask(state, probe.event);
  }
  if (probe.covered < process.dropped && !Broken(Rule::kKeysUnknownNotCompared)) {
    Step refused{"event {} is refused: the keys of a segment are being rebuilt", probe.event};
    if (!bounds_.safety_only && (process.excused & Bit(UnknownRun(process))) == 0) {
      refused.violation = "F8: ingest is refused, and nothing was missing or has rotted";
    }
    return emit(state, refused);
  }
  if (probe.hit != 0 || KeyTablesHave(process, probe.event)) {
    return emit(state, {"event {} is answered as a duplicate", probe.event});
  }
  const auto lsn = static_cast<uint8_t>(process.visible + 1);
  TALLY_CHECK(lsn <= kLsns);
  Log& log = state.logs[process.active_log];
  log.rows[lsn] = probe.event;
  log.unsynced = lsn;
  Step step{"event {} is new: write it as LSN {}", probe.event, lsn};
  if (Stored(process, probe.event)) step.violation = "F2: an event is stored twice";
  process.rows[lsn] = probe.event;
  process.writing = probe.event;
  emit(state, step);
}

void Steps::RollOver(const State& state, const Emit& emit) const {
  const Process& process = state.process;
  const int before = process.sealed_count == 0
                         ? (process.run_count == 0 ? 0 : process.runs[process.run_count - 1].last)
                         : process.sealed[process.sealed_count - 1].last;
  if (process.spare == 0 || process.visible == before) return;
  State next = state;
  TALLY_CHECK(process.sealed_count < kListed);
  next.process.sealed[next.process.sealed_count++] = {process.visible, process.active_log};
  next.process.active_log = process.spare;
  next.process.spare = 0;
  emit(next, {"roll over from wal/{} to wal/{}", process.active_log, process.spare});
}

// Oldest first, and only what a sidecar answers for.
void Steps::DropKeys(const State& state, const Emit& emit) const {
  const Process& process = state.process;
  for (int i = 0; i < process.run_count; ++i) {
    const ListedRun& run = process.runs[i];
    const bool kept = (process.keys & LsnBits(run.first, run.last)) != 0;
    const bool answers = (process.sidecars & Bit(run.number)) != 0;
    if (!kept) continue;
    if (answers || Broken(Rule::kKeysDroppedEarly)) {
      State next = state;
      next.process.keys &= ~LsnBits(run.first, run.last);
      const bool oldest = run.first == process.dropped + 1;
      if (oldest && !Broken(Rule::kDroppedNotSaid)) next.process.dropped = run.last;
      emit(next, {"drop the key table of the rows up to LSN {}", run.last});
    }
    if (!Broken(Rule::kKeysDroppedOutOfOrder)) return;
  }
}

}  // namespace tallystick::flush_protocol
