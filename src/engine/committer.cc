// Invariants:
//  1. LSNs are dense; a row's LSN is given once, in the order of the log.
//  2. visible_lsn_ covers only rows whose frame is durable and that are in the memtable.
//  3. An outcome is answered only when every row that it speaks of is durable: its own, or the
//  original's.
//     One write is outstanding at most, so that holds for all earlier frames while a group is
//     judged.
//  4. Keys enter the active memtable's key table when they are judged, before their frame is
//  durable. That
//     is safe because nobody is answered before it is, readers compare with the visible LSN, and a
//     failed write poisons the log, after which nothing is judged until reopen.
//  5. Once the log is poisoned nothing is written to it, no mark either.
//  6. A request is judged only if every row has been looked at for it: those up to its probe's
//     `covered` in sidecars, those above dropped_lsn_ in key tables, and covered >= dropped_lsn_.
//  7. dropped_lsn_ never goes back, and never passes the LSN up to which sidecars answer.
//  8. Behind the last frame of rows a mark follows as soon as the queue is idle, so that rot in it
//  cannot
//     look like a torn tail.
#include "engine/committer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/mutant.h"
#include "model/event_check.h"
#include "model/identity.h"

namespace tallystick {
namespace {

constexpr int64_t kSlowdownMaxMicros = 50'000;  // between two writes, where compaction is behind
constexpr uint32_t kSlowdownSpan = 16;          // runs from the first to the longest pause

constexpr size_t kPrefetchAhead = 12;

// Rejected events need no row.
uint64_t RowsMax(const Batch& batch) {
  return std::min<uint64_t>(batch.size(), batch.encoded_bytes() / kRecordBytesMin);
}

}  // namespace

Committer::Committer(Env& env, const OpenOptions& options, LogKeeper& keeper,
                     ManifestStore& manifests, VersionStore& versions, const Start& start,
                     std::deque<SealedKeys> sealed)
    : env_(env),
      options_(options),
      keeper_(keeper),
      manifests_(manifests),
      versions_(versions),
      sealed_(std::move(sealed)),
      position_(start.position),
      frame_(options.group_bytes_max),
      mark_due_(start.last_frame_is_data),
      dropped_lsn_(start.flushed_lsn.value),
      key_tables_(static_cast<uint32_t>(sealed_.size())),
      next_frame_(start.position.next_frame.value),
      visible_lsn_(start.position.next_lsn.value - 1 - start.last_frame_rows),
      newest_commit_us_(start.last_commit_time_us) {
  position_.commit_time_after_us = start.last_commit_time_us;
  if (mark_due_) oldest_row_us_ = env_.clock().MonotonicMicros();
  TakeLog();
}

// --- any thread ---

std::optional<Status> Committer::Refusal(const Batch& batch) const {
  if (closed_) return Status::FailedPrecondition("closed", "the database is closed");
  if (batch.size() > options_.batch_events_max ||
      batch.encoded_bytes() > options_.batch_bytes_max) {
    return Status::InvalidArgument(
        "batch_too_large",
        fmt::format("a batch of {} events and {} bytes; at most {} events and {} bytes are taken",
                    batch.size(), batch.encoded_bytes(), options_.batch_events_max,
                    options_.batch_bytes_max));
  }
  if (!refusal_.ok()) return refusal_;
  if (admitted_bytes_ + batch.encoded_bytes() > options_.queue_bytes_max ||
      admitted_events_ + batch.size() > options_.queue_events_max) {
    ++readings_.queue_full;
    return Status::Unavailable(
        "queue_full", fmt::format("{} events wait to be committed; try again", admitted_events_));
  }
  return std::nullopt;
}

std::optional<Status> Committer::Admit(const Batch& batch) {
  MutexLock lock(mutex_);
  std::optional<Status> refusal = Refusal(batch);
  if (refusal.has_value()) return refusal;
  admitted_bytes_ += batch.encoded_bytes();
  admitted_events_ += batch.size();
  return std::nullopt;
}

void Committer::Forget(const Batch& batch) {
  admitted_bytes_ -= batch.encoded_bytes();
  admitted_events_ -= batch.size();
}

void Committer::Enqueue(Request request) {
  bool wake = false;
  {
    MutexLock lock(mutex_);
    const uint64_t before = queue_bytes_;
    queue_bytes_ += request.batch.encoded_bytes();
    wake = queue_.empty() ||
           (before < options_.commit_wake_bytes && queue_bytes_ >= options_.commit_wake_bytes);
    queue_.push_back(std::move(request));
  }
  if (wake && wake_) wake_();
}

void Committer::Refuse(Request request, const Status& status) {
  {
    MutexLock lock(mutex_);
    Forget(request.batch);
  }
  request.done(status);
}

Status Committer::Ready() const {
  MutexLock lock(mutex_);
  if (closed_) return Status::FailedPrecondition("closed", "the database is closed");
  if (!refusal_.ok()) return refusal_;
  if (admitted_bytes_ >= options_.queue_bytes_max ||
      admitted_events_ >= options_.queue_events_max) {
    return Status::Unavailable("queue_full", "the commit queue is full; try again");
  }
  return Status::Ok();
}

bool Committer::poisoned() const {
  MutexLock lock(mutex_);
  return refusal_.reason() == "log_poisoned";
}

Committer::Readings Committer::Read() const {
  MutexLock lock(mutex_);
  Readings readings = readings_;
  readings.queue_bytes = admitted_bytes_;
  readings.queue_events = admitted_events_;
  return readings;
}

void Committer::SetRefusal(const Status& status) {
  MutexLock lock(mutex_);
  if (refusal_.reason() == "log_poisoned") return;  // for good
  refusal_ = status;
}

void Committer::SettleTime(int64_t at_us, std::function<void(Status)> done) {
  {
    MutexLock lock(mutex_);
    if (!closed_) {
      times_.push_back({at_us, std::move(done)});
      done = nullptr;
    }
  }
  if (done) return done(Status::FailedPrecondition("closed", "the database is closed"));
  if (wake_) wake_();
}

// --- the step ---

StepResult Committer::Step() {
  if (stuck_) {
    const Status spare = keeper_.SpareStatus();
    stuck_ = !spare.ok();
    SetRefusal(spare);  // ok, or what is the matter by now
  }
  SettleTimes();
  if (poisoned()) {
    FailQueue(Ready());
    FailTimes(Ready());
    return TALLY_MUTANT("mark_after_poison") ? WriteMarkIfIdle() : StepResult::Wait();
  }
  if (log_ == nullptr && !TakeLog()) {
    const Status status = keeper_.SpareStatus();
    SetRefusal(status.ok() ? Status::Unavailable("log_unavailable", "the log is being prepared")
                           : status);
    FailQueue(Ready());
    FailTimes(Ready());
    return StepResult::Wait();
  }
  DropKeyTables();
  bool empty, gathered, closed;
  {
    MutexLock lock(mutex_);
    empty = queue_.empty();
    closed = closed_;
    gathered = queue_bytes_ >= options_.commit_wake_bytes || closed_;
  }
  if (empty) return SealIfOld();
  const int64_t slowdown_us = closed ? 0 : SlowdownMicros();
  const int64_t due = write_started_us_ + std::max<int64_t>(options_.commit_gap_us, slowdown_us);
  if ((!gathered || slowdown_us > 0) && env_.clock().MonotonicMicros() < due) {
    return StepResult::WaitUntil(due);
  }

  Group group = TakeGroup();
  if (group.requests.empty()) {
    MutexLock lock(mutex_);
    return queue_.empty() ? StepResult::Again() : StepResult::Wait();  // the keeper wakes us
  }
  write_started_us_ = env_.clock().MonotonicMicros();
  Judge(group);
  if (TALLY_MUTANT("ack_before_sync")) Answer(group);
  if (TALLY_MUTANT("early_duplicate")) AnswerDuplicatesEarly(group);
  if (group.rows > 0) {
    Status status = WriteFrame(FrameType::kData, group.rows, INT64_MIN);
    if (!status.ok()) {
      SetRefusal(status);
      FailGroup(group, status);
      FailQueue(status);
      return StepResult::Wait();
    }
    Publish(group);
  }
  Answer(group);
  return StepResult::Again();
}

// The log that Establish, or healing after no space, offers first.
bool Committer::TakeLog() {
  log_ = keeper_.TakeSpare(std::nullopt);
  if (log_ == nullptr) return false;
  NoteLogEnd();
  // The last frame stands in it, durable: its rows may be served.
  visible_lsn_.store(position_.next_lsn.value - 1, std::memory_order_release);
  has_log_.store(true, std::memory_order_release);
  settled_us_.store(position_.commit_time_after_us, std::memory_order_release);
  SetRefusal(Status::Ok());
  return true;
}

// Nothing is in flight between two groups, so whatever is stamped later is stamped after the newest
// frame. A time behind that needs a mark, which a restart goes on from too.
void Committer::SettleTimes() {
  std::vector<TimeToSettle> times;
  {
    MutexLock lock(mutex_);
    times.swap(times_);
  }
  if (times.empty()) return;
  std::vector<TimeToSettle> waiting;  // for room
  for (TimeToSettle& time : times) {
    if (time.at_us <= settled_us()) {
      time.done(Status::Ok());
      continue;
    }
    const int64_t now_us = env_.clock().WallMicros();
    if (time.at_us > std::max(now_us, position_.commit_time_after_us)) {
      time.done(Status::InvalidArgument("as_of_in_future",
                                        fmt::format("as_of is {} ms after now, {} (epoch ms)",
                                                    (time.at_us - now_us) / 1000, now_us / 1000)));
      continue;
    }
    const bool room =
        log_ != nullptr && !poisoned() && (log_->writer->FitsMark() || SealActiveFile());
    if (!room) {
      waiting.push_back(std::move(time));
      continue;
    }
    if (TALLY_MUTANT("as_of_not_settled")) {
      settled_us_.store(time.at_us, std::memory_order_release);
      time.done(Status::Ok());
      continue;
    }
    // Not before the time itself, even if the clock has just jumped back.
    time.done(WriteMark(time.at_us));
  }
  // The keeper wakes us when there is a log, or says why there will be none.
  const Status spare = keeper_.SpareStatus();
  if (log_ != nullptr && !spare.ok()) {
    for (const TimeToSettle& time : waiting) time.done(spare);
    return;
  }
  MutexLock lock(mutex_);
  std::ranges::move(waiting, std::back_inserter(times_));
}

void Committer::FailTimes(const Status& status) {
  std::vector<TimeToSettle> failed;
  {
    MutexLock lock(mutex_);
    failed.swap(times_);
  }
  for (const TimeToSettle& time : failed) time.done(status);
}

// Goes over to the spare where the active file or memtable has no room.
bool Committer::EnsureRoom(uint64_t record_bytes, uint64_t rows) {
  if (log_->writer->Fits(record_bytes) && log_->memtable->Fits(record_bytes, rows)) return true;
  // A file without frames cannot be ended, but then one request does not fit an empty one.
  TALLY_CHECK(log_->writer->offset() > kWalHeaderBytes);
  if (!SealActiveFile()) return false;
  TALLY_CHECK(log_->writer->Fits(record_bytes) && log_->memtable->Fits(record_bytes, rows));
  return true;
}

// Goes over to the spare. False: there is none, and nothing has changed.
bool Committer::SealActiveFile() {
  auto spare = keeper_.TakeSpare(EndOfActive());
  if (spare == nullptr) return false;
  sealed_.push_back({log_->memtable->shared_keys(), {position_.next_lsn.value - 1}});
  key_tables_.store(static_cast<uint32_t>(sealed_.size()), std::memory_order_relaxed);
  log_ = std::move(spare);
  NoteLogEnd();  // before the sealed memtable can be flushed, and its file dropped
  versions_.AddMemtable(log_->memtable);
  oldest_row_us_ = 0;
  if (on_sealed_) on_sealed_();
  return true;
}

void Committer::NoteLogEnd() {
  MutexLock lock(mutex_);
  log_end_ = {.file = log_->writer->number(),
              .used = log_->writer->offset(),
              .has_frames = log_->writer->offset() > kWalHeaderBytes,
              .last_frame = {position_.next_frame.value - 1},
              .last_lsn = {position_.next_lsn.value - 1}};
}

Committer::LogEnd Committer::log_end() const {
  MutexLock lock(mutex_);
  return log_end_;
}

LogKeeper::Ended Committer::EndOfActive() const {
  return {.file = {log_->writer->number(), FrameNumber{position_.next_frame.value - 1}},
          .last_lsn = {position_.next_lsn.value - 1},
          .bytes = log_->writer->file_bytes(),
          .used = log_->writer->offset(),
          .whole = log_->writer->file_bytes() == options_.wal_file_bytes};
}

// Oldest first, and only what the sidecars answer for by now.
void Committer::DropKeyTables() {
  const Lsn covered = versions_.covered();
  bool dropped = false;
  while (!sealed_.empty() &&
         (sealed_.front().last_lsn <= covered || TALLY_MUTANT("key_table_dropped_early"))) {
    if (sealed_.front().last_lsn <= covered) {
      dropped_lsn_.store(sealed_.front().last_lsn.value, std::memory_order_release);
    }
    dropped = true;
    if (TALLY_MUTANT("key_tables_dropped_out_of_order")) {
      sealed_.pop_back();
      break;
    }
    sealed_.pop_front();
  }
  if (!dropped) return;
  key_tables_.store(static_cast<uint32_t>(sealed_.size()), std::memory_order_relaxed);
  keeper_.Wake();  // it may have waited for that
}

bool Committer::IsProbed(const Request& request) const {
  return request.probe.covered >= dropped_lsn() || TALLY_MUTANT("stale_probe_believed");
}

Committer::Group Committer::TakeGroup() {
  Group group;
  std::vector<Request> unprobed;
  uint64_t bytes = 0, rows = 0;
  bool wait_for_room = false;
  while (true) {
    uint64_t next_bytes, next_rows;
    {
      MutexLock lock(mutex_);
      if (queue_.empty()) break;
      const Request& next = queue_.front();
      if (!IsProbed(next)) {
        queue_bytes_ -= next.batch.encoded_bytes();
        ++readings_.probed_again;
        unprobed.push_back(std::move(queue_.front()));
        queue_.pop_front();
        continue;
      }
      next_bytes = bytes + next.batch.encoded_bytes();
      next_rows = rows + RowsMax(next.batch);
    }
    if (group.requests.empty()) {
      wait_for_room = !EnsureRoom(next_bytes, next_rows);
      if (wait_for_room) break;
    } else if (next_bytes > options_.group_bytes_max || !log_->writer->Fits(next_bytes) ||
               !log_->memtable->Fits(next_bytes, next_rows)) {
      break;
    }
    MutexLock lock(mutex_);
    queue_bytes_ -= queue_.front().batch.encoded_bytes();
    Forget(queue_.front().batch);
    group.requests.push_back(std::move(queue_.front()));
    queue_.pop_front();
    bytes = next_bytes;
    rows = next_rows;
  }
  for (Request& request : unprobed) probe_again_(std::move(request));
  if (wait_for_room) {
    const Status status = keeper_.SpareStatus();
    stuck_ = !status.ok();
    if (stuck_) {
      SetRefusal(status);
      FailQueue(status);
    }
  }
  return group;
}

void Committer::Judge(Group& group) {
  frame_.Clear();
  group.first_lsn = position_.next_lsn;
  group.now_ms = env_.clock().WallMicros() / 1000;
  group.results.reserve(group.requests.size());
  for (Request& request : group.requests) {
    IngestResult& result = group.results.emplace_back(std::move(request.batch));
    JudgeRequest(group, BatchBuilder::Of(result.batch), request.probe, result);
  }
}

// Sealed tables first, one after another over the whole batch, so that their cache misses overlap.
void Committer::ProbeSealed(const BatchBuilder& batch) {
  const auto& entries = batch.entries();
  found_.assign(entries.size(), std::nullopt);
  for (const SealedKeys& sealed : sealed_) {
    const KeyTable& keys = *sealed.keys;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i + kPrefetchAhead < entries.size()) {
        keys.Prefetch(entries[i + kPrefetchAhead].id_hash);
      }
      if (entries[i].rejected() || found_[i].has_value()) continue;
      found_[i] = keys.Find(entries[i].id_hash);
    }
  }
}

