#include "env/posix_fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/result.h"

namespace tallystick {
namespace {

Status ErrnoStatus(std::string_view call, const std::string& path, int error) {
  std::string message(call);
  message += ' ';
  message += path;
  message += ": ";
  message += std::strerror(error);
  switch (error) {
    case ENOENT:
      return Status::NotFound("not_found", message);
    case ENOSPC:
    case EDQUOT:
      return Status::NoSpace(message);
    case EEXIST:
      return Status::FailedPrecondition("exists", message);
    default:
      return Status::IoError(message);
  }
}

// Calls until it is not interrupted.
template <typename Call>
auto Uninterrupted(Call&& call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  // What a close reports about data came too late; every write that counts was synced before.
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

class PosixFile final : public File {
 public:
  PosixFile(std::string path, Descriptor fd, bool direct)
      : path_(std::move(path)), fd_(std::move(fd)), direct_(direct) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) override {
    const ssize_t n = Uninterrupted(
        [&] { return pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset)); });
    if (n < 0) return ErrnoStatus("read", At(offset), errno);
    return static_cast<size_t>(n);
  }

  void Prefetch(uint64_t offset, uint64_t bytes) override {
    posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                  POSIX_FADV_WILLNEED);
  }

  Result<size_t> WriteAt(uint64_t offset, ByteSpan data) override {
    const ssize_t n = Uninterrupted(
        [&] { return pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset)); });
    if (n >= 0) return static_cast<size_t>(n);
    if (direct_ && (errno == EINVAL || errno == EOPNOTSUPP)) {
      return Status::InvalidArgument("direct_refused",
                                     "write " + path_ + ": direct I/O is refused");
    }
    return ErrnoStatus("write", At(offset), errno);
  }

  Status Sync() override {
    if (Uninterrupted([&] { return fdatasync(fd_.get()); }) == 0) return Status::Ok();
    return ErrnoStatus("fdatasync", path_, errno);
  }

  Result<uint64_t> Size() override {
    struct stat info;
    if (fstat(fd_.get(), &info) != 0) return ErrnoStatus("stat", path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

  Status Truncate(uint64_t bytes) override {
    if (Uninterrupted([&] { return ftruncate(fd_.get(), static_cast<off_t>(bytes)); }) == 0) {
      return Status::Ok();
    }
    return ErrnoStatus("truncate", path_, errno);
  }

  const std::string& path() const override { return path_; }

 private:
  std::string At(uint64_t offset) const { return path_ + " at offset " + std::to_string(offset); }

  std::string path_;
  Descriptor fd_;
  bool direct_;
};

// A pipe or a device in the place of a file would hold whoever reads it, or never end.
Status RequireRegularFile(const Descriptor& fd, const std::string& path) {
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus("stat", path, errno);
  if (S_ISREG(info.st_mode)) return Status::Ok();
  return Status::IoError("open " + path + ": it is no regular file");
}

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(Descriptor fd) : fd_(std::move(fd)) {}

 private:
  Descriptor fd_;
};

}  // namespace

Result<std::unique_ptr<File>> PosixFs::Open(const std::string& path, OpenMode mode,
                                            OpenFlags flags) {
  int open_flags = O_CLOEXEC;
  switch (mode) {
    case OpenMode::kRead:
      open_flags |= O_RDONLY | O_NONBLOCK;  // a pipe is refused below, not waited for
      break;
    case OpenMode::kReadWrite:
      open_flags |= O_RDWR;
      break;
    case OpenMode::kCreateNew:
      open_flags |= O_RDWR | O_CREAT | O_EXCL;
      break;
  }
  if (flags.direct_dsync) open_flags |= O_DIRECT | O_DSYNC;
  Descriptor fd(Uninterrupted([&] { return open(path.c_str(), open_flags, 0640); }));
  if (fd.get() < 0) {
    const int error = errno;
    if (flags.direct_dsync && (error == EINVAL || error == EOPNOTSUPP)) {
      // Some file systems create the file before they refuse the flag.
      if (mode == OpenMode::kCreateNew) unlink(path.c_str());
      return Status::InvalidArgument("direct_refused", "open " + path + ": direct I/O is refused");
    }
    return ErrnoStatus("open", path, error);
  }
  if (mode == OpenMode::kRead) TALLY_RETURN_IF_ERROR(RequireRegularFile(fd, path));
  return std::make_unique<PosixFile>(path, std::move(fd), flags.direct_dsync);
}

