// Committer: the one place where events get their LSN.
//
// Requests are queued by any thread, with what the sidecars said of their events; a step takes what
// is queued, checks every key against the key tables, writes one frame, syncs once, appends to the
// memtable, publishes the visible LSN, and answers. Check and assignment are one critical section
// (this task), so the log's order is the truth. It never reads a file.
//
// Key tables and sidecars together know every key. A sealed memtable's key table is kept until its
// segment's sidecar answers; the tables kept are those of all rows above dropped_lsn(). A request
// says up to which LSN it has asked the sidecars (ProbeResult::covered). If that is below
// dropped_lsn(), nobody has looked at the rows between: it is sent back to be probed again.
//
// Source of the pattern: group commit as in LevelDB's DBImpl::Write (one leader for all that is
// queued).
//
// Thread rule: Admit to Refuse, Ready and the readings from any thread; Step by the executor, never
// twice at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "engine/log_keeper.h"
#include "engine/request.h"
#include "engine/version_store.h"
#include "model/batch_builder.h"
#include "tallystick/db.h"
#include "wal/wal_writer.h"

namespace tallystick {

class Committer {
 public:
  struct Start {
    WalPosition position;  // of the next frame
    Lsn flushed_lsn;       // sidecars know the rows up to it, or nobody does
    int64_t last_commit_time_us = 0;
    bool last_frame_is_data = false;  // it has no successor yet
    // Until there is a log again the last frame may be in the page cache only, for a power cut to
    // take: its rows are not visible before.
    uint64_t last_frame_rows = 0;
  };

  // A sealed memtable's keys.
  struct SealedKeys {
    std::shared_ptr<const KeyTable> keys;
    Lsn last_lsn;  // of its rows and of all before it
  };

  // `sealed`: the key tables of all rows behind the segments but those of the active memtable, in
  // LSN order.
  Committer(Env& env, const OpenOptions& options, LogKeeper& keeper, ManifestStore& manifests,
            VersionStore& versions, const Start& start, std::deque<SealedKeys> sealed);

  // Reserves a place in the queue for a batch, or says why it is refused. What was admitted is
  // given to Enqueue, when it has been probed, or to Refuse; then its `done` is called exactly
  // once.
  std::optional<Status> Admit(const Batch& batch);
  void Enqueue(Request request);
  void Refuse(Request request, const Status& status);
  // Takes an admitted request that must be probed again. Set once, before the steps run.
  void SetProbeAgain(std::function<void(Request)> probe) { probe_again_ = std::move(probe); }
  // Called when a memtable was sealed. Set once, before the steps run.
  void SetOnSealed(std::function<void()> on_sealed) { on_sealed_ = std::move(on_sealed); }
  // Key tables know all rows above this LSN, and no more than those.
  Lsn dropped_lsn() const { return {dropped_lsn_.load(std::memory_order_acquire)}; }
  uint32_t key_tables() const { return key_tables_.load(std::memory_order_relaxed); }

  // Calls `done` from a step, once no row can get a stamp at or before `at_us` any more: where the
  // newest frame is older, a mark is written. kInvalidArgument `as_of_in_future`, or why the log
  // takes nothing.
  void SettleTime(int64_t at_us, std::function<void(Status)> done);
  // All rows with a stamp at or before this are visible, and no other will get one.
  int64_t settled_us() const { return settled_us_.load(std::memory_order_acquire); }

  // ok, or the status that a request would be refused with now.
  Status Ready() const;

  StepResult Step();
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

  // Refuses everything from now on; what is admitted is still committed. When no task runs any more
  // and nothing is left to do: Finish, which writes the last mark. Then SealActive, if the active
  // memtable is to be flushed.
  void StopTaking();
  void Finish();
  void SealActive();

  // All frames below this one are durable in listed files, as soon as there is a log.
  FrameNumber next_frame() const { return {next_frame_.load(std::memory_order_acquire)}; }
  Lsn visible() const { return {visible_lsn_.load(std::memory_order_acquire)}; }
  int64_t newest_commit_us() const { return newest_commit_us_.load(std::memory_order_acquire); }
  bool poisoned() const;
  // False: recovery has found no space for a new log yet. Everything but the last frame can be
  // read.
  bool has_log() const { return has_log_.load(std::memory_order_acquire); }

  // How far the log is durable: frame, file and rows of one moment.
  struct LogEnd {
    FileNumber file;          // being written; 0: there is no log yet
    uint64_t used = 0;        // of its bytes, up to the end of its last frame
    bool has_frames = false;  // else it is empty, and last_frame stands in the file before
    FrameNumber last_frame;
    Lsn last_lsn;
  };
  LogEnd log_end() const;