void Committer::JudgeRequest(Group& group, BatchBuilder& batch, const ProbeResult& probe,
                             IngestResult& result) {
  ProbeSealed(batch);
  auto hit = probe.hits.begin();
  const auto& entries = batch.entries();
  const KeyTable& active = log_->memtable->keys();
  result.outcomes.reserve(entries.size());
  // Runs of accepted records stand next to each other in the batch as they will in the frame.
  size_t run_begin = 0, run_end = 0;
  auto flush_run = [&] {
    if (run_end > run_begin) {
      frame_.Append(batch.records().subspan(run_begin, run_end - run_begin));
    }
  };
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i + kPrefetchAhead < entries.size()) active.Prefetch(entries[i + kPrefetchAhead].id_hash);
    const Entry& entry = entries[i];
    EventOutcome outcome;
    if (entry.rejected()) {
      outcome.rejection = batch.rejections()[entry.rejection];
    } else {
      if (entry.offset != run_end) {
        flush_run();
        run_begin = run_end = entry.offset;
      }
      while (hit != probe.hits.end() && hit->entry < i) ++hit;
      const bool in_segment = hit != probe.hits.end() && hit->entry == i;
      auto found = found_[i].has_value() ? found_[i] : active.Find(entry.id_hash);
      const bool known_there = in_segment && !found.has_value();
      const bool conflicts = known_there
                                 ? !hit->same_payload
                                 : found.has_value() && found->payload_hash != entry.payload_hash;
      if (conflicts && in_segment && hit->conflict_kept) {
        outcome = {.kind = OutcomeKind::kConflict, .lsn = hit->conflict};
      } else if (conflicts) {
        flush_run();
        run_begin = run_end = entry.offset + entry.bytes;
        outcome = JudgeConflict(group, batch, entry);
      } else if (known_there) {
        outcome = {.kind = OutcomeKind::kDuplicate, .lsn = hit->original};
      } else {
        outcome = JudgeEntry(group, batch, entry, found);
        if (outcome.kind == OutcomeKind::kAccepted) run_end = entry.offset + entry.bytes;
      }
    }
    switch (outcome.kind) {
      case OutcomeKind::kAccepted:
        ++result.accepted;
        break;
      case OutcomeKind::kDuplicate:
        ++result.duplicates;
        break;
      case OutcomeKind::kConflict:
        ++result.conflicts;
        break;
      case OutcomeKind::kRejected:
        ++result.rejected;
        break;
    }
    result.outcomes.push_back(std::move(outcome));
  }
  flush_run();
}

