// Backups: copies the database to another directory while it is in use, one backup at a time.
//
//   target -> position -> files (log first, then segments) -> names -> BACKUP -> what is left over
//
// The position is one moment: the newest durable manifest, and with it the durable end of the log.
// Its segments stay because the job holds the version that has them; its log files stay because
// the log keeper is made to hold them, until they are copied. What is durable of a log file is
// never written again, so it can be read up to that end while the committer goes on behind it.
//
// Segments are immutable, and their sidecars and rollups are only ever replaced by a rename. So a
// hard link is a copy of that moment; a log file, which is recycled later, is always copied.
//
// The source is never written. Whatever fails, the backup of before stays whole (backup_target.h).
//
// Thread rule: Step by the executor, never twice at once; Close when it does not run any more; the
// rest from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "engine/backup_target.h"
#include "engine/committer.h"
#include "engine/file_copier.h"
#include "engine/layout.h"
#include "engine/log_keeper.h"
#include "engine/manifest_store.h"
#include "engine/version_store.h"
#include "env/io_governor.h"
#include "tallystick/backup.h"
#include "wal/wal_check.h"

namespace tallystick {

class Backups {
 public:
  Backups(Env& env, const Layout& layout, const OpenOptions& options, const Identity& identity,
          ManifestStore& manifests, VersionStore& versions, LogKeeper& keeper,
          const Committer& committer, IoGovernor& governor)
      : env_(env),
        layout_(layout),
        options_(options),
        identity_(identity),
        manifests_(manifests),
        versions_(versions),
        keeper_(keeper),
        committer_(committer),
        governor_(governor) {}

  // Takes the request, to be worked on by Step; `done` is called once, from there or from Close. On
  // an error (kFailedPrecondition `backup_running`, `closed`) it is not called.
  Status Start(const std::string& target, const BackupOptions& options, BackupDone done);

  StepResult Step();
  // Gives up what is running or waits, with `closed`.
  void Close();

  struct Readings {
    bool running = false;
    std::string target;  // of the one that is running, or of the last one
    uint64_t files_done = 0;
    uint64_t files = 0;  // known once the position is
    uint64_t bytes_done = 0;
    uint64_t backups = 0;
    uint64_t failures = 0;
    Status status;           // ok, or why the last one failed
    Lsn lsn;                 // of the last one that was completed
    int64_t created_us = 0;  // likewise
  };
  Readings Read() const;

 private:
  enum class Phase : uint8_t { kTarget, kPosition, kFiles, kNames, kBackup };
  struct Request {
    std::string target;
    BackupOptions options;
    BackupDone done;
  };
  // A file that the backup is to have.
  struct Wanted {
    BackupFile file;   // kind and number
    std::string name;  // in the backup
    std::string source;
    std::optional<uint64_t> bytes;  // from its start; none: all of it
  };
  struct Job {
    Request request;
    Phase phase = Phase::kTarget;
    std::optional<BackupTarget> target;
    bool holds_log = false;
    std::shared_ptr<const DataVersion> version;  // keeps its segments' files
    BackupContent content;
    std::vector<Wanted> wanted;
    size_t next = 0;  // in wanted
    std::unique_ptr<FileCopier> copier;
    std::unique_ptr<WalFileChecker> log_check;  // of the log file that was copied
    BackupFile log_file;                        // that one
    std::optional<Lsn> log_next;                // behind the log file before, if that was checked
    bool linked = false;                        // the file that is being read
    bool links_refused = false;                 // by the file system: not tried again
    std::vector<std::string> made;
    bool in_doubt = false;  // whether BACKUP was replaced
    BackupReport report;
  };

  StepResult RunPhase(Status* status);
  Status OpenTarget();
  Result<bool> TakePosition();
  bool EndLog(Manifest& manifest, const Committer::LogEnd& end,
              const std::vector<LogKeeper::Ended>& ended);
  void ListSegments();
  Status FileStep();
  Status StartFile(const Wanted& wanted);
  Status StartCheck(const BackupFile& file);
  Status LogCheckStep();
  Status CheckSegment(const BackupFile& file, const std::string& path);
  void EndFile(const BackupFile& file);
  void ReleaseLog();
  Status WriteBackup();
  void Finish(const Status& status);
  void Note(const std::function<void(Readings&)>& change);
  void Log(LogLevel level, const std::string& text) const {
    if (options_.log) options_.log(level, text);
  }

  Env& env_;
  const Layout& layout_;
  const OpenOptions& options_;
  const Identity& identity_;
  ManifestStore& manifests_;
  VersionStore& versions_;
  LogKeeper& keeper_;
  const Committer& committer_;
  IoGovernor& governor_;

  std::unique_ptr<Job> job_;  // owned by the step

  mutable Mutex mutex_;
  std::unique_ptr<Request> waiting_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
  Readings readings_ GUARDED_BY(mutex_);
};

// What BACKUP says, for people.
BackupInfo InfoOf(const BackupContent& content, const std::string& directory);

}  // namespace tallystick
