// LogKeeper: sees to it that the committer always has a WAL file to write to. It is the only one
// that creates, lists, cuts, recycles and deletes WAL files.
//
//   Establish   recovery's last half: the new log that takes over from the files that were found
//   Step        in the background: prepare the next file, list it, offer it
//   TakeSpare   the committer's side: the offered file, or why there is none
//   Drop, Free  the flusher's side: files whose rows stand in a segment now
//   Hold        the backup's side: no file is recycled or deleted while one is being copied
//
// Thread rule: Establish and Step belong to one task. The rest may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "engine/manifest_store.h"
#include "engine/recovery.h"
#include "memtable/memtable.h"
#include "tallystick/options.h"
#include "wal/wal_writer.h"

namespace tallystick {

// A listed WAL file with the memtable of its rows.
struct LogSlot {
  std::unique_ptr<WalWriter> writer;
  std::shared_ptr<Memtable> memtable;
};

class LogKeeper {
 public:
  // `plan` as PlanRecovery gave it; `replayed_active` has the rows of the last frame. `budget` says
  // whether there may be another memtable (ok, or `memory_full`); called from any thread.
  LogKeeper(Env& env, const Layout& layout, const OpenOptions& options, ManifestStore& manifests,
            RecoveryPlan plan, std::shared_ptr<Memtable> replayed_active,
            std::function<Status()> budget);

  // Steps 3 to 5 of recovery.h. After kNoSpace it may be called again (Step does). Once ok, the
  // first TakeSpare gives the log to go on with.
  Status Establish();

  StepResult Step();

  // A file that gets no more frames.
  struct Ended {
    ListedWalFile file;  // with its last frame
    Lsn last_lsn;        // of its rows and of all before it
    uint64_t bytes = 0;  // of the file
    uint64_t used = 0;   // of them up to the end of its last frame
    bool whole = false;  // prepared in this life, so that it may be recycled
  };

  // Gives the offered file and wakes the keeper to prepare another. `ended` is the file that the
  // taker leaves. Null: none is there (yet), and nothing has changed; SpareStatus() says why.
  std::unique_ptr<LogSlot> TakeSpare(std::optional<Ended> ended);
  // The active file gets no more frames: the database is being closed.
  void End(const Ended& ended);

  // Part of a manifest edit that raises flushed_lsn: gives every ended file its end, and drops
  // those whose rows are all covered. The numbers of the dropped ones.
  std::vector<FileNumber> Drop(Manifest& manifest, Lsn flushed_lsn) const;
  // That manifest is durable: the files may be recycled or deleted.
  void Free(const std::vector<FileNumber>& dropped);
  // All rows are flushed and no file gets another frame: none is listed any more, so that the next
  // start has no log to read. For closing, when Step does not run any more.
  Status DropAll(Lsn flushed_lsn);
  // Deletes the free files. For closing, when Step does not run any more.
  void DeleteFree();

  // The files that count now, with the ends of those that get no more frames.
  Manifest LiveFiles() const;
  // From Hold to Release, which may be nested, log files that are free wait: none is recycled or
  // deleted, and the next one is made anew. (A close does not wait: it ends backups first.)
  void Hold();
  void Release();
  std::vector<Ended> EndedFiles() const;  // whose rows are not flushed yet, in frame order

  // ok: a spare is offered or being prepared. Else why none can be had now: kNoSpace, kUnavailable
  // `memory_full` or `log_unavailable`. It is tried again in the background.
  Status SpareStatus() const;

  void Wake() const {
    if (wake_) wake_();
  }
  // Set once, before the steps run: called when a spare was offered or SpareStatus changed.
  void SetOnChange(std::function<void()> on_change) { on_change_ = std::move(on_change); }
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

  struct Readings {
    uint64_t wal_bytes = 0;
    uint64_t spare_memory_bytes = 0;  // of the offered memtable
    bool established = false;
  };
  Readings Read() const;

 private:
  Status EstablishOnce();
  Result<std::unique_ptr<WalWriter>> PrepareFirstFile();
  Result<std::optional<FileNumber>> UnlistEmptySpare();
  void SaveTornTail();
  Manifest TakeOver(const Manifest& from, FileNumber new_file) const;
  std::vector<Ended> KeptFiles(const std::vector<ListedWalFile>& kept) const;
  void DeleteAndCut(const std::vector<Ended>& kept);

  Status PrepareSpare();
  Status ListSpare();
  Result<std::unique_ptr<WalWriter>> PrepareWriter();
  void ApplyEnds(Manifest& manifest) const REQUIRES(mutex_);
  void RemoveFile(FileNumber number);
  void SetStatus(const Status& status);
  void Offer();
  void Log(LogLevel level, const std::string& text) const;
  WalFileSpec Spec(uint64_t file_bytes);

  Env& env_;
  const Layout layout_;
  const OpenOptions& options_;
  std::function<void()> on_change_;
  std::function<void()> wake_;
  ManifestStore& manifests_;
  const std::function<Status()> budget_;

  // Owned by the keeper's task.
  RecoveryPlan plan_;
  std::shared_ptr<Memtable> replayed_active_;
  std::unique_ptr<LogSlot> pending_;  // prepared, not durably listed yet
  int64_t retry_at_us_ = 0;

  mutable Mutex mutex_;
  std::unique_ptr<LogSlot> offered_ GUARDED_BY(mutex_);
  std::vector<Ended> ended_ GUARDED_BY(mutex_);  // in frame order; their rows are not flushed yet
  std::vector<Ended> free_ GUARDED_BY(mutex_);   // named by no manifest that may count
  uint32_t holds_ GUARDED_BY(mutex_) = 0;
  Status status_ GUARDED_BY(mutex_);
  Readings readings_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
