// Db::Impl: an engine of two steps (the committer, the log keeper) over one directory, and the
// views that reads are answered from.
//
// Invariants:
//  1. memtables_ is a list in LSN order that only grows; a memtable is in it before any of its rows
//     becomes visible. So a view that takes the visible LSN first and the list second is whole.
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
#include "engine/committer.h"
#include "engine/layout.h"
#include "engine/log_keeper.h"
#include "engine/recovery.h"
#include "engine/replay.h"
#include "env/env.h"
#include "query/aggregate.h"
#include "query/conflicts.h"
#include "query/events.h"
#include "query/lookup.h"
#include "query/verify.h"

namespace tallystick {

class Db::Impl {
 public:
  Impl(Env& env, const std::string& directory, const OpenOptions& options)
      : env_(env), layout_(directory), options_(options) {}

  Status Open();
  Status Close();
  View TakeView() const;
  DbStatus GetStatus() const;

  Env& env_;
  const Layout layout_;
  const OpenOptions options_;
  std::unique_ptr<FileLock> lock_;
  Identity identity_;
  uint64_t incarnation_ = 0;
  DbStatus recovery_;  // only its recovery_ fields
  std::unique_ptr<LogKeeper> keeper_;
  std::unique_ptr<Committer> committer_;
  std::atomic<Executor::TaskId> committer_task_ = 0;  // 0: not added yet
  std::atomic<Executor::TaskId> keeper_task_ = 0;
  bool running_ = false;

 private:
  Status LockDirectory();
  Result<ReplayResult> Replay(const RecoveryPlan& plan);
  void AddMemtable(const std::shared_ptr<Memtable>& memtable);
  void Start();
  void Log(LogLevel level, const std::string& text) const {
    if (options_.log) options_.log(level, text);
  }

  mutable Mutex mutex_;
  std::shared_ptr<const MemtableList> memtables_ GUARDED_BY(mutex_);
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
  TALLY_ASSIGN_OR_RETURN(RecoveryPlan plan, PlanRecovery(env_.fs(), layout_));
  TALLY_ASSIGN_OR_RETURN(ReplayResult replay, Replay(plan));
  identity_ = plan.identity;
  incarnation_ = plan.manifest.incarnation;
  recovery_.recovery_frames = replay.frames;
  recovery_.recovery_rows = replay.rows;
  recovery_.recovery_torn_bytes = plan.wal.torn_bytes.size();

  Committer::Start start{.position = plan.wal.end, .last_commit_time_us = plan.last_commit_time_us};
  if (TALLY_MUTANT("lsn_reused") && start.position.next_lsn.value > 1)
    --start.position.next_lsn.value;
  start.last_frame_is_data = replay.active != nullptr && !replay.active->empty();
  if (start.last_frame_is_data) {
    start.last_frame_rows = replay.active->end_lsn().value - replay.active->first_lsn().value;
  }