// An event that is new, or known with this very payload.
EventOutcome Committer::JudgeEntry(Group& group, BatchBuilder& batch, const Entry& entry,
                                   std::optional<KeyTable::Found> found) {
  EventOutcome outcome;
  if (found.has_value()) {
    outcome.kind = OutcomeKind::kDuplicate;
    outcome.lsn = found->lsn;
    return outcome;
  }
  if (entry.rejection != BatchBuilder::kNoRejection) {
    outcome.rejection = batch.rejections()[entry.rejection];
    return outcome;
  }
  if (auto rejection = CheckEventClock(entry.timestamp_ms, group.now_ms, options_.limits)) {
    outcome.rejection = *std::move(rejection);
    return outcome;
  }
  outcome.kind = OutcomeKind::kAccepted;
  outcome.lsn = {group.first_lsn.value + group.rows++};
  log_->memtable->keys().Insert(entry.id_hash, entry.payload_hash, outcome.lsn);
  return outcome;
}

// Known with another payload: kept under a key of its own, never counted.
EventOutcome Committer::JudgeConflict(Group& group, const BatchBuilder& batch, const Entry& entry) {
  EventOutcome outcome;
  outcome.kind = OutcomeKind::kConflict;
  const EventHash key = ConflictKey(entry.id_hash, batch.canonical(entry));
  if (const auto kept = FindEverywhere(key); kept.has_value()) {
    outcome.lsn = kept->lsn;
    return outcome;
  }
  std::byte header[kRecordHeaderBytes];
  StoreFixed<uint32_t>(header, entry.bytes - kRecordHeaderBytes);
  header[4] = static_cast<std::byte>(Disposition::kQuarantined);
  frame_.Append(header);
  frame_.Append(batch.canonical(entry));
  outcome.lsn = {group.first_lsn.value + group.rows++};
  log_->memtable->keys().Insert(key, entry.payload_hash, outcome.lsn);
  return outcome;
}

