// Db::Impl: an engine of eight kinds of step (committer, log keeper, probers, flusher, sidecar
// keeper, compactor, scrubber, backups) over one directory, and the views that reads are answered
// from.
//
// Invariants:
//  1. A memtable is in the version before any of its rows becomes visible, and its rows leave it
//  only
//     for their segment. So a view that takes the visible LSN first and the version second is
//     whole.
//  2. The directory's lock is held from before recovery until after the last write.
#include "tallystick/db.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"
#include "base/mutex.h"
#include "base/result.h"
#include "engine/backups.h"
#include "engine/committer.h"
#include "engine/compactor.h"
#include "engine/flusher.h"
#include "engine/layout.h"
#include "engine/log_keeper.h"
#include "engine/manifest_store.h"
#include "engine/prober.h"
#include "engine/recovery.h"
#include "engine/replay.h"
#include "engine/scrubber.h"
#include "engine/sidecar_keeper.h"
#include "engine/version_store.h"
#include "env/env.h"
#include "env/io_governor.h"
#include "query/accounts.h"
#include "query/aggregate.h"
#include "query/commit_time.h"
#include "query/conflicts.h"
#include "query/events.h"
#include "query/lookup.h"
#include "query/verify.h"

namespace tallystick {
namespace {

constexpr int64_t kProgressMicros = 500'000;

// What another thread will say, once.
template <typename T>
class Answer {
 public:
  void Set(T value) {
    MutexLock lock(mutex_);
    value_ = std::move(value);
    said_.NotifyOne();
  }
  // None: nothing was said yet.
  std::optional<T> WaitFor(int64_t micros) {
    MutexLock lock(mutex_);
    if (!value_.has_value()) said_.WaitFor(mutex_, micros);
    return std::exchange(value_, std::nullopt);
  }
  T Wait() {
    MutexLock lock(mutex_);
    while (!value_.has_value()) said_.Wait(mutex_);
    return *std::move(value_);
  }

 private:
  Mutex mutex_;
  CondVar said_;
  std::optional<T> value_ GUARDED_BY(mutex_);
};

}  // namespace

class Db::Impl {
 public:
  Impl(Env& env, const std::string& directory, const OpenOptions& options)
      : env_(env),
        layout_(directory),
        options_(options),
        cache_(options.cache_bytes_max),
        governor_(env.clock(), options.background_bytes_per_second) {}

  Status Open();
  Status Close();
  View TakeView() const;
  QueryContext NewContext(const Cancelled& cancelled) const;
  Result<Lsn> LsnAt(int64_t epoch_us) const;
  DbStatus GetStatus() const;

  Env& env_;
  const Layout layout_;
  const OpenOptions options_;
  std::unique_ptr<FileLock> lock_;
  Identity identity_;
  uint64_t incarnation_ = 0;
  DbStatus recovery_;  // only its recovery_ fields
  BlockCache cache_;
  IoGovernor governor_;
  std::unique_ptr<ManifestStore> manifests_;
  std::unique_ptr<VersionStore> versions_;
  std::unique_ptr<LogKeeper> keeper_;
  std::unique_ptr<Committer> committer_;
  std::unique_ptr<Prober> prober_;
  std::unique_ptr<Flusher> flusher_;
  std::unique_ptr<SidecarKeeper> sidecars_;
  std::unique_ptr<Compactor> compactor_;
  std::unique_ptr<Scrubber> scrubber_;
  std::unique_ptr<Backups> backups_;
  Mutex met_mutex_;
  std::vector<ScrubFinding> met_by_open_ GUARDED_BY(met_mutex_);  // until a Scrub has told them
  bool running_ = false;
  std::atomic<bool> closing_ = false;

  Status Ready() const;
  void Backup(const std::string& target, const BackupOptions& options, BackupDone done);
  void Ingest(Batch batch, const IngestOptions& options, IngestDone done, bool may_block);
  void CompactAsync(std::function<void(Status)> done);
  Result<ScrubStatus> Scrub(const std::function<void(uint64_t, uint64_t)>& progress);

