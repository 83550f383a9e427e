// The steps of the background: the flusher, the rebuilder of sidecars, the keeper of the log files.
// Their manifests are written one at a time.
#include <algorithm>

#include "base/check.h"
#include "testing/flush_protocol_steps.h"

namespace tallystick::flush_protocol {
namespace {

// Steps of Process::flush_step.
enum FlushStep : uint8_t {
  kNoFlush,
  kWriteRows,
  kSyncRows,
  kCreateKeys,
  kWriteKeys,
  kSyncKeys,
  kSyncNames,
  kRenameFlushed,
  kSyncFlushed,
};

// Steps of Process::rebuild_step.
enum RebuildStep : uint8_t { kNoRebuild, kSyncTemporary, kRenameTemporary, kSyncRebuilt };

// Who is between the rename of a manifest and its sync.
enum Writer : uint8_t { kNobody, kFlusher, kKeeper };

// The files of a flush that is given up are removed, and so is its number.
void GiveUp(State& state) {
  Process& process = state.process;
  Segment& segment = state.segments[process.flush_number];
  if (segment.keys_file.visible != kNone) Remove(segment.keys_file);
  if (segment.rows_file.visible != kNone) Remove(segment.rows_file);
  ForgetGone(state);
  process.flush_step = kNoFlush;
  process.flush_number = 0;
}

// The version shows the segment, and the memtable's rows leave.
void Install(State& state, bool memtable_kept) {
  Process& process = state.process;
  const Segment& segment = state.segments[process.flush_number];
  process.runs[process.run_count++] = {process.flush_number, segment.first, segment.last};
  if (segment.keys_file.visible != kNone) {
    process.sidecars |= Bit(process.flush_number);
    if (segment.keys_file.visible == kWhole) state.promised_sidecars |= Bit(process.flush_number);
  }
  process.flush_step = kNoFlush;
  process.flush_number = 0;
  if (memtable_kept) return;
  std::copy(process.sealed.begin() + 1, process.sealed.end(), process.sealed.begin());
  process.sealed[--process.sealed_count] = Sealed{};
}

}  // namespace

// What is durable, with the ends of the log files that have one by now. A manifest whose outcome is
// unknown is never built upon.
Manifest Steps::NextManifest(const State& state) const {
  Manifest manifest = Broken(Rule::kManifestNameNotSynced) ? state.Newest() : state.manifests[1];
  const Process& process = state.process;
  for (int i = 0; i < manifest.log_count; ++i) {
    for (int j = 0; j < process.sealed_count; ++j) {
      if (manifest.logs[i].number == process.sealed[j].last_log) {
        manifest.logs[i].end = process.sealed[j].last;
      }
    }
  }
  manifest.next_log = process.next_log;
  manifest.next_segment = process.next_segment;
  return manifest;
}

void Steps::SyncRenamed(State& state) const {
  if (!Broken(Rule::kManifestNameNotSynced)) SyncManifestDir(state);
}

// --- the flusher ---

void Steps::Flush(const State& state, const Emit& emit) const {
  const Process& process = state.process;
  if (process.flush_step == kNoFlush) {
    if (process.sealed_count == 0) return;
    State next = state;
    const uint8_t number = next.process.next_segment++;
    TALLY_CHECK(number <= kSegments);
    Segment& segment = next.segments[number];
    segment.first = process.run_count == 0 ? 1 : process.runs[process.run_count - 1].last + 1;
    segment.last = process.sealed[0].last;
    for (int lsn = segment.first; lsn <= segment.last; ++lsn) {
      segment.rows[lsn] = process.rows[lsn];
    }
    Create(segment.rows_file);
    next.process.flush_number = number;
    next.process.flush_step = kWriteRows;
    return emit(next, {"flush: create {}.seg for the rows up to LSN {}", number, segment.last});
  }
  if (process.flush_step <= kSyncRows) return WriteSegment(state, emit);
  if (process.flush_step <= kSyncKeys) return WriteSidecar(state, emit);
  PublishFlush(state, emit);
}

void Steps::WriteSegment(const State& state, const Emit& emit) const {
  const int number = state.process.flush_number;
  const bool write = state.process.flush_step == kWriteRows;
  State next = state;
  File& file = next.segments[number].rows_file;
  ++next.process.flush_step;
  if (write) {
    WriteWhole(file);
  } else if (!Broken(Rule::kSegmentNotSynced)) {
    Sync(file);
  }
  if (!write && Broken(Rule::kSidecarNameNotSynced)) SyncSegmentDir(next);
  emit(next, {write ? "flush: write {}.seg" : "flush: sync {}.seg, read it back", number});
  if (state.failures_left == 0) return;
  State failed = state;
  --failed.failures_left;
  GiveUp(failed);
  emit(failed, {write ? "flush: writing {}.seg fails, it is removed"
                      : "flush: the sync of {}.seg fails, it is removed",
                number});
}

// A failure costs the sidecar, not the flush.
void Steps::WriteSidecar(const State& state, const Emit& emit) const {
  const int number = state.process.flush_number;
  State next = state;
  File& file = next.segments[number].keys_file;
  ++next.process.flush_step;
  std::string_view format = "flush: create {}.idx";
  switch (state.process.flush_step) {
    case kCreateKeys:
      Create(file);
      return emit(next, {format, number});
    case kWriteKeys:
      WriteWhole(file);
      format = "flush: write {}.idx";
      break;
    default:
      if (!Broken(Rule::kSidecarNotSynced)) Sync(file);
      format = "flush: sync {}.idx, read it back";
  }
  emit(next, {format, number});
  if (state.failures_left == 0) return;
  State failed = state;
  --failed.failures_left;
  Remove(failed.segments[number].keys_file);
  failed.process.flush_step = kSyncNames;
  emit(failed,
       {state.process.flush_step == kWriteKeys ? "flush: writing {}.idx fails, it is removed"
                                               : "flush: the sync of {}.idx fails, it is removed",
        number});
}

void Steps::PublishFlush(const State& state, const Emit& emit) const {
  const Process& process = state.process;
  const uint8_t number = process.flush_number;
  State next = state;
  State failed = state;
  --failed.failures_left;
  switch (process.flush_step) {
    case kSyncNames: {
      if (!Broken(Rule::kSegmentNameNotSynced) && !Broken(Rule::kSidecarNameNotSynced)) {
        SyncSegmentDir(next);
      }
      ++next.process.flush_step;
      emit(next, {"flush: sync the directory segments"});
      if (state.failures_left == 0) return;
      GiveUp(failed);
      return emit(failed,
                  {"flush: the sync of the directory segments fails, {}.seg is removed", number});
    }
    case kRenameFlushed: {
      if (process.manifest_writer != kNobody || state.manifest_count == kManifests) return;
      Manifest manifest = NextManifest(state);
      const Segment& segment = state.segments[number];
      TALLY_CHECK(manifest.run_count < kRuns);
      manifest.runs[manifest.run_count++] = {number, segment.first, segment.last};
      manifest.flushed = segment.last;
      uint8_t dropped = 0;
      while (manifest.log_count > 0 && manifest.logs[0].number <= process.sealed[0].last_log) {
        dropped |= Bit(manifest.logs[0].number);
        std::copy(manifest.logs.begin() + 1, manifest.logs.end(), manifest.logs.begin());
        manifest.logs[--manifest.log_count] = ListedLog{};
      }
      RenameManifest(next, manifest);
      next.process.manifest_writer = kFlusher;
      ++next.process.flush_step;
      if (Broken(Rule::kLogFreedEarly)) next.process.free_logs |= dropped;
      return emit(next, {"flush: write, sync and rename a manifest with {}.seg", number});
    }
    default:
      next.process.manifest_writer = kNobody;
      for (uint8_t log = 1; log <= kLogs; ++log) {
        if (state.manifests[1].HasLog(log) && !state.Newest().HasLog(log)) {
          next.process.free_logs |= Bit(log);
        }
      }
      SyncRenamed(next);
      Install(next, Broken(Rule::kMemtableKept));
      emit(next, {"flush: sync the directory of the manifest, install segment {}", number});
      if (state.failures_left == 0) return;
      failed.process.manifest_writer = kNobody;
      failed.process.flush_step = kRenameFlushed;
      if (Broken(Rule::kSegmentRemovedInDoubt)) GiveUp(failed);
      emit(failed, {"flush: the sync of the manifest's directory fails: its outcome is unknown"});
  }
}

// --- the rebuilder of sidecars ---

void Steps::Rebuild(const State& state, const Emit& emit) const {
  const Process& process = state.process;
  State next = state;
  if (process.rebuild_step == kNoRebuild) {
    for (int i = 0; i < process.run_count; ++i) {
      const uint8_t number = process.runs[i].number;
      if ((process.sidecars & Bit(number)) != 0) continue;
      File& temporary = next.segments[number].temporary;
      Create(temporary);
      WriteWhole(temporary);
      next.process.rebuild_number = number;
      next.process.rebuild_step = kSyncTemporary;
      return emit(next, {"rebuild: write {}.idx.tmp", number});
    }
    return;
  }
  const uint8_t number = process.rebuild_number;
  Segment& segment = next.segments[number];
  ++next.process.rebuild_step;
  switch (process.rebuild_step) {
    case kSyncTemporary:
      if (!Broken(Rule::kRebuiltNotSynced)) Sync(segment.temporary);
      return emit(next, {"rebuild: sync {}.idx.tmp", number});
    case kRenameTemporary:
      Rename(segment.temporary, segment.keys_file);
      return emit(next, {"rebuild: rename {}.idx.tmp to {}.idx", number, number});
    default:
      if (!Broken(Rule::kRebuiltNameNotSynced)) SyncSegmentDir(next);
      next.process.rebuild_step = kNoRebuild;
      next.process.rebuild_number = 0;
      next.process.sidecars |= Bit(number);
      if (segment.keys_file.visible == kWhole) next.promised_sidecars |= Bit(number);
      return emit(next, {"rebuild: sync the directory segments, install {}.idx", number});
  }
}

// --- the keeper of the log files ---

void Steps::RemoveFreeLog(const State& state, const Emit& emit) const {
  for (uint8_t number = 1; number <= kLogs; ++number) {
    if ((state.process.free_logs & Bit(number)) == 0) continue;
    State next = state;
    next.process.free_logs &= ~Bit(number);
    Remove(next.logs[number].file);
    ForgetGone(next);
    return emit(next, {"remove wal/{}, which no manifest names", number});
  }
}

void Steps::Keep(const State& state, const Emit& emit) const {
  RemoveFreeLog(state, emit);
  const Process& process = state.process;
  State next = state;
  const uint8_t number = process.keeper_log;
  if (number == 0) {
    if (state.spares_left == 0 || process.spare != 0) return;
    const uint8_t created = next.process.next_log++;
    TALLY_CHECK(created <= kLogs);
    --next.spares_left;
    next.logs[created].file = {kWhole, kWhole, 0};
    SyncLogDir(next);
    next.process.keeper_log = created;
    return emit(next, {"prepare wal/{}", created});
  }
  if (process.manifest_writer == kFlusher) return;
  if (process.manifest_writer == kNobody) {
    if (state.manifest_count == kManifests) return;
    Manifest manifest = NextManifest(state);
    TALLY_CHECK(manifest.log_count < kListed);
    manifest.logs[manifest.log_count++] = {number, 0};
    RenameManifest(next, manifest);
    next.process.manifest_writer = kKeeper;
    return emit(next, {"write, sync and rename a manifest that lists wal/{}", number});
  }
  next.process.manifest_writer = kNobody;
  if (state.failures_left > 0) {
    State failed = next;
    --failed.failures_left;
    emit(failed, {"the sync of the manifest's directory fails: its outcome is unknown"});
  }
  SyncRenamed(next);
  next.process.keeper_log = 0;
  next.process.spare = number;
  emit(next, {"sync the directory of the manifest, offer wal/{}", number});
}

// --- the world ---

void Steps::Rot(const State& state, const Emit& emit) const {
  if (state.rots_left == 0) return;
  for (int i = 0; i < state.process.run_count; ++i) {
    const uint8_t number = state.process.runs[i].number;
    if (state.segments[number].keys_file.visible != kWhole) continue;
    for (const uint8_t content : {kRotten, kPart}) {
      State next = state;
      --next.rots_left;
      File& file = next.segments[number].keys_file;
      file.visible = content;
      file.inode = content;
      next.promised_sidecars &= ~Bit(number);
      emit(next,
           {content == kRotten ? "a page of {}.idx rots" : "the footer of {}.idx rots", number});
    }
  }
}

// --- all of them ---

Steps::Steps(BrokenFlushRule rule, const FlushProtocolBounds& bounds)
    : rule_(rule), bounds_(bounds) {
  TALLY_CHECK(bounds.events < kLsns);
  TALLY_CHECK(bounds.spares + bounds.crashes + bounds.closes + 1 < kLogs);
}

// An empty database, created and open.
State Steps::Initial() const {
  State state;
  state.mode = Mode::kRunning;
  state.crashes_left = static_cast<uint8_t>(bounds_.crashes);
  state.failures_left = static_cast<uint8_t>(bounds_.failures);
  state.spares_left = static_cast<uint8_t>(bounds_.spares);
  state.rots_left = static_cast<uint8_t>(bounds_.rots);
  state.closes_left = static_cast<uint8_t>(bounds_.closes);
  state.logs[1].file = {kWhole, kWhole, 0};
  state.manifests[0].damaged = 1;  // there is none
  Manifest& manifest = state.manifests[1];
  manifest.logs[manifest.log_count++] = {1, 0};
  manifest.next_log = 2;
  state.process.active_log = 1;
  state.process.next_log = 2;
  state.process.next_segment = 1;
  return state;
}

void Steps::ForEach(const State& state, const Emit& emit) const {
  switch (state.mode) {
    case Mode::kDown:
      return StartRecovery(state, emit);
    case Mode::kRecovering:
      return Recover(state, emit);
    case Mode::kRunning:
      Ingest(state, emit);
      Flush(state, emit);
      Rebuild(state, emit);
      Keep(state, emit);
      Rot(state, emit);
      return StartClose(state, emit);
    case Mode::kClosing:
      return Close(state, emit);
  }
}

}  // namespace tallystick::flush_protocol