std::optional<KeyTable::Found> Committer::FindEverywhere(const EventHash& hash) const {
  if (auto found = log_->memtable->keys().Find(hash)) return found;
  for (const SealedKeys& sealed : sealed_) {
    if (auto found = sealed.keys->Find(hash)) return found;
  }
  return std::nullopt;
}

int64_t Committer::NextCommitTime(int64_t at_least_us) {
  const int64_t now = std::max(env_.clock().WallMicros(), at_least_us);
  if (TALLY_MUTANT("commit_time_goes_back")) return now;
  return std::max(now, position_.commit_time_after_us + 1);
}

Status Committer::WriteFrame(FrameType type, uint32_t rows, int64_t at_least_us) {
  FrameHeader header;
  header.type = type;
  header.number = position_.next_frame;
  header.first_lsn = position_.next_lsn;
  header.commit_time_us = NextCommitTime(at_least_us);
  header.rows = rows;
  Status status = log_->writer->Append(header, frame_);
  if (!status.ok()) return status;

  if (rows > 0) {
    TALLY_CHECK(log_->memtable->AppendFrame(header.first_lsn, header.commit_time_us,
                                            frame_.payload(), rows));
    if (oldest_row_us_ == 0) oldest_row_us_ = env_.clock().MonotonicMicros();
  }
  ++position_.next_frame.value;
  next_frame_.store(position_.next_frame.value, std::memory_order_release);
  position_.next_lsn.value += rows;
  position_.commit_time_after_us = header.commit_time_us;
  manifests_.NoteCommitTime(header.commit_time_us);
  newest_commit_us_.store(header.commit_time_us, std::memory_order_release);
  NoteLogEnd();
  mark_due_ = type == FrameType::kData;
  frame_done_us_ = env_.clock().MonotonicMicros();
  MutexLock lock(mutex_);
  ++(type == FrameType::kData ? readings_.frames : readings_.marks);
  readings_.frame_bytes += FrameBytes(frame_.payload_bytes());
  return Status::Ok();
}