  MemtableList list(replay.sealed.begin(), replay.sealed.end());
  std::vector<std::shared_ptr<const Memtable>> sealed = list;
  list.push_back(replay.active);
  uint64_t memory = 0;
  for (const auto& memtable : list) memory += memtable->bytes();
  {
    MutexLock lock(mutex_);
    memtables_ = std::make_shared<const MemtableList>(std::move(list));
  }
  keeper_ = std::make_unique<LogKeeper>(env_, layout_, options_, std::move(plan),
                                        std::move(replay.active), memory);
  const Status established = keeper_->Establish();
  if (!established.ok() && established.code() != StatusCode::kNoSpace) return established;
  committer_ = std::make_unique<Committer>(
      env_, options_, *keeper_, start, std::move(sealed),
      [this](const std::shared_ptr<Memtable>& memtable) { AddMemtable(memtable); });
  recovery_.recovery_ms = static_cast<uint64_t>((env_.clock().MonotonicMicros() - start_us) / 1000);
  Log(LogLevel::kInfo,
      fmt::format("opened {} at LSN {}: {} WAL frames and {} rows replayed in {} ms", layout_.root,
                  committer_->visible().value, recovery_.recovery_frames, recovery_.recovery_rows,
                  recovery_.recovery_ms));
  Start();
  return Status::Ok();
}

// A step may run, and wake the other, before the other is added. That wake is not missed: a task's
// first step looks at everything.
void Db::Impl::Start() {
  auto wake_committer = [this] {
    if (committer_task_ != 0) env_.executor().Wake(committer_task_);
  };
  keeper_->SetOnChange(wake_committer);
  keeper_->SetWake([this] {
    if (keeper_task_ != 0) env_.executor().Wake(keeper_task_);
  });
  committer_->SetWake(wake_committer);
  running_ = true;
  keeper_task_ = env_.executor().Add("log-keeper", Executor::Priority::kNormal,
                                     [this] { return keeper_->Step(); });
  committer_task_ = env_.executor().Add("committer", Executor::Priority::kNormal,
                                        [this] { return committer_->Step(); });
}

void Db::Impl::AddMemtable(const std::shared_ptr<Memtable>& memtable) {
  MutexLock lock(mutex_);
  MemtableList list = *memtables_;
  list.push_back(memtable);
  memtables_ = std::make_shared<const MemtableList>(std::move(list));
}

View Db::Impl::TakeView() const {
  View view;
  view.visible = committer_->visible();  // before the list: invariant 1
  view.newest_commit_us = committer_->newest_commit_us();
  view.scope = identity_.scope;
  view.incarnation = incarnation_;
  view.now_ms = env_.clock().WallMicros() / 1000;
  MutexLock lock(mutex_);
  view.memtables = memtables_;
  return view;
}

DbStatus Db::Impl::GetStatus() const {
  DbStatus status = recovery_;
  status.database_id = identity_.database_id.ToHex();
  status.incarnation = fmt::format("{:016x}", incarnation_);
  status.identity_scope = identity_.scope;
  status.ingest = committer_->Ready();
  status.lsn = committer_->visible();
  status.wal_poisoned = committer_->poisoned();
  const LogKeeper::Readings log = keeper_->Read();
  status.read_only = !committer_->has_log();
  status.wal_files = log.wal_files;
  status.wal_bytes = log.wal_bytes;
  status.memory_bytes = log.memory_bytes;
  {
    MutexLock lock(mutex_);
    status.memtables = memtables_->size();
    status.key_tables = memtables_->size();
  }
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
  return status;
}

Status Db::Impl::Close() {
  if (!running_) return Status::Ok();
  running_ = false;
  committer_->StopTaking();
  env_.executor().Remove(committer_task_.exchange(0));
  env_.executor().Remove(keeper_task_.exchange(0));
  committer_->Drain();
  lock_.reset();
  Log(LogLevel::kInfo,
      fmt::format("closed {} at LSN {}", layout_.root, committer_->visible().value));
  return committer_->poisoned()
             ? Status::Unavailable("log_poisoned", "the log failed before the close")
             : Status::Ok();
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

void Db::IngestAsync(Batch batch, IngestDone done) {
  impl_->committer_->Submit(std::move(batch), std::move(done));
}

Result<IngestResult> Db::Ingest(Batch batch) {
  Mutex mutex;
  CondVar answered;
  std::optional<Result<IngestResult>> answer;
  IngestAsync(std::move(batch), [&](Result<IngestResult> result) {
    MutexLock lock(mutex);
    answer = std::move(result);
    answered.NotifyOne();
  });
  MutexLock lock(mutex);
  while (!answer.has_value()) answered.Wait(mutex);
  return *std::move(answer);
}

Result<UsageResult> Db::Aggregate(const UsageQuery& query) const {
  return tallystick::Aggregate(impl_->TakeView(), query);
}

Result<EventStream> Db::ListEvents(const EventsQuery& query) const {
  return tallystick::ListEvents(impl_->TakeView(), query);
}

Result<EventLookup> Db::GetEvent(std::string_view event_id, std::string_view account_id,
                                 std::optional<Lsn> as_of_lsn) const {
  return tallystick::GetEvent(impl_->TakeView(), event_id, account_id, as_of_lsn);
}

Result<ConflictsPage> Db::ListConflicts(const ConflictsQuery& query) const {
  return tallystick::ListConflicts(impl_->TakeView(), query);
}

Result<VerifyReport> Db::Verify(const std::function<void(uint64_t, uint64_t)>& progress) const {
  return tallystick::Verify(impl_->TakeView(), progress);
}

Lsn Db::VisibleLsn() const { return impl_->committer_->visible(); }
DbStatus Db::GetStatus() const { return impl_->GetStatus(); }
Status Db::Ready() const { return impl_->committer_->Ready(); }
Status Db::Close() { return impl_->Close(); }

}  // namespace tallystick
