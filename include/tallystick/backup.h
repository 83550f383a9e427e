// Backups: a database at one position of its commit order, in a directory of its own, taken while
// the database is in use (Db::Backup) and made a database again by RestoreBackup.
//
// A backup holds every row up to its LSN. It is made of a file BACKUP, which names all others with
// size and checksum, and of copies of segments and log; it counts once BACKUP is there. A later
// backup into the same directory copies only what is new, and until it is complete the earlier one
// stays whole.
//
// Thread rule: one call at a time on a directory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tallystick/event.h"
#include "tallystick/options.h"
#include "tallystick/status.h"

namespace tallystick {

struct BackupOptions {
  // Segments are copied, also where a hard link to them could be made. A link costs no space and no
  // writing, but shares with the original whatever happens to its blocks.
  bool copy = false;
};

// What a backup is.
struct BackupInfo {
  std::string directory;    // absolute
  std::string database_id;  // 32 hex digits
  std::string incarnation;  // 16 hex digits; of the database that it was taken from
  Lsn lsn;                  // it holds the rows 1..lsn
  int64_t created_us = 0;   // wall clock, epoch
  uint64_t files = 0;       // beside BACKUP
  uint64_t bytes = 0;       // of them
};

struct BackupReport {
  BackupInfo backup;
  // What this run did to have these files.
  uint64_t copied_files = 0;
  uint64_t copied_bytes = 0;
  uint64_t linked_files = 0;
  uint64_t kept_files = 0;     // of an earlier backup in the directory
  uint64_t removed_files = 0;  // that only an earlier backup named
};

using BackupDone = std::function<void(Result<BackupReport>)>;

// Bytes done and in all; may be empty.
using BackupProgress = std::function<void(uint64_t, uint64_t)>;

// Reads the backup whole and compares every checksum. kNotFound `backup_not_found`; kCorruption
// names the first file that is missing or not what was written. `env`: nullptr for the real
// machine.
Result<BackupInfo> VerifyBackup(const std::string& directory, Env* env,
                                const BackupProgress& progress);

struct RestoreReport {
  BackupInfo backup;
  std::string directory;
  std::string incarnation;  // of the new database: 16 hex digits, drawn anew
};

// Verifies the backup as above, then makes a database of it in `directory`, which must be absent or
// hold nothing of a database (kFailedPrecondition `restore_target_in_use`), and whose parent must
// exist. Everything is copied, the backup stays as it is. The new database answers like the old one
// at the backup's LSN. LSNs beyond it will mean other rows, so it has an incarnation of its own,
// and cursors from before are refused. After an error or a crash the directory is no database that
// could be opened; the same call finishes it.
Result<RestoreReport> RestoreBackup(const std::string& backup, const std::string& directory,
                                    Env* env, const BackupProgress& progress);

}  // namespace tallystick