// Evenly from nothing at runs_slow to kSlowdownMaxMicros at runs_max: so that senders are held back
// before they have to be refused.
int64_t Committer::SlowdownMicros() const {
  const uint32_t runs = versions_.mergeable_runs();
  if (options_.compaction_fan_in == 0 || options_.runs_slow == 0 || runs <= options_.runs_slow) {
    return 0;
  }
  const uint32_t span = options_.runs_max > options_.runs_slow
                            ? options_.runs_max - options_.runs_slow
                            : kSlowdownSpan;
  return kSlowdownMaxMicros * std::min(runs - options_.runs_slow, span) / span;
}

// Nothing is queued. A memtable that has grown old goes to the flusher although it is not full.
StepResult Committer::SealIfOld() {
  const StepResult mark = WriteMarkIfIdle();
  if (options_.memtable_age_ms_max == 0 || oldest_row_us_ == 0 || poisoned()) return mark;
  const int64_t due = oldest_row_us_ + static_cast<int64_t>(options_.memtable_age_ms_max) * 1000;
  if (env_.clock().MonotonicMicros() >= due) {
    SealActiveFile();  // without a spare: at the next occasion
    return mark;
  }
  return StepResult::WaitUntil(mark.at_micros > 0 ? std::min(mark.at_micros, due) : due);
}

