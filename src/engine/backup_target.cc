#include "engine/backup_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/result.h"
#include "env/number_name.h"

namespace tallystick {
namespace {

constexpr const char* kFolders[] = {"wal", "segments"};

Status OtherHistory(const std::string& path, std::string_view why) {
  return Status::FailedPrecondition(
      "foreign_backup",
      fmt::format("{} {}: the database was put back to an older copy since; take a new target",
                  path, why));
}

Status InvalidTarget(const std::string& path, std::string_view why) {
  return Status::InvalidArgument("invalid_target", fmt::format("target `{}` {}", path, why));
}

// Absolute, also where the last name of it is not there yet.
Result<std::string> RealTarget(FileSystem& fs, const std::string& path) {
  auto real = fs.RealPath(path);
  if (real.status().code() != StatusCode::kNotFound) return real;
  const std::string parent = ParentPath(path);
  const auto real_parent = fs.RealPath(parent);
  if (real_parent.status().code() == StatusCode::kNotFound) {
    return InvalidTarget(path, "lies in a directory that does not exist");
  }
  if (!real_parent.ok()) return real_parent.status();
  return JoinPath(*real_parent, path.substr(path.rfind('/') + 1));
}

// Nothing in a target may be a symbolic link: what is written there would be written elsewhere,
// perhaps over the database itself. `path` begins with the target's real path. Absent is fine.
Status RequireNoLink(FileSystem& fs, const std::string& path) {
  const auto real = fs.RealPath(path);
  if (real.status().code() == StatusCode::kNotFound) return Status::Ok();
  if (!real.ok()) return real.status();
  if (*real == path) return Status::Ok();
  return Status::FailedPrecondition("target_not_backup",
                                    fmt::format("{} is a link to {}", path, *real));
}

// Makes the folder, or takes the one that is there.
Status MakeFolder(FileSystem& fs, const std::string& path) {
  TALLY_RETURN_IF_ERROR(fs.CreateDir(path));
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(path));
  if (there) return RequireNoLink(fs, path);
  return Status::FailedPrecondition("target_not_backup", path + " is a link to nothing");
}

bool IsWithin(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(JoinPath(directory, ""));
}

// A directory without BACKUP may be an unfinished one of ours: that has LOCK, and nothing that only
// a database has. Checked before anything is made in it.
Status CheckUnfinished(FileSystem& fs, const Layout& at) {
  TALLY_ASSIGN_OR_RETURN(const bool backup, fs.Exists(JoinPath(at.root, kBackupFileName)));
  if (backup) return Status::Ok();
  TALLY_ASSIGN_OR_RETURN(const bool identity, fs.Exists(at.identity));
  TALLY_ASSIGN_OR_RETURN(const bool manifest, fs.Exists(at.manifest_dir));
  TALLY_ASSIGN_OR_RETURN(const bool lock, fs.Exists(at.lock));
  TALLY_ASSIGN_OR_RETURN(const auto names, fs.List(at.root));
  // A log file's copy has its last frame in its name; a log file has not.
  TALLY_ASSIGN_OR_RETURN(const bool has_log, fs.Exists(at.wal_dir));
  bool log_of_a_database = false;
  if (has_log) {
    TALLY_ASSIGN_OR_RETURN(const auto logs, fs.List(at.wal_dir));
    log_of_a_database = std::ranges::any_of(
        logs, [](const std::string& name) { return ParseNumberName(name).has_value(); });
  }
  const bool unfinished = !identity && !manifest && !log_of_a_database;
  if (unfinished && (lock || names.empty())) return Status::Ok();
  return Status::FailedPrecondition(
      "target_not_backup",
      fmt::format("{} is there, and is {}", at.root, unfinished ? "no backup" : "a database"));
}

}  // namespace

Result<BackupTarget> BackupTarget::Open(FileSystem& fs, const std::string& raw,
                                        const Layout& source, const Identity& identity,
                                        uint64_t incarnation) {
  std::string path = raw;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (path.empty()) return InvalidTarget(raw, "is empty");
  if (path.find('\0') != std::string::npos) return InvalidTarget(raw, "has a NUL in it");
  TALLY_ASSIGN_OR_RETURN(std::string real, RealTarget(fs, path));
  TALLY_ASSIGN_OR_RETURN(const std::string source_root, fs.RealPath(source.root));
  if (IsWithin(real, source_root)) {
    return InvalidTarget(raw, "lies within the database's directory " + source_root);
  }
  // From here on only the path that was checked is used: the other may come to mean something else.
  const Layout at(real);
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(real));
  TALLY_RETURN_IF_ERROR(there ? CheckUnfinished(fs, at) : MakeFolder(fs, real));
  for (const std::string& path : {at.lock, JoinPath(real, kBackupFileName)}) {
    TALLY_RETURN_IF_ERROR(RequireNoLink(fs, path));
  }
  TALLY_ASSIGN_OR_RETURN(auto lock, fs.Lock(at.lock));
  BackupTarget target(fs, std::move(real), std::move(lock));
  TALLY_RETURN_IF_ERROR(target.LoadEarlier(identity, incarnation));
  // What is seen here counts from now on: a BACKUP whose rename was in doubt, and LOCK before any
  // folder.
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, at.root));
  for (const char* folder : kFolders) TALLY_RETURN_IF_ERROR(MakeFolder(fs, target.In(folder)));
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, at.root));
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, ParentPath(at.root)));
  return target;
}