  struct Readings {
    uint64_t frames = 0, marks = 0, frame_bytes = 0;
    uint64_t accepted = 0, duplicates = 0, conflicts = 0, rejected = 0;
    uint64_t queue_events = 0, queue_bytes = 0, queue_full = 0;
    uint64_t probed_again = 0;
  };
  Readings Read() const;

 private:
  // One group: requests with their results, and the rows that go to the frame.
  struct Group {
    std::vector<Request> requests;
    std::vector<IngestResult> results;
    uint32_t rows = 0;
    Lsn first_lsn;
    int64_t now_ms = 0;  // wall clock, for the whole group
  };
  using Entry = BatchBuilder::Entry;

  std::optional<Status> Refusal(const Batch& batch) const REQUIRES(mutex_);
  void Forget(const Batch& batch) REQUIRES(mutex_);
  void DropKeyTables();
  bool IsProbed(const Request& request) const;
  bool SealActiveFile();
  LogKeeper::Ended EndOfActive() const;
  StepResult SealIfOld();
  int64_t SlowdownMicros() const;
  bool TakeLog();
  bool EnsureRoom(uint64_t record_bytes, uint64_t rows);
  Group TakeGroup();
  void Judge(Group& group);
  void JudgeRequest(Group& group, BatchBuilder& batch, const ProbeResult& probe,
                    IngestResult& result);
  void ProbeSealed(const BatchBuilder& batch);
  EventOutcome JudgeEntry(Group& group, BatchBuilder& batch, const Entry& entry,
                          std::optional<KeyTable::Found> found);
  EventOutcome JudgeConflict(Group& group, const BatchBuilder& batch, const Entry& entry);
  std::optional<KeyTable::Found> FindEverywhere(const EventHash& hash) const;
  Status WriteFrame(FrameType type, uint32_t rows, int64_t at_least_us);  // its commit time
  void Publish(const Group& group);
  void Answer(Group& group);
  void AnswerDuplicatesEarly(Group& group);
  void FailGroup(Group& group, const Status& status);
  void FailQueue(const Status& status);
  void SetRefusal(const Status& status);
  StepResult WriteMarkIfIdle();
  Status WriteMark(int64_t at_least_us);
  void SettleTimes();
  void FailTimes(const Status& status);
  int64_t NextCommitTime(int64_t at_least_us);
  void NoteLogEnd();

  Env& env_;
  const OpenOptions& options_;
  LogKeeper& keeper_;
  ManifestStore& manifests_;
  VersionStore& versions_;
  std::function<void()> wake_;
  std::function<void(Request)> probe_again_;
  std::function<void()> on_sealed_;

  // Owned by the step.
  std::unique_ptr<LogSlot> log_;
  std::deque<SealedKeys>
      sealed_;  // oldest first; of all rows above dropped_lsn_ but the active ones
  WalPosition position_;
  FrameBuffer frame_;
  std::vector<std::optional<KeyTable::Found>> found_;  // scratch of ProbeSealed
  bool mark_due_;
  bool stuck_ = false;  // the log is full and the keeper said that there is no next one
  int64_t write_started_us_ = INT64_MIN / 2;
  int64_t frame_done_us_ = 0;
  int64_t oldest_row_us_ = 0;  // when the active memtable got its first row; 0: it has none

  std::atomic<uint64_t> dropped_lsn_;
  std::atomic<uint32_t> key_tables_;
  std::atomic<uint64_t> next_frame_;  // position_'s
  std::atomic<uint64_t> visible_lsn_;
  std::atomic<bool> has_log_ = false;
  std::atomic<int64_t> newest_commit_us_;
  std::atomic<int64_t> settled_us_ = INT64_MIN;

  struct TimeToSettle {
    int64_t at_us = 0;
    std::function<void(Status)> done;
  };

  mutable Mutex mutex_;
  std::vector<TimeToSettle> times_ GUARDED_BY(mutex_);
  std::deque<Request> queue_ GUARDED_BY(mutex_);
  uint64_t queue_bytes_ GUARDED_BY(mutex_) = 0;  // of queue_
  // Of everything that was admitted and is not taken into a group yet.
  uint64_t admitted_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t admitted_events_ GUARDED_BY(mutex_) = 0;
  Status refusal_ GUARDED_BY(mutex_);  // poisoned, or no log to go on with
  bool closed_ GUARDED_BY(mutex_) = false;
  LogEnd log_end_ GUARDED_BY(mutex_);
  mutable Readings readings_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