StepResult Committer::WriteMarkIfIdle() {
  if (!mark_due_) return StepResult::Wait();
  const int64_t due = frame_done_us_ + static_cast<int64_t>(options_.mark_idle_ms) * 1000;
  if (env_.clock().MonotonicMicros() < due) return StepResult::WaitUntil(due);
  if (!log_->writer->FitsMark()) return StepResult::Wait();  // its last frame is the mark's reserve
  IgnoreError(WriteMark(INT64_MIN), "it is the refusal of whatever comes next");
  return StepResult::Wait();
}

Status Committer::WriteMark(int64_t at_least_us) {
  frame_.Clear();
  write_started_us_ = env_.clock().MonotonicMicros();
  const Status status = WriteFrame(FrameType::kMark, 0, at_least_us);
  if (!status.ok()) {
    SetRefusal(status);
    return status;
  }
  settled_us_.store(position_.commit_time_after_us, std::memory_order_release);
  return status;
}

void Committer::Publish(const Group& group) {
  visible_lsn_.store(group.first_lsn.value + group.rows - 1, std::memory_order_release);
  settled_us_.store(position_.commit_time_after_us, std::memory_order_release);
}

void Committer::Answer(Group& group) {
  {
    MutexLock lock(mutex_);
    for (const IngestResult& result : group.results) {
      readings_.accepted += result.accepted;
      readings_.duplicates += result.duplicates;
      readings_.conflicts += result.conflicts;
      readings_.rejected += result.rejected;
    }
  }
  for (size_t i = 0; i < group.requests.size(); ++i) {
    group.results[i].lsn = visible();
    group.requests[i].done(std::move(group.results[i]));
  }
  group.requests.clear();
}

