#include "engine/backup_target.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "base/result.h"
#include "env/number_name.h"

namespace tallystick {
namespace {

constexpr const char* kFolders[] = {"wal", "segments"};

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
  if (!identity && !manifest && (lock || names.empty())) return Status::Ok();
  return Status::FailedPrecondition("target_not_backup",
                                    fmt::format("{} is there, and is {}", at.root,
                                                identity || manifest ? "a database" : "no backup"));
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
  const Layout at(path);
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(path));
  TALLY_RETURN_IF_ERROR(there ? CheckUnfinished(fs, at) : fs.CreateDir(path));
  TALLY_ASSIGN_OR_RETURN(auto lock, fs.Lock(at.lock));
  BackupTarget target(fs, path, std::move(real), std::move(lock));
  TALLY_RETURN_IF_ERROR(target.LoadEarlier(identity, incarnation));
  // What is seen here counts from now on: a BACKUP whose rename was in doubt, and LOCK before any
  // folder.
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, path));
  for (const char* folder : kFolders) TALLY_RETURN_IF_ERROR(fs.CreateDir(target.In(folder)));
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, path));
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, ParentPath(path)));
  return target;
}

Status BackupTarget::LoadEarlier(const Identity& identity, uint64_t incarnation) {
  auto earlier = LoadBackup(*fs_, path_);
  if (earlier.status().code() == StatusCode::kNotFound) return Status::Ok();
  if (!earlier.ok()) return earlier.status();
  const DatabaseId& id = earlier->identity.database_id;
  if (id != identity.database_id) {
    return Status::FailedPrecondition(
        "foreign_backup", fmt::format("{} is a backup of database {}, this is {}", path_,
                                      id.ToHex(), identity.database_id.ToHex()));
  }
  if (earlier->manifest.incarnation != incarnation) {
    return Status::FailedPrecondition(
        "foreign_backup",
        fmt::format("{} is a backup of this database before it was restored (incarnation {:016x}, "
                    "now {:016x})",
                    path_, earlier->manifest.incarnation, incarnation));
  }
  for (const BackupFile& file : earlier->files) {
    earlier_.emplace(BackupFilePath(*earlier, file), file);
  }
  return Status::Ok();
}

Result<std::optional<BackupFile>> BackupTarget::Kept(const std::string& name) const {
  const auto earlier = earlier_.find(name);
  if (earlier == earlier_.end()) return std::optional<BackupFile>();
  auto file = fs_->Open(In(name), OpenMode::kRead);
  if (file.status().code() == StatusCode::kNotFound) return std::optional<BackupFile>();
  if (!file.ok()) return file.status();
  TALLY_ASSIGN_OR_RETURN(const uint64_t bytes, (*file)->Size());
  if (bytes != earlier->second.bytes) return std::optional<BackupFile>();
  return std::optional(earlier->second);
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
  return WriteFileAtomic(*fs_, path_, In(kBackupFileName), EncodeBackup(content), in_doubt);
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
