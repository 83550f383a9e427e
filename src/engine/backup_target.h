// BackupTarget: the directory that a backup is written to.
//
//   TARGET/LOCK               held while a backup is written; its presence also tells an unfinished
//                             first backup from a directory of somebody else's
//   TARGET/BACKUP             replaced by rename when all else is durable
//   TARGET/segments, /wal     the files that BACKUP names, and what unfinished runs left
//
// Invariant: a file that the BACKUP of before names is neither written nor removed until the next
// BACKUP is durable (unless it has another size than it should, and so was damaged already).
//
// Nothing of it may be a symbolic link: a file or folder that is one is refused, or made anew. The
// target itself may be reached through links; from then on its real path is used.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/layout.h"
#include "manifest/backup_file.h"

namespace tallystick {

class BackupTarget {
 public:
  // `path` must be absent, an unfinished backup, or one of this very database and incarnation:
  // else kFailedPrecondition `target_not_backup` or `foreign_backup`. kInvalidArgument
  // `invalid_target`: it lies within the database's directory, or its parent does not exist.
  static Result<BackupTarget> Open(FileSystem& fs, const std::string& path, const Layout& source,
                                   const Identity& identity, uint64_t incarnation);

  const std::string& real_path() const { return real_path_; }
  std::string In(const std::string& name) const { return JoinPath(real_path_, name); }

  // kFailedPrecondition `foreign_backup` unless the backup of before is of a moment of the same
  // history: not later than `now`, and with the same rows in every segment that both have. A data
  // directory that was put back to an older copy goes another way from there, under the same
  // numbers.
  Status CheckHistory(const BackupContent& now) const;
  // The file of this path, as the backup of before names it, if it is there with its size.
  // `foreign_backup` where that is not `bytes`.
  Result<std::optional<BackupFile>> Kept(const std::string& name,
                                         std::optional<uint64_t> bytes) const;
  // Removes what stands in the place of a file that is not kept.
  Status Clear(const std::string& name);

  // Makes the files' names durable.
  Status SyncNames();
  // The backup counts from here on. *in_doubt: after an error it may count all the same.
  Status Write(const BackupContent& content, bool* in_doubt);
  // Removes what the content does not name; how many files. Errors leave them for the next time.
  uint64_t RemoveOthers(const BackupContent& content);

 private:
  BackupTarget(FileSystem& fs, std::string real_path, std::unique_ptr<FileLock> lock)
      : fs_(&fs), real_path_(std::move(real_path)), lock_(std::move(lock)) {}
  Status LoadEarlier(const Identity& identity, uint64_t incarnation);

  FileSystem* fs_;
  std::string real_path_;
  std::unique_ptr<FileLock> lock_;
  std::optional<BackupContent> earlier_;
  std::map<std::string, BackupFile> earlier_files_;  // by path in the backup
};

}  // namespace tallystick