// Only ever called as a deliberate bug.
void Committer::AnswerDuplicatesEarly(Group& group) {
  for (size_t i = 0; i < group.requests.size(); ++i) {
    const IngestResult& result = group.results[i];
    if (result.duplicates == 0 || result.accepted + result.conflicts > 0) continue;
    group.results[i].lsn = visible();
    group.requests[i].done(std::move(group.results[i]));
    group.requests[i].done = [](Result<IngestResult>) {};
  }
}

void Committer::FailGroup(Group& group, const Status& status) {
  for (Request& request : group.requests) request.done(status);
}

void Committer::FailQueue(const Status& status) {
  std::deque<Request> failed;
  {
    MutexLock lock(mutex_);
    failed.swap(queue_);
    queue_bytes_ = 0;
    for (const Request& request : failed) Forget(request.batch);
  }
  for (Request& request : failed) request.done(status);
}

void Committer::StopTaking() {
  MutexLock lock(mutex_);
  closed_ = true;
}

void Committer::Finish() {
  FailQueue(
      Status::FailedPrecondition("closed", "the database was closed before this was committed"));
  FailTimes(Status::FailedPrecondition("closed", "the database was closed"));
  frame_done_us_ = INT64_MIN / 2;  // the mark is due now
  if (log_ != nullptr && !poisoned()) WriteMarkIfIdle();
}

void Committer::SealActive() {
  if (log_ == nullptr || poisoned() || log_->writer->offset() == kWalHeaderBytes) return;
  keeper_.End(EndOfActive());
  versions_.SealActive();
  log_ = nullptr;
}

}  // namespace tallystick