 private:
  // A component's step on the executor. It may be woken before it is added: its first step looks at
  // everything.
  class Task {
   public:
    void Add(Executor& executor, std::string_view name, Executor::Priority priority,
             std::function<StepResult()> step) {
      executor_ = &executor;
      id_ = executor.Add(name, priority, std::move(step));
      Wake();  // it may have been woken when it had begun to wait but had no id yet
    }
    void Wake() {
      if (const Executor::TaskId id = id_; id != 0) executor_->Wake(id);
    }
    void Remove() {
      if (const Executor::TaskId id = id_.exchange(0); id != 0) executor_->Remove(id);
    }

   private:
    Executor* executor_ = nullptr;
    std::atomic<Executor::TaskId> id_ = 0;  // 0: not added
  };
  static constexpr size_t kProberTasks = 2;  // page reads in flight beyond those of one batch

  Status LockDirectory();
  ScrubSources WhatToScrub();
  Result<ReplayResult> Replay(const RecoveryPlan& plan);
  void MakeComponents(RecoveryPlan plan, ReplayResult replay);
  Status MemoryBudget() const;
  Status RunsLimit() const;
  void NoteSidecars(const RecoveryPlan& plan);
  void NoteForScrub(const OpenedSegments& segments);
  Status NoLogToScrub(const ScrubStatus& read) const;
  void Start();
  void FlushOnClose();
  void NoteCompaction(DbStatus* status) const;
  void Log(LogLevel level, const std::string& text) const {
    if (options_.log) options_.log(level, text);
  }