Status PosixFs::CreateDir(const std::string& path) {
  if (mkdir(path.c_str(), 0750) == 0 || errno == EEXIST) return Status::Ok();
  return ErrnoStatus("mkdir", path, errno);
}

Status PosixFs::Remove(const std::string& path) {
  if (unlink(path.c_str()) == 0) return Status::Ok();
  return ErrnoStatus("remove", path, errno);
}

Status PosixFs::Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return Status::Ok();
  return ErrnoStatus("rename", from + " to " + to, errno);
}

Status PosixFs::Link(const std::string& from, const std::string& to) {
  if (link(from.c_str(), to.c_str()) == 0) return Status::Ok();
  switch (errno) {
    case EXDEV:
    case EPERM:
    case EOPNOTSUPP:
    case EMLINK:
      return Status::InvalidArgument("link_refused",
                                     "link " + from + " to " + to + ": no such link can be made");
    default:
      return ErrnoStatus("link", from + " to " + to, errno);
  }
}

Status PosixFs::SyncDir(const std::string& path) {
  const Descriptor fd(
      Uninterrupted([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (fd.get() < 0) return ErrnoStatus("open directory", path, errno);
  if (Uninterrupted([&] { return fsync(fd.get()); }) == 0) return Status::Ok();
  return ErrnoStatus("fsync directory", path, errno);
}

Result<std::vector<std::string>> PosixFs::List(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(path.c_str()), closedir);
  if (dir == nullptr) return ErrnoStatus("list", path, errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return ErrnoStatus("list", path, errno);
  return names;
}

Result<bool> PosixFs::Exists(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return ErrnoStatus("stat", path, errno);
}

Result<std::string> PosixFs::RealPath(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), free);
  if (real == nullptr) return ErrnoStatus("realpath", path, errno);
  return std::string(real.get());
}

Result<uint64_t> PosixFs::FreeBytes(const std::string& directory) {
  struct statvfs info;
  if (statvfs(directory.c_str(), &info) != 0) return ErrnoStatus("statvfs", directory, errno);
  if (info.f_blocks == 0) {
    return Status::IoError("statvfs " + directory +
                           ": the file system does not say how large it is");
  }
  return uint64_t{geteuid() == 0 ? info.f_bfree : info.f_bavail} * info.f_frsize;
}

Result<std::unique_ptr<FileLock>> PosixFs::Lock(const std::string& path) {
  // What is locked is written to, so it must be the file of this name and not one it points to.
  constexpr int kFlags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  Descriptor fd(Uninterrupted([&] { return open(path.c_str(), kFlags, 0640); }));
  if (fd.get() < 0) return ErrnoStatus("open", path, errno);
  TALLY_RETURN_IF_ERROR(RequireRegularFile(fd, path));
  if (Uninterrupted([&] { return flock(fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus("lock", path, errno);
    char owner[32] = {};
    const ssize_t n = pread(fd.get(), owner, sizeof owner - 1, 0);
    std::string pid(owner, static_cast<size_t>(n > 0 ? n : 0));
    while (!pid.empty() && pid.back() == '\n') pid.pop_back();
    return Status::FailedPrecondition(
        "locked", path + " is held by process " + (pid.empty() ? "(unknown)" : pid));
  }
  // For people only: a failure to note the owner does not matter.
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd.get(), 0) == 0) {
    [[maybe_unused]] const ssize_t n = pwrite(fd.get(), pid.data(), pid.size(), 0);
  }
  return std::make_unique<PosixLock>(std::move(fd));
}

Result<std::unique_ptr<FileLock>> PosixFs::LockForeign(const std::string& path) {
  Descriptor fd(Uninterrupted([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (fd.get() < 0) return ErrnoStatus("open", path, errno);
  if (Uninterrupted([&] { return flock(fd.get(), LOCK_EX | LOCK_NB); }) == 0) {
    return std::make_unique<PosixLock>(std::move(fd));
  }
  if (errno != EWOULDBLOCK) return ErrnoStatus("lock", path, errno);
  return Status::FailedPrecondition("locked", path + " is held by another process");
}

}  // namespace tallystick
