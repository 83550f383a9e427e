// LogKeeper: sees to it that the committer always has a WAL file to write to. It is the only writer
// of manifests and the only one that creates, lists, cuts and deletes files.
//
//   Establish   recovery's last half: the new log that takes over from the files that were found
//   Step        in the background: prepare the next file, list it, offer it
//   TakeSpare   the committer's side: the offered file, or why there is none
//
// Thread rule: Establish and Step belong to one task. TakeSpare, SpareStatus and the readings may
// be called from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
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
  // `plan` as PlanRecovery gave it; `replayed_active` has the rows of the last frame.
  LogKeeper(Env& env, const Layout& layout, const OpenOptions& options, RecoveryPlan plan,
            std::shared_ptr<Memtable> replayed_active, uint64_t memory_in_use);

  // Steps 3 to 5 of recovery.h. After kNoSpace it may be called again (Step does). Once ok, the
  // first TakeSpare gives the log to go on with.
  Status Establish();

  StepResult Step();

  // Gives the offered file and wakes the keeper to prepare another. `sealed` is the file that the
  // taker leaves and its last frame. Null: none is there (yet); SpareStatus() says why.
  std::unique_ptr<LogSlot> TakeSpare(std::optional<ListedWalFile> sealed);
  // ok: a spare is offered or being prepared. Else why none can be had now: kNoSpace, kUnavailable
  // `memory_full` or `log_unavailable`. It is tried again in the background.
  Status SpareStatus() const;

  // Set once, before the steps run: called when a spare was offered or SpareStatus changed.
  void SetOnChange(std::function<void()> on_change) { on_change_ = std::move(on_change); }
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }
  // The newest frame's commit time, for the next manifest.
  void NoteCommitTime(int64_t micros) {
    last_commit_time_us_.store(micros, std::memory_order_relaxed);
  }

  struct Readings {
    uint64_t wal_files = 0;
    uint64_t wal_bytes = 0;
    uint64_t memory_bytes = 0;
    bool established = false;
  };
  Readings Read() const;

 private:
  Status EstablishOnce();
  Result<std::unique_ptr<WalWriter>> PrepareFirstFile();
  Result<std::optional<FileNumber>> UnlistEmptySpare();
  void SaveTornTail();
  Manifest TakeOver(const Manifest& from, FileNumber new_file) const;
  void DeleteAndCut(const std::vector<ListedWalFile>& kept);

  Status PrepareSpare();
  Status ListSpare();
  Status CommitManifest(Manifest next);
  void RemoveOldManifests();
  void SetStatus(const Status& status);
  void Offer();
  void Log(LogLevel level, const std::string& text) const;
  WalFileSpec Spec(uint64_t file_bytes);

  Env& env_;
  const Layout layout_;
  const OpenOptions& options_;
  std::function<void()> on_change_;
  std::function<void()> wake_;
  std::atomic<int64_t> last_commit_time_us_;

  // Owned by the keeper's task.
  RecoveryPlan plan_;
  std::shared_ptr<Memtable> replayed_active_;
  Manifest manifest_;  // the newest durable one
  uint64_t next_number_;
  std::unique_ptr<LogSlot> pending_;  // prepared, not durably listed yet
  int64_t retry_at_us_ = 0;

  mutable Mutex mutex_;
  std::unique_ptr<LogSlot> offered_ GUARDED_BY(mutex_);
  std::vector<ListedWalFile> sealed_ GUARDED_BY(mutex_);  // ends that no manifest says yet
  Status status_ GUARDED_BY(mutex_);
  Readings readings_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