  Task keeper_task_;
  Task committer_task_;
  Task prober_tasks_[kProberTasks];
  Task flusher_task_;
  Task sidecar_task_;
  Task compactor_task_;
  Task scrub_task_;
  Task backup_task_;  // added with the first backup, never once closing_ is set
  Mutex backup_task_mutex_;
  bool backup_task_added_ GUARDED_BY(backup_task_mutex_) = false;
};

Status Db::Impl::LockDirectory() {
  TALLY_ASSIGN_OR_RETURN(const bool there, env_.fs().Exists(layout_.root));
  if (!there) {
    if (!options_.create_if_missing) {
      return Status::NotFound("database_not_found", layout_.root + " does not exist");
    }
    TALLY_RETURN_IF_ERROR(env_.fs().CreateDir(layout_.root));
  }
  TALLY_ASSIGN_OR_RETURN(lock_, env_.fs().Lock(layout_.lock));
  TALLY_RETURN_IF_ERROR(CheckIsNoBackup(env_.fs(), layout_));
  TALLY_ASSIGN_OR_RETURN(const bool missing, IsMissing(env_.fs(), layout_));
  if (!missing) return Status::Ok();
  if (!options_.create_if_missing) {
    return Status::NotFound("database_not_found", layout_.root + " holds no database");
  }
  return CreateIfMissing(env_, layout_, options_.identity_scope);
}

Result<ReplayResult> Db::Impl::Replay(const RecoveryPlan& plan) {
  const int64_t start_us = env_.clock().MonotonicMicros();
  auto progress = [&](uint64_t done, uint64_t all) {
    const double seconds = static_cast<double>(env_.clock().MonotonicMicros() - start_us) / 1e6;
    if (all < 100'000) return;  // over before anyone could read it
    Log(LogLevel::kInfo,
        fmt::format("replaying the log: {} of {} rows, {:.1f} s", done, all, seconds));
  };
  return ReplayLog(env_.fs(), layout_, plan, options_, progress);
}

Status Db::Impl::Open() {
  TALLY_RETURN_IF_ERROR(options_.Validate());
  const int64_t start_us = env_.clock().MonotonicMicros();
  TALLY_RETURN_IF_ERROR(LockDirectory());
  TALLY_ASSIGN_OR_RETURN(RecoveryPlan plan, PlanRecovery(env_.fs(), layout_, cache_));
  if (TALLY_MUTANT("orphans_deleted_early")) {
    for (const std::string& path : plan.orphans) IgnoreError(env_.fs().Remove(path), "planted");
  }
  TALLY_ASSIGN_OR_RETURN(ReplayResult replay, Replay(plan));
  identity_ = plan.identity;
  incarnation_ = plan.manifest.incarnation;
  recovery_.recovery_frames = replay.frames;
  recovery_.recovery_rows = replay.rows;
  recovery_.recovery_torn_bytes = plan.wal.torn_bytes.size();
  NoteSidecars(plan);
  NoteForScrub(plan.segments);

  Committer::Start start{.position = plan.wal.end,
                         .flushed_lsn = plan.manifest.flushed_lsn,
                         .last_commit_time_us = plan.last_commit_time_us};
  if (TALLY_MUTANT("lsn_reused") && start.position.next_lsn.value > 1)
    --start.position.next_lsn.value;
  start.last_frame_is_data = !replay.active->empty();
  if (start.last_frame_is_data) {
    start.last_frame_rows = replay.active->end_lsn().value - replay.active->first_lsn().value;
  }
  std::deque<Committer::SealedKeys> keys;
  for (const auto& memtable : replay.sealed) {
    if (memtable->empty()) continue;
    keys.push_back({memtable->shared_keys(), {memtable->end_lsn().value - 1}});
  }
  MakeComponents(std::move(plan), std::move(replay));
  const Status established = keeper_->Establish();
  if (!established.ok() && established.code() != StatusCode::kNoSpace) return established;
  committer_ = std::make_unique<Committer>(env_, options_, *keeper_, *manifests_, *versions_, start,
                                           std::move(keys));
  prober_ = std::make_unique<Prober>(
      *versions_, *committer_,
      [this](const LiveSegment& segment, const SidecarReader* sidecar, const Status& status) {
        sidecars_->ReportBad(segment, sidecar, status);
      },
      [this](const LiveSegment& segment) { return sidecars_->Rebuilding(segment); });
  scrubber_ = std::make_unique<Scrubber>(WhatToScrub());
  backups_ = std::make_unique<Backups>(env_, layout_, options_, identity_, *manifests_, *versions_,
                                       *keeper_, *committer_, governor_);
  recovery_.recovery_ms = static_cast<uint64_t>((env_.clock().MonotonicMicros() - start_us) / 1000);
  Log(LogLevel::kInfo,
      fmt::format("opened {} at LSN {}: {} segments, sidecars {} hit, {} missing, {} corrupt, {} "
                  "rebuilt, {} WAL frames and {} rows replayed in {} ms",
                  layout_.root, committer_->visible().value, versions_->Current()->segments.size(),
                  recovery_.sidecars_hit, recovery_.sidecars_missing, recovery_.sidecars_corrupt,
                  sidecars_->Read().rebuilt, recovery_.recovery_frames, recovery_.recovery_rows,
                  recovery_.recovery_ms));
  Start();
  return Status::Ok();
}

void Db::Impl::NoteSidecars(const RecoveryPlan& plan) {
  for (const Status& fault : plan.segments.rollup_status) {
    if (fault.ok()) continue;
    if (fault.code() != StatusCode::kNotFound) ++recovery_.rollups_corrupt;
    Log(LogLevel::kWarning, "a rollup is rebuilt from its segment: " + fault.ToString());
  }
  for (const Status& fault : plan.segments.sidecar_status) {
    if (fault.ok()) {
      ++recovery_.sidecars_hit;
      continue;
    }
    const bool missing = fault.code() == StatusCode::kNotFound;
    ++(missing ? recovery_.sidecars_missing : recovery_.sidecars_corrupt);
    Log(LogLevel::kWarning,
        "a sidecar is rebuilt from its segment; ingest waits for it: " + fault.ToString());
  }
}

// What a pass cannot find any more: a file that was not taken into use is rebuilt.
void Db::Impl::NoteForScrub(const OpenedSegments& segments) {
  std::vector<ScrubFinding> met;
  const auto note = [&](const std::string& name, const Status& status) {
    if (status.ok()) return;
    met.push_back(FindingOf(JoinPath(layout_.segment_dir, name), status));
  };
  for (size_t i = 0; i < segments.list.size(); ++i) {
    const FileNumber number = segments.list[i]->listed().number;
    note(SidecarFileName(number), segments.sidecar_status[i]);
    note(RollupFileName(number), segments.rollup_status[i]);
  }
  MutexLock lock(met_mutex_);
  met_by_open_ = std::move(met);
}

void Db::Impl::MakeComponents(RecoveryPlan plan, ReplayResult replay) {
  MemtableList memtables(replay.sealed.begin(), replay.sealed.end());
  memtables.push_back(replay.active);
  versions_ = std::make_unique<VersionStore>(std::move(plan.segments.list), std::move(memtables),
                                             LimitsOf(options_));
  manifests_ = std::make_unique<ManifestStore>(env_.fs(), layout_, plan.identity.database_id,
                                               plan.manifest, plan.next_number);
  manifests_->NoteCommitTime(plan.last_commit_time_us);
  keeper_ =
      std::make_unique<LogKeeper>(env_, layout_, options_, *manifests_, std::move(plan),
                                  std::move(replay.active), [this] { return MemoryBudget(); });
  flusher_ = std::make_unique<Flusher>(env_, layout_, options_, identity_, *manifests_, *versions_,
                                       *keeper_, cache_, governor_);
  sidecars_ = std::make_unique<SidecarKeeper>(env_, layout_, options_, identity_.scope, *versions_,
                                              cache_, governor_);
  compactor_ = std::make_unique<Compactor>(env_, layout_, options_, identity_, *manifests_,
                                           *versions_, cache_, governor_);
}

ScrubSources Db::Impl::WhatToScrub() {
  return {.env = env_,
          .layout = layout_,
          .options = options_,
          .identity = identity_,
          .manifests = *manifests_,
          .versions = *versions_,
          .log = *keeper_,
          .sidecars = *sidecars_,
          .next_frame = [this] { return committer_->next_frame(); },
          .stopped = [this] { return closing_.load(std::memory_order_relaxed); }};
}

// Whether there may be another memtable.
Status Db::Impl::MemoryBudget() const {
  const uint32_t sealed = versions_->sealed_count();
  if (sealed >= options_.memtables_max) {
    const Status flush = flusher_->Read().status;
    if (flush.code() == StatusCode::kNoSpace) return flush;
    return Status::Unavailable(
        "memory_full",
        fmt::format("{} full memtables wait to be flushed, as many as may be", sealed));
  }
  const uint32_t tables = committer_ == nullptr ? 0 : committer_->key_tables();
  if (tables >= options_.key_tables_max) {
    const Status rebuild = sidecars_->Read().status;
    if (rebuild.code() == StatusCode::kNoSpace) return rebuild;
    return Status::Unavailable(
        "memory_full", fmt::format("{} key tables wait for a sidecar, as many as may be", tables));
  }
  return Status::Ok();
}

void Db::Impl::Start() {
  keeper_->SetOnChange([this] {
    committer_task_.Wake();
    flusher_task_.Wake();  // these two wait for a log
    compactor_task_.Wake();
  });
  keeper_->SetWake([this] { keeper_task_.Wake(); });
  committer_->SetWake([this] { committer_task_.Wake(); });
  committer_->SetProbeAgain([this](Request request) { prober_->Queue(std::move(request)); });
  committer_->SetOnSealed([this] { flusher_task_.Wake(); });
  prober_->SetWake([this] {
    for (Task& task : prober_tasks_) task.Wake();
  });
  // A sidecar that is there now lets the committer drop a key table, and the keeper prepare a
  // spare; one that cannot be made says why there is none.
  auto installed = [this] {
    committer_task_.Wake();
    keeper_task_.Wake();
    sidecar_task_.Wake();
    compactor_task_.Wake();
  };
  flusher_->SetOnEnded(installed);
  sidecars_->SetOnChange(installed);
  sidecars_->SetWake([this] { sidecar_task_.Wake(); });
  compactor_->SetHooks(
      {.must_wait =
           [this] {
             return !keeper_->Read().established ||
                    (versions_->sealed_count() > 0 && flusher_->Read().status.ok());
           },
       .trouble =
           [this] {
             const Status log = keeper_->Read().established ? Status::Ok() : keeper_->SpareStatus();
             return log.ok() ? sidecars_->Read().status : log;
           },
       .on_installed = installed,
       .bad_sidecar =
           [this](const LiveSegment& segment, const SidecarReader* sidecar, const Status& status) {
             sidecars_->ReportBad(segment, sidecar, status);
           }});
  compactor_->trash()->SetOnAdded([this] { compactor_task_.Wake(); });
  scrubber_->SetWake([this] { scrub_task_.Wake(); });
  running_ = true;
  Executor& executor = env_.executor();
  using Priority = Executor::Priority;
  keeper_task_.Add(executor, "log-keeper", Priority::kNormal, [this] { return keeper_->Step(); });
  committer_task_.Add(executor, "committer", Priority::kNormal,
                      [this] { return committer_->Step(); });
  for (Task& task : prober_tasks_) {
    task.Add(executor, "prober", Priority::kNormal, [this] { return prober_->Step(); });
  }
  // Ingest waits for it as soon as memtables do.
  flusher_task_.Add(executor, "flusher", Priority::kNormal, [this] { return flusher_->Step(); });
  sidecar_task_.Add(executor, "sidecar-keeper", Priority::kLow,
                    [this] { return sidecars_->Step(); });
  compactor_task_.Add(executor, "compactor", Priority::kLow, [this] { return compactor_->Step(); });
  if (options_.scrub_bytes_per_second == 0) return;  // off
  scrub_task_.Add(executor, "scrubber", Priority::kLow, [this] { return scrubber_->Step(); });
}

View Db::Impl::TakeView() const {
  View view;
  view.visible = committer_->visible();  // before the version: invariant 1
  view.newest_commit_us = committer_->newest_commit_us();
  view.scope = identity_.scope;
  view.incarnation = incarnation_;
  view.now_ms = env_.clock().WallMicros() / 1000;
  view.version = versions_->Current();
  return view;
}

QueryContext Db::Impl::NewContext(const Cancelled& cancelled) const {
  QueryContext context(env_.clock(), options_.query_ms_max, options_.query_memory_bytes_max,
                       cancelled);
  context.on_bad_rollup = [this](const Status& status) { sidecars_->ReportBadRollup(status); };
  return context;
}

Result<Lsn> Db::Impl::LsnAt(int64_t epoch_us) const {
  if (committer_->settled_us() < epoch_us) {
    Answer<Status> settled;
    committer_->SettleTime(epoch_us, [&](Status status) { settled.Set(std::move(status)); });
    TALLY_RETURN_IF_ERROR(settled.Wait());
  }
  return LastCommittedAt(TakeView(), epoch_us);
}

Status Db::Impl::Ready() const {
  TALLY_RETURN_IF_ERROR(committer_->Ready());
  const auto version = versions_->Current();
  for (const auto& segment : version->segments) {
    if (segment->sidecar() == nullptr && segment->listed().last_lsn <= committer_->dropped_lsn()) {
      return sidecars_->Rebuilding(*segment);
    }
  }
  return RunsLimit();
}

Status Db::Impl::RunsLimit() const {
  const uint32_t runs = versions_->mergeable_runs();
  if (options_.compaction_fan_in == 0 || options_.runs_max == 0 || runs < options_.runs_max) {
    return Status::Ok();
  }
  const std::string waiting =
      fmt::format("{} segments wait to be merged, of {} allowed", runs, options_.runs_max);
  const Status merging = compactor_->Read().status;
  if (merging.code() == StatusCode::kNoSpace) {
    return Status::NoSpace(waiting + ": " + merging.message());
  }
  return Status::Unavailable("compaction_behind", waiting);
}

void Db::Impl::CompactAsync(std::function<void(Status)> done) {
  if (options_.compaction_fan_in == 0) {
    return done(Status::FailedPrecondition("compaction_off", "compaction_fan_in is 0"));
  }
  compactor_->RunFull(std::move(done));
  compactor_task_.Wake();
}

void Db::Impl::Ingest(Batch batch, const IngestOptions& options, IngestDone done, bool may_block) {
  if (Status limit = RunsLimit(); !limit.ok()) return done(std::move(limit));
  if (auto refusal = committer_->Admit(batch)) return done(*std::move(refusal));
  prober_->Start({std::move(batch), std::move(done), options, {}}, may_block);
}

Result<ScrubStatus> Db::Impl::Scrub(const std::function<void(uint64_t, uint64_t)>& progress) {
  ScrubStatus result;
  {
    MutexLock lock(met_mutex_);
    result.findings = std::exchange(met_by_open_, {});
  }
  result.faults = result.findings.size();
  ScrubPass pass(WhatToScrub(), [&result](const ScrubFinding& finding) {
    ++result.faults;
    result.findings.push_back(finding);
  });
  auto outcome = ScrubPass::Outcome::kAgain;
  while (outcome == ScrubPass::Outcome::kAgain) {
    outcome = pass.Step();
    if (progress) progress(pass.bytes(), pass.bytes_expected());
  }
  if (outcome == ScrubPass::Outcome::kNoLogYet) return NoLogToScrub(result);
  result.passes = 1;
  result.files = pass.files();
  result.bytes = pass.bytes();
  result.last_pass_faults = result.faults;
  return result;
}

// All but the log was read.
Status Db::Impl::NoLogToScrub(const ScrubStatus& read) const {
  Status status = keeper_->SpareStatus();
  if (status.ok()) {  // since a moment ago, or nobody has tried again
    status = Status::Unavailable("log_unavailable", "there is no log yet that could be read");
  }
  if (read.findings.empty()) return status;
  const ScrubFinding& first = read.findings.front();
  return status.WithContext(
      fmt::format("{} faults, the first: {}: {}; and", read.faults, first.file, first.what));
}

void Db::Impl::Backup(const std::string& target, const BackupOptions& options, BackupDone done) {
  Status started = backups_->Start(target, options, done);
  if (!started.ok()) return done(std::move(started));
  MutexLock lock(backup_task_mutex_);
  if (closing_) return;  // Close answers it
  if (!std::exchange(backup_task_added_, true)) {
    backup_task_.Add(env_.executor(), "backup", Executor::Priority::kLow,
                     [this] { return backups_->Step(); });
  }
  backup_task_.Wake();
}

DbStatus Db::Impl::GetStatus() const {
  DbStatus status = recovery_;
  status.database_id = identity_.database_id.ToHex();
  status.incarnation = fmt::format("{:016x}", incarnation_);
  status.identity_scope = identity_.scope;
  status.ingest = Ready();
  status.lsn = committer_->visible();
  status.wal_poisoned = committer_->poisoned();
  const LogKeeper::Readings log = keeper_->Read();
  status.read_only = !committer_->has_log();
  status.wal_files = manifests_->Newest().wal_files.size();
  status.wal_bytes = log.wal_bytes;
  status.memory_bytes = log.spare_memory_bytes;
  const auto version = versions_->Current();
  for (const auto& segment : version->segments) {
    status.flushed_lsn = segment->listed().last_lsn;
    status.segment_rows += segment->listed().rows;
    status.segment_bytes += segment->listed().bytes;
    status.segment_file_bytes += segment->file_bytes();
    status.segments_damaged += segment->damaged() ? 1 : 0;
    const auto sidecar = segment->sidecar();
    if (sidecar == nullptr) {
      ++status.sidecars_unknown;
    } else {
      status.filter_bytes += sidecar->memory_bytes();
      status.filters_loaded += sidecar->filter_loaded() ? 1 : 0;
    }
    if (const auto rollup = segment->rollup(); rollup != nullptr) {
      ++status.rollups;
      status.rollup_lines += rollup->footer().lines;
      status.rollup_bytes += rollup->bytes();
    }
  }
  for (const auto& memtable : version->memtables) status.memory_bytes += memtable->bytes();
  status.segments = version->segments.size();
  status.memtables = version->memtables.size();
  status.key_tables = committer_->key_tables() + 1;  // and the active one
  status.cache_bytes = cache_.Read().bytes;
  const SidecarKeeper::Readings sidecars = sidecars_->Read();
  status.sidecars_corrupt += sidecars.corrupt;
  status.sidecars_rebuilt = sidecars.rebuilt;
  status.sidecar_rebuild = sidecars.status;
  status.rollups_corrupt += sidecars.rollups_corrupt;
  status.rollups_rebuilt = sidecars.rollups_rebuilt;
  status.scrub = scrubber_->Read();
  const Flusher::Readings flush = flusher_->Read();
  status.flushes = flush.flushes;
  status.flush_bytes_written = flush.bytes_written;
  status.flush_failures = flush.failures;
  status.sidecar_write_failures = flush.sidecar_failures;
  status.rollup_write_failures = flush.rollup_failures;
  status.flush = flush.status;
  NoteCompaction(&status);
  status.probe_pages = prober_->queued_in_all();
  const Backups::Readings backup = backups_->Read();
  status.backup_running = backup.running;
  status.backup_target = backup.target;
  status.backup_files_done = backup.files_done;
  status.backup_files = backup.files;
  status.backup_bytes_done = backup.bytes_done;
  status.backups = backup.backups;
  status.backup_failures = backup.failures;
  status.backup = backup.status;
  status.backup_lsn = backup.lsn;
  status.backup_created_us = backup.created_us;
  const Committer::Readings commit = committer_->Read();
  status.frames_written = commit.frames;
  status.marks_written = commit.marks;
  status.frame_bytes_written = commit.frame_bytes;
  status.events_accepted = commit.accepted;
  status.events_duplicate = commit.duplicates;
  status.events_conflict = commit.conflicts;
  status.events_rejected = commit.rejected;
  status.queue_events = commit.queue_events;
  status.queue_bytes = commit.queue_bytes;
  status.queue_full = commit.queue_full;
  status.probe_again = commit.probed_again;
  return status;
}

void Db::Impl::NoteCompaction(DbStatus* status) const {
  const Compactor::Readings compaction = compactor_->Read();
  status->runs = versions_->mergeable_runs();
  status->compactions = compaction.compactions;
  status->compaction_failures = compaction.failures;
  status->compaction_sidecar_failures = compaction.sidecar_failures;
  status->rollup_write_failures += compaction.rollup_failures;
  status->compaction_rows = compaction.rows_merged;
  status->compaction_bytes_written = compaction.bytes_written;
  status->segments_deleted = compaction.segments_deleted;
  status->compaction_left_out = compaction.left_out;
  status->compaction = compaction.status;
  status->compacting = compaction.running;
  std::vector<SegmentRun> runs;
  {
    const auto version = versions_->Current();
    runs = RunsOf(version->segments);
    for (size_t i = 0; i < runs.size(); ++i) {
      const Lsn first = version->segments[i]->listed().first_lsn;
      for (const CompactionProgress& merge : compaction.running) {
        if (first >= merge.first_lsn && first <= merge.last_lsn) runs[i].waiting = true;
      }
    }
  }
  if (options_.compaction_fan_in == 0) return;
  if (const auto due = PickCompaction(runs, LimitsOf(options_))) {
    status->compaction_due_inputs = due->end - due->begin;
    status->compaction_due_rows = due->rows;
  }
}

Status Db::Impl::Close() {
  if (!running_) return Status::Ok();
  running_ = false;
  committer_->StopTaking();
  {
    MutexLock lock(backup_task_mutex_);
    closing_ = true;
  }
  compactor_->Stop();
  sidecars_->Stop();
  governor_.Release();
  for (Task* task :
       {&prober_tasks_[0], &prober_tasks_[1], &committer_task_, &keeper_task_, &flusher_task_,
        &sidecar_task_, &compactor_task_, &scrub_task_, &backup_task_}) {
    task->Remove();
  }
  backups_->Close();
  // What was admitted is finished here, in one thread.
  constexpr auto kAgain = StepResult::Kind::kAgain;
  while (prober_->Step().kind == kAgain || committer_->Step().kind == kAgain ||
         keeper_->Step().kind == kAgain) {
  }
  committer_->Finish();
  FlushOnClose();
  compactor_->trash()->SetOnAdded({});
  compactor_->Finish();
  lock_.reset();
  Log(LogLevel::kInfo,
      fmt::format("closed {} at LSN {}", layout_.root, committer_->visible().value));
  return committer_->poisoned()
             ? Status::Unavailable("log_poisoned", "the log failed before the close")
             : Status::Ok();
}

// So that the next start has nothing to replay. What does not fit into the time is in the log.
void Db::Impl::FlushOnClose() {
  if (options_.flush_on_close_ms_max == 0) return;
  const int64_t until =
      env_.clock().MonotonicMicros() + static_cast<int64_t>(options_.flush_on_close_ms_max) * 1000;
  committer_->SealActive();
  while (env_.clock().MonotonicMicros() < until &&
         flusher_->Step().kind == StepResult::Kind::kAgain) {
  }
  const bool all = committer_->has_log() && !committer_->poisoned() &&
                   versions_->OldestSealed() == nullptr &&
                   manifests_->Newest().flushed_lsn == committer_->visible();
  if (all) IgnoreError(keeper_->DropAll(committer_->visible()), "the next start reads the log");
  keeper_->DeleteFree();
}

// --- the public face ---

std::string_view Version() { return "0.1.0"; }

Db::Db(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Db::Db(Db&&) noexcept = default;
Db& Db::operator=(Db&& other) noexcept {
  if (this != &other) {
    if (impl_ != nullptr) IgnoreError(impl_->Close(), "assigned over; Close() would have told");
    impl_ = std::move(other.impl_);
  }
  return *this;
}
Db::~Db() {
  if (impl_ != nullptr) IgnoreError(impl_->Close(), "destroyed; Close() would have told");
}

Result<Db> Db::Open(const std::string& directory, const OpenOptions& options) {
  Env& env = options.env != nullptr ? *options.env : Env::Real();
  auto impl = std::make_unique<Impl>(env, directory, options);
  TALLY_RETURN_IF_ERROR(impl->Open());
  return Db(std::move(impl));
}

Batch Db::NewBatch() const {
  return BatchBuilder::Make(impl_->identity_.scope, impl_->options_.limits);
}

void Db::IngestAsync(Batch batch, IngestDone done, const IngestOptions& options) {
  impl_->Ingest(std::move(batch), options, std::move(done), /*may_block=*/false);
}

Result<IngestResult> Db::Ingest(Batch batch, const IngestOptions& options) {
  Answer<Result<IngestResult>> answer;
  auto done = [&](Result<IngestResult> result) { answer.Set(std::move(result)); };
  impl_->Ingest(std::move(batch), options, done, /*may_block=*/true);
  return answer.Wait();
}

Result<UsageResult> Db::Aggregate(const UsageQuery& query) const {
  QueryContext context = impl_->NewContext(query.cancelled);
  return tallystick::Aggregate(impl_->TakeView(), query, context);
}

Result<PathComparison> Db::ComparePaths(const UsageQuery& query) const {
  QueryContext context = impl_->NewContext(query.cancelled);
  return tallystick::ComparePaths(impl_->TakeView(), query, context);
}

Result<AccountsPage> Db::ListAccounts(const AccountsQuery& query) const {
  QueryContext context = impl_->NewContext(query.cancelled);
  return tallystick::ListAccounts(impl_->TakeView(), query, context);
}

Result<Lsn> Db::LsnAt(int64_t epoch_us) const { return impl_->LsnAt(epoch_us); }

void Db::BackupAsync(const std::string& target, BackupDone done, const BackupOptions& options) {
  impl_->Backup(target, options, std::move(done));
}

Result<BackupReport> Db::Backup(const std::string& target, const BackupOptions& options) {
  Answer<Result<BackupReport>> answer;
  impl_->Backup(target, options,
                [&](Result<BackupReport> result) { answer.Set(std::move(result)); });
  return answer.Wait();
}

void Db::SettleTime(int64_t epoch_us, std::function<void(Status)> done) const {
  impl_->committer_->SettleTime(epoch_us, std::move(done));
}

Result<EventStream> Db::ListEvents(const EventsQuery& query) const {
  return tallystick::ListEvents(impl_->TakeView(), query, impl_->NewContext(query.cancelled));
}

Result<EventLookup> Db::GetEvent(std::string_view event_id, std::string_view account_id,
                                 std::optional<Lsn> as_of_lsn) const {
  return tallystick::GetEvent(impl_->TakeView(), event_id, account_id, as_of_lsn);
}

Result<ConflictsPage> Db::ListConflicts(const ConflictsQuery& query) const {
  return tallystick::ListConflicts(impl_->TakeView(), query);
}

void Db::CompactAsync(std::function<void(Status)> done) { impl_->CompactAsync(std::move(done)); }

Status Db::Compact(const std::function<void(const DbStatus&)>& progress) {
  Answer<Status> answer;
  impl_->CompactAsync([&](Status status) { answer.Set(std::move(status)); });
  for (;;) {
    if (auto status = answer.WaitFor(kProgressMicros)) return *std::move(status);
    if (progress) progress(GetStatus());
  }
}

Result<VerifyReport> Db::Verify(const std::function<void(uint64_t, uint64_t)>& progress) const {
  return tallystick::Verify(impl_->TakeView(), progress);
}

Status Db::StartScrub() { return impl_->scrubber_->Ask(); }

Result<ScrubStatus> Db::Scrub(const std::function<void(uint64_t, uint64_t)>& progress) {
  return impl_->Scrub(progress);
}

Lsn Db::VisibleLsn() const { return impl_->committer_->visible(); }
DbStatus Db::GetStatus() const { return impl_->GetStatus(); }
Status Db::Ready() const { return impl_->Ready(); }
Status Db::Close() { return impl_->Close(); }

}  // namespace tallystick
