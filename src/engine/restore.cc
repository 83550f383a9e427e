// Verifying a backup, and making a database of it.
//
// The order of a restore, and why a crash at any point of it leaves nothing that opens:
//   1. verify            the whole backup is read before anything is made
//   2. RESTORING         synced, with its name: while it is there nobody opens the directory
//   3. files             copied, summed again, synced; then their names
//   4. IDENTITY          and last the manifest, with a new incarnation
//   5. look              recovery's read-only half must come to the LSN that the backup states
//   6. RESTORING goes    and the directory is synced
// A directory with RESTORING in it is an unfinished restore: what stands in it is cleared, and it
// is begun anew.
#include <fmt/format.h>

#include <utility>

#include "base/result.h"
#include "engine/backups.h"
#include "engine/file_copier.h"
#include "engine/recovery.h"
#include "env/number_name.h"
#include "manifest/backup_file.h"
#include "tallystick/backup.h"
#include "wal/wal_writer.h"

namespace tallystick {
namespace {

constexpr uint64_t kCacheBytes = 64 << 20;

// Bytes done, of those of all files; and then once more, if they are copied too.
class Progress {
 public:
  Progress(const BackupContent& content, int passes, const BackupProgress& report)
      : report_(report) {
    for (const BackupFile& file : content.files) all_ += file.bytes;
    all_ *= static_cast<uint64_t>(passes);
  }
  void Add(uint64_t bytes) {
    done_ += bytes;
    if (report_) report_(done_, all_);
  }

 private:
  const BackupProgress& report_;
  uint64_t done_ = 0;
  uint64_t all_ = 0;
};

// Reads a file of the backup, to `to` unless that is empty, and compares it with what BACKUP says.
Status ReadBackupFile(FileSystem& fs, const std::string& path, const BackupFile& file,
                      const std::string& to, Progress& progress) {
  auto copier = FileCopier::Start(fs, path, to, std::nullopt, nullptr);
  if (copier.status().code() == StatusCode::kNotFound) {
    return Status::Corruption(path + " is missing, but BACKUP names it");
  }
  if (!copier.ok()) return copier.status();
  if ((*copier)->bytes() != file.bytes) {
    return Status::Corruption(fmt::format("{}: it has {} bytes, but BACKUP says {}", path,
                                          (*copier)->bytes(), file.bytes));
  }
  while (!(*copier)->done()) {
    const uint64_t before = (*copier)->copied();
    TALLY_RETURN_IF_ERROR((*copier)->Step());
    progress.Add((*copier)->copied() - before);
  }
  if ((*copier)->checksum() != file.checksum) {
    return Status::Corruption(path + ": its bytes are not those that were written (checksum)");
  }
  return Status::Ok();
}

Status VerifyFiles(FileSystem& fs, const std::string& directory, const BackupContent& content,
                   Progress& progress) {
  for (const BackupFile& file : content.files) {
    const std::string path = JoinPath(directory, BackupFilePath(content, file));
    TALLY_RETURN_IF_ERROR(ReadBackupFile(fs, path, file, "", progress));
  }
  return Status::Ok();
}

// The backup's place, absolute where the file system can tell.
Result<BackupInfo> Describe(FileSystem& fs, const std::string& directory,
                            const BackupContent& content) {
  TALLY_ASSIGN_OR_RETURN(const std::string real, fs.RealPath(directory));
  return InfoOf(content, real);
}

class Restore {
 public:
  Restore(Env& env, const BackupContent& content, std::string from, const std::string& directory)
      : env_(env), fs_(env.fs()), content_(content), from_(std::move(from)), layout_(directory) {}

  Status Run(Progress& progress) {
    TALLY_RETURN_IF_ERROR(Claim());
    TALLY_RETURN_IF_ERROR(CopyFiles(progress));
    TALLY_RETURN_IF_ERROR(WriteDatabase());
    TALLY_RETURN_IF_ERROR(LookAtIt());
    TALLY_RETURN_IF_ERROR(fs_.Remove(layout_.restoring));
    return SyncDirectory(fs_, layout_.root);
  }
  uint64_t incarnation() const { return incarnation_; }