Status BackupTarget::LoadEarlier(const Identity& identity, uint64_t incarnation) {
  auto earlier = LoadBackup(*fs_, real_path_);
  if (earlier.status().code() == StatusCode::kNotFound) return Status::Ok();
  if (!earlier.ok()) return earlier.status();
  const DatabaseId& id = earlier->identity.database_id;
  if (id != identity.database_id) {
    return Status::FailedPrecondition(
        "foreign_backup", fmt::format("{} is a backup of database {}, this is {}", real_path_,
                                      id.ToHex(), identity.database_id.ToHex()));
  }
  if (earlier->manifest.incarnation != incarnation) {
    return Status::FailedPrecondition(
        "foreign_backup",
        fmt::format("{} is a backup of this database before it was restored or repaired "
                    "(incarnation {:016x}, now {:016x})",
                    real_path_, earlier->manifest.incarnation, incarnation));
  }
  for (const BackupFile& file : earlier->files) {
    earlier_files_.emplace(BackupFilePath(*earlier, file), file);
  }
  earlier_ = *std::move(earlier);
  return Status::Ok();
}

Status BackupTarget::CheckHistory(const BackupContent& now) const {
  if (!earlier_.has_value()) return Status::Ok();
  if (earlier_->lsn > now.lsn) {
    return OtherHistory(real_path_, fmt::format("is of LSN {}, and the database ends at LSN {}",
                                                earlier_->lsn.value, now.lsn.value));
  }
  std::unordered_map<uint64_t, const ListedSegment*> listed;
  for (const ListedSegment& segment : now.manifest.segments) {
    listed.emplace(segment.number.value, &segment);
  }
  for (const ListedSegment& segment : earlier_->manifest.segments) {
    const auto at = listed.find(segment.number.value);
    if (at == listed.end() || *at->second == segment) continue;
    return OtherHistory(real_path_, fmt::format("has another segment {} than the database has",
                                                segment.number.value));
  }
  return Status::Ok();
}

Result<std::optional<BackupFile>> BackupTarget::Kept(const std::string& name,
                                                     std::optional<uint64_t> bytes) const {
  const auto earlier = earlier_files_.find(name);
  if (earlier == earlier_files_.end()) return std::optional<BackupFile>();
  const BackupFile& said = earlier->second;
  if (bytes.has_value() && *bytes != said.bytes) {
    return OtherHistory(real_path_, fmt::format("says {} bytes of {}, and the database has {}",
                                                said.bytes, name, *bytes));
  }
  // Neither a link nor what is no file is kept: it is made anew.
  if (!RequireNoLink(*fs_, In(name)).ok()) return std::optional<BackupFile>();
  auto file = fs_->Open(In(name), OpenMode::kRead);
  if (file.status().code() == StatusCode::kNotFound) return std::optional<BackupFile>();
  if (!file.ok()) return file.status();
  TALLY_ASSIGN_OR_RETURN(const uint64_t size, (*file)->Size());
  if (size != said.bytes) return std::optional<BackupFile>();
  return std::optional(said);
}

Status BackupTarget::Clear(const std::string& name) {
  Status removed = fs_->Remove(In(name));
  return removed.code() == StatusCode::kNotFound ? Status::Ok() : removed;
}

Status BackupTarget::SyncNames() {
  for (const char* folder : kFolders) TALLY_RETURN_IF_ERROR(SyncDirectory(*fs_, In(folder)));
  return Status::Ok();
}

Status BackupTarget::Write(const BackupContent& content, bool* in_doubt) {
  return WriteFileAtomic(*fs_, real_path_, In(kBackupFileName), EncodeBackup(content), in_doubt);
}

uint64_t BackupTarget::RemoveOthers(const BackupContent& content) {
  std::set<std::string> named;
  for (const BackupFile& file : content.files) named.insert(BackupFilePath(content, file));
  uint64_t removed = 0;
  for (const char* folder : kFolders) {
    const auto names = fs_->List(In(folder));
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      const std::string path = JoinPath(folder, name);
      if (!LeadingNumber(name).has_value() || named.contains(path)) continue;
      removed += fs_->Remove(In(path)).ok() ? 1 : 0;
    }
  }
  return removed;
}

}  // namespace tallystick
