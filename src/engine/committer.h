// Committer: the one place where events get their LSN.
//
// Requests are queued by any thread; a step takes what is queued, checks every key against the key
// tables, writes one frame, syncs once, appends to the memtable, publishes the visible LSN, and
// answers. Check and assignment are one critical section (this task), so the log's order is the
// truth. It never reads a file.
//
// Source of the pattern: group commit as in LevelDB's DBImpl::Write (one leader for all that is
// queued).
//
// Thread rule: Submit, Ready and the readings from any thread; Step by the executor, never twice at
// once.
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
#include "model/batch_builder.h"
#include "tallystick/db.h"
#include "wal/wal_writer.h"

namespace tallystick {

class Committer {
 public:
  struct Start {
    WalPosition position;  // of the next frame
    int64_t last_commit_time_us = 0;
    bool last_frame_is_data = false;  // it has no successor yet
    // Until there is a log again the last frame may be in the page cache only, for a power cut to
    // take: its rows are not visible before.
    uint64_t last_frame_rows = 0;
  };

  // Called by the committer when rows go to another memtable from now on.
  using OnMemtable = std::function<void(const std::shared_ptr<Memtable>&)>;

  Committer(Env& env, const OpenOptions& options, LogKeeper& keeper, const Start& start,
            std::vector<std::shared_ptr<const Memtable>> sealed, OnMemtable on_memtable);

  // Answers through `done`, exactly once: at once on a refusal, else from a step.
  void Submit(Batch batch, IngestDone done);
  // ok, or the status that a request would be refused with now.
  Status Ready() const;

  StepResult Step();
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

  // Refuses everything from now on; what is queued is still committed. Then Drain, when neither
  // this task nor the keeper's runs any more.
  void StopTaking();
  void Drain();

  Lsn visible() const { return {visible_lsn_.load(std::memory_order_acquire)}; }
  int64_t newest_commit_us() const { return newest_commit_us_.load(std::memory_order_acquire); }
  bool poisoned() const;
  // False: recovery has found no space for a new log yet. Everything but the last frame can be
  // read.
  bool has_log() const { return has_log_.load(std::memory_order_acquire); }

  struct Readings {
    uint64_t frames = 0, marks = 0, frame_bytes = 0;
    uint64_t accepted = 0, duplicates = 0, conflicts = 0, rejected = 0;
    uint64_t queue_events = 0, queue_bytes = 0, queue_full = 0;
  };
  Readings Read() const;

 private:
  struct Request {
    Batch batch;
    IngestDone done;
  };
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
  bool TakeLog();
  bool EnsureRoom(uint64_t record_bytes, uint64_t rows);
  Group TakeGroup();
  void Judge(Group& group);
  void JudgeRequest(Group& group, BatchBuilder& batch, IngestResult& result);
  void ProbeSealed(const BatchBuilder& batch);
  EventOutcome JudgeEntry(Group& group, BatchBuilder& batch, const Entry& entry,
                          std::optional<KeyTable::Found> found);
  EventOutcome JudgeConflict(Group& group, const BatchBuilder& batch, const Entry& entry);
  std::optional<KeyTable::Found> FindEverywhere(const EventHash& hash) const;
  Status WriteFrame(FrameType type, uint32_t rows);
  void Publish(const Group& group);
  void Answer(Group& group);
  void AnswerDuplicatesEarly(Group& group);
  void FailGroup(Group& group, const Status& status);
  void FailQueue(const Status& status);
  void SetRefusal(const Status& status);
  StepResult WriteMarkIfIdle();
  int64_t NextCommitTime();

  Env& env_;
  const OpenOptions& options_;
  LogKeeper& keeper_;
  const OnMemtable on_memtable_;
  std::function<void()> wake_;

  // Owned by the step.
  std::unique_ptr<LogSlot> log_;
  std::vector<std::shared_ptr<const Memtable>> sealed_;  // their key tables are probed
  WalPosition position_;
  FrameBuffer frame_;
  std::vector<std::optional<KeyTable::Found>> found_;  // scratch of ProbeSealed
  bool mark_due_;
  bool stuck_ = false;  // the log is full and the keeper said that there is no next one
  int64_t write_started_us_ = INT64_MIN / 2;
  int64_t frame_done_us_ = 0;

  std::atomic<uint64_t> visible_lsn_;
  std::atomic<bool> has_log_ = false;
  std::atomic<int64_t> newest_commit_us_;

  mutable Mutex mutex_;
  std::deque<Request> queue_ GUARDED_BY(mutex_);
  uint64_t queue_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t queue_events_ GUARDED_BY(mutex_) = 0;
  Status refusal_ GUARDED_BY(mutex_);  // poisoned, or no log to go on with
  bool closed_ GUARDED_BY(mutex_) = false;
  mutable Readings readings_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