 private:
  // Makes the directory ours: locked, marked, with nothing in it but folders.
  Status Claim() {
    TALLY_ASSIGN_OR_RETURN(const bool there, fs_.Exists(layout_.root));
    if (!there) TALLY_RETURN_IF_ERROR(fs_.CreateDir(layout_.root));
    TALLY_ASSIGN_OR_RETURN(const bool unfinished, fs_.Exists(layout_.restoring));
    if (!unfinished) TALLY_RETURN_IF_ERROR(CheckFree());  // before anything is made in it
    TALLY_ASSIGN_OR_RETURN(lock_, fs_.Lock(layout_.lock));
    // Again, now that nobody else works here: until the lock was ours, another restore may have
    // finished, or a database may have been made.
    TALLY_ASSIGN_OR_RETURN(const bool still_unfinished, fs_.Exists(layout_.restoring));
    if (!still_unfinished) {
      TALLY_RETURN_IF_ERROR(CheckFree());
      TALLY_ASSIGN_OR_RETURN(auto marker, fs_.Open(layout_.restoring, OpenMode::kCreateNew));
      TALLY_RETURN_IF_ERROR(
          WriteFully(*marker, 0, AsByteSpan("tallystick restore has not finished\n")));
      TALLY_RETURN_IF_ERROR(marker->Sync());
    }
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs_, layout_.root));
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs_, ParentPath(layout_.root)));
    for (const std::string& dir : {layout_.manifest_dir, layout_.wal_dir, layout_.segment_dir}) {
      TALLY_RETURN_IF_ERROR(fs_.CreateDir(dir));
      TALLY_RETURN_IF_ERROR(ClearFolder(dir));
    }
    TALLY_RETURN_IF_ERROR(Clear(layout_.identity));
    return SyncDirectory(fs_, layout_.root);
  }

  Status CheckFree() {
    const std::string backup = JoinPath(layout_.root, kBackupFileName);
    for (const std::string& path :
         {layout_.identity, layout_.manifest_dir, layout_.wal_dir, layout_.segment_dir, backup}) {
      TALLY_ASSIGN_OR_RETURN(const bool there, fs_.Exists(path));
      if (!there) continue;
      return Status::FailedPrecondition(
          "restore_target_in_use",
          fmt::format("{} is there: a database is restored to a directory that holds none", path));
    }
    return Status::Ok();
  }

  Status Clear(const std::string& path) {
    Status removed = fs_.Remove(path);
    return removed.code() == StatusCode::kNotFound ? Status::Ok() : removed;
  }

  // Numbered files, which an earlier attempt made.
  Status ClearFolder(const std::string& dir) {
    TALLY_ASSIGN_OR_RETURN(const auto names, fs_.List(dir));
    for (const std::string& name : names) {
      if (!LeadingNumber(name).has_value()) continue;
      TALLY_RETURN_IF_ERROR(Clear(JoinPath(dir, name)));
    }
    return Status::Ok();
  }

  // A log file loses the frame in its name.
  std::string PathOf(const BackupFile& file) const {
    if (file.kind == BackupFileKind::kWal) {
      return JoinPath(layout_.wal_dir, WalFileName(file.number));
    }
    return JoinPath(layout_.root, BackupFilePath(content_, file));
  }

  Status CopyFiles(Progress& progress) {
    for (const BackupFile& file : content_.files) {
      const std::string path = JoinPath(from_, BackupFilePath(content_, file));
      TALLY_RETURN_IF_ERROR(ReadBackupFile(fs_, path, file, PathOf(file), progress));
    }
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs_, layout_.wal_dir));
    return SyncDirectory(fs_, layout_.segment_dir);
  }

  Status WriteDatabase() {
    bool renamed = false;
    TALLY_RETURN_IF_ERROR(WriteFileAtomic(fs_, layout_.root, layout_.identity,
                                          EncodeIdentity(content_.identity), &renamed));
    Manifest manifest = content_.manifest;
    manifest.number = {manifest.next_number++};
    do {
      incarnation_ = env_.random().Next64();
    } while (incarnation_ == content_.manifest.incarnation);
    manifest.incarnation = incarnation_;
    return WriteManifest(fs_, layout_.manifest_dir, content_.identity.database_id, manifest,
                         &renamed);
  }

  // Recovery has to find what the backup promises. It changes nothing yet.
  Status LookAtIt() {
    BlockCache cache(kCacheBytes);
    TALLY_ASSIGN_OR_RETURN(const RecoveryPlan plan, PlanRecovery(fs_, layout_, cache));
    const Lsn found{plan.wal.end.next_lsn.value - 1};
    if (found == content_.lsn) return Status::Ok();
    return Status::Corruption(
        fmt::format("{}: the backup says LSN {}, but its segments and its log end at LSN {}", from_,
                    content_.lsn.value, found.value));
  }

  Env& env_;
  FileSystem& fs_;
  const BackupContent& content_;
  const std::string from_;
  const Layout layout_;
  std::unique_ptr<FileLock> lock_;
  uint64_t incarnation_ = 0;
};

}  // namespace

Result<BackupInfo> VerifyBackup(const std::string& directory, Env* env,
                                const BackupProgress& progress) {
  FileSystem& fs = (env != nullptr ? *env : Env::Real()).fs();
  TALLY_ASSIGN_OR_RETURN(const BackupContent content, LoadBackup(fs, directory));
  Progress counter(content, 1, progress);
  TALLY_RETURN_IF_ERROR(VerifyFiles(fs, directory, content, counter));
  return Describe(fs, directory, content);
}

Result<RestoreReport> RestoreBackup(const std::string& backup, const std::string& directory,
                                    Env* env, const BackupProgress& progress) {
  Env& machine = env != nullptr ? *env : Env::Real();
  FileSystem& fs = machine.fs();
  TALLY_ASSIGN_OR_RETURN(const BackupContent content, LoadBackup(fs, backup));
  Progress counter(content, 2, progress);
  TALLY_RETURN_IF_ERROR(VerifyFiles(fs, backup, content, counter));
  RestoreReport report;
  TALLY_ASSIGN_OR_RETURN(report.backup, Describe(fs, backup, content));
  Restore restore(machine, content, backup, directory);
  TALLY_RETURN_IF_ERROR(restore.Run(counter));
  TALLY_ASSIGN_OR_RETURN(report.directory, fs.RealPath(directory));
  report.incarnation = fmt::format("{:016x}", restore.incarnation());
  return report;
}

}  // namespace tallystick
