// The steps of a recovery, from the plan to the first request.
#include <algorithm>

#include "base/check.h"
#include "testing/flush_protocol_steps.h"

namespace tallystick::flush_protocol {
namespace {

// Steps of Process::recovery_step. What stands between two of them is where a crash can strike.
enum RecoveryStep : uint8_t {
  kEarlyDelete,
  kSyncFound,
  kCreateLog,
  kRenameRecovered,
  kSyncRecovered,
  kDelete,
};

}  // namespace

void Steps::StartRecovery(const State& state, const Emit& emit) const {
  const Plan plan = PlanRecovery(state, rule_);
  if (!plan.refused.empty()) return;  // the audit has said so
  State next = state;
  next.mode = Mode::kRecovering;
  Process& process = next.process;
  process.rows = plan.found;
  process.visible = plan.last;
  process.last_log = plan.last_log;
  process.next = plan.next;
  process.recovery_step = Broken(Rule::kOrphansDeletedEarly) ? kEarlyDelete : kSyncFound;
  emit(next, {"recover: plan, {} segments, rows up to LSN {}", plan.next.run_count, plan.last});
}

void Steps::Recover(const State& state, const Emit& emit) const {
  State next = state;
  Process& process = next.process;
  switch (state.process.recovery_step) {
    case kEarlyDelete:
      if (RemoveOneUnlisted(state, state.Newest(), emit)) return;
      process.recovery_step = kSyncFound;
      return emit(next, {"recover: nothing more to remove"});
    case kSyncFound:
      if (Broken(Rule::kFlushedBeforeRecovered)) FlushBeforeRecovered(state, emit);
      SyncManifestDir(next);
      process.recovery_step = kCreateLog;
      return emit(next, {"recover: sync the directory of the manifest that was found"});
    case kCreateLog:
      return CreateNewLog(state, emit);
    case kRenameRecovered:
      if (state.manifest_count == kManifests) return;
      RenameManifest(next, process.next);
      process.recovery_step = kSyncRecovered;
      return emit(next, {"recover: write, sync and rename a manifest that lists wal/{}",
                         process.active_log});
    case kSyncRecovered:
      if (state.failures_left > 0) {
        State failed = state;
        --failed.failures_left;
        Kill(failed);
        emit(failed, {"recover: the sync of the manifest's directory fails, the process gives up"});
      }
      SyncRenamed(next);
      process.recovery_step = kDelete;
      return emit(next, {"recover: sync the directory of the manifest"});
    default:
      if (!RemoveOneUnlisted(state, state.process.next, emit)) Serve(state, emit);
  }
}

// Prepared whole, with the last row, the only one that may not be on disk.
void Steps::CreateNewLog(State state, const Emit& emit) const {
  Process& process = state.process;
  Manifest& manifest = process.next;
  const uint8_t number = manifest.next_log++;
  TALLY_CHECK(number <= kLogs && manifest.log_count < kListed);
  Log& log = state.logs[number];
  log.file = {kWhole, kWhole, 0};
  const bool copied = process.visible > manifest.flushed && !Broken(Rule::kLastRowNotCopied);
  if (copied) log.rows[process.visible] = process.rows[process.visible];
  SyncLogDir(state);
  manifest.logs[manifest.log_count++] = {number, 0};
  process.active_log = number;
  process.recovery_step = kRenameRecovered;
  emit(state, {copied ? "recover: prepare wal/{} with a copy of the row of LSN {}"
                      : "recover: prepare wal/{}, empty behind LSN {}",
               number, process.visible});
}

// The rows but the last, as an eager flusher would take them. The log files stay in its manifest:
// nobody has told their ends yet.
void Steps::FlushBeforeRecovered(State state, const Emit& emit) const {
  Process& process = state.process;
  Manifest manifest = state.Newest();
  const uint8_t number = process.next.next_segment;
  if (process.visible < manifest.flushed + 2 || number > kSegments) return;
  Segment& segment = state.segments[number];
  segment.rows_file = segment.keys_file = {kWhole, kWhole, 0};
  segment.first = manifest.flushed + 1;
  segment.last = process.visible - 1;
  for (int lsn = segment.first; lsn <= segment.last; ++lsn) segment.rows[lsn] = process.rows[lsn];
  SyncSegmentDir(state);
  manifest.runs[manifest.run_count++] = {number, segment.first, segment.last};
  manifest.flushed = segment.last;
  manifest.next_segment = number + 1;
  RenameManifest(state, manifest);
  SyncManifestDir(state);
  emit(state, {"flush the recovered rows up to LSN {} to {}.seg, in a manifest of its own",
               segment.last, number});
}

// False: nothing is left to remove.
bool Steps::RemoveOneUnlisted(const State& state, const Manifest& listed, const Emit& emit) const {
  State next = state;
  for (uint8_t number = 1; number <= kLogs; ++number) {
    if (state.logs[number].file.visible == kNone || listed.HasLog(number)) continue;
    Remove(next.logs[number].file);
    ForgetGone(next);
    emit(next, {"recover: remove wal/{}", number});
    return true;
  }
  for (uint8_t number = 1; number <= kSegments; ++number) {
    Segment& segment = next.segments[number];
    const auto remove = [&](File& file, std::string_view format) {
      if (file.visible == kNone) return false;
      Remove(file);
      ForgetGone(next);
      emit(next, {format, number});
      return true;
    };
    if (remove(segment.temporary, "recover: remove {}.idx.tmp")) return true;
    if (listed.HasRun(number)) continue;
    if (remove(segment.keys_file, "recover: remove {}.idx")) return true;
    if (remove(segment.rows_file, "recover: remove {}.seg")) return true;
  }
  return false;
}

void Steps::Serve(State state, const Emit& emit) const {
  const Process found = state.process;
  const Manifest& manifest = found.next;
  state.mode = Mode::kRunning;
  Process& process = state.process = Process{};
  process.rows = found.rows;
  process.visible = found.visible;
  process.active_log = found.active_log;
  process.next_log = manifest.next_log;
  process.next_segment = manifest.next_segment;
  process.keys = LsnBits(manifest.flushed + 1, found.visible);
  process.dropped = manifest.flushed;
  process.run_count = manifest.run_count;
  process.runs = manifest.runs;
  for (int i = 0; i < manifest.run_count; ++i) {
    const uint8_t number = manifest.runs[i].number;
    const uint8_t content = state.segments[number].keys_file.visible;
    const bool empty = (content == kPart && Broken(Rule::kCorruptIsEmpty)) ||
                       (content == kNone && Broken(Rule::kMissingIsEmpty));
    if (empty) process.empty |= Bit(number);
    const bool opens = content == kWhole || content == kRotten;
    (opens || empty ? process.sidecars : process.excused) |= Bit(number);
  }
  if (found.visible > manifest.flushed + 1) {
    // The new log file is the last of the list; the one before it ends behind these rows.
    const uint8_t old_log = manifest.logs[manifest.log_count - 2].number;
    process.sealed[process.sealed_count++] = {static_cast<uint8_t>(found.visible - 1), old_log};
  }
  for (int lsn = 1; lsn <= found.visible; ++lsn) state.promised[lsn] = found.rows[lsn];
  emit(state,
       {"serve: rows up to LSN {}, of them up to {} in segments", found.visible, manifest.flushed});
}

}  // namespace tallystick::flush_protocol
