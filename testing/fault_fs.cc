#include "testing/fault_fs.h"

#include <errno.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/result.h"
#include "base/types.h"

namespace tallystick {
namespace {

constexpr std::string_view kNames[] = {
    "open",  "create", "read",   "short read", "write", "short write", "sync", "truncate",
    "mkdir", "remove", "rename", "syncdir",    "list",  "exists",      "lock", "link"};
static_assert(std::size(kNames) == static_cast<size_t>(FaultOp::kCount));

Status ErrorOf(int error, std::string_view call, const std::string& path) {
  const std::string message = std::string(call) + " " + path + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) return Status::NoSpace(message);
  if (error == EINVAL) return Status::InvalidArgument("direct_refused", message);
  if (error == EXDEV) return Status::InvalidArgument("link_refused", message);
  return Status::IoError(message);
}

// About half, in whole blocks, so that a direct write stays one.
size_t HalfOf(size_t bytes) { return bytes / 2 / kBlockBytes * kBlockBytes; }

}  // namespace

bool CanBeDoneAnyway(FaultOp op) {
  switch (op) {
    case FaultOp::kWrite:
    case FaultOp::kSync:
    case FaultOp::kTruncate:
    case FaultOp::kMkdir:
    case FaultOp::kRemove:
    case FaultOp::kRename:
    case FaultOp::kSyncDir:
    case FaultOp::kLink:
      return true;
    default:
      return false;
  }
}

std::string_view FaultOpName(FaultOp op) { return kNames[static_cast<size_t>(op)]; }

Status FaultFs::Count(FaultOp op, std::string_view call, const std::string& path) {
  if (fault_.has_value() && path.find(fault_->path_part) == std::string::npos) return Status::Ok();
  const MutexLock lock(mutex_);
  const uint64_t number = calls_[static_cast<size_t>(op)]++;
  if (!fault_.has_value() || fault_->op != op) return Status::Ok();
  if (number != fault_->at && !(fault_->for_ever && number > fault_->at)) return Status::Ok();
  ++fired_;
  return ErrorOf(fault_->error, call, path);
}

bool FaultFs::CountShort(FaultOp op, const std::string& path) {
  return !Count(op, "short", path).ok();
}

template <typename Call>
Status FaultFs::CountAndDo(FaultOp op, std::string_view name, const std::string& path,
                           Call&& call) {
  Status error = Count(op, name, path);
  if (error.ok()) return call();
  if (DoneAnyway()) IgnoreError(call(), "the error that is reported is the injected one");
  return error;
}

class FaultFile final : public File {
 public:
  FaultFile(FaultFs& fs, std::unique_ptr<File> inner, bool direct)
      : fs_(fs), inner_(std::move(inner)), direct_(direct) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) override {
    TALLY_RETURN_IF_ERROR(fs_.Count(FaultOp::kRead, "read", path()));
    const size_t half = direct_ ? HalfOf(out.size()) : out.size() / 2;
    if (half > 0 && fs_.CountShort(FaultOp::kShortRead, path())) out = out.first(half);
    return inner_->ReadAt(offset, out);
  }
  Result<size_t> WriteAt(uint64_t offset, ByteSpan data) override {
    Status status = fs_.Count(FaultOp::kWrite, "write", path());
    if (!status.ok()) {
      const size_t done = fs_.DoneAnyway() ? data.size() : HalfOf(data.size());
      if (done > 0)
        IgnoreError(inner_->WriteAt(offset, data.first(done)).status(), "a failing disk");
      if (!fs_.DoneAnyway() && fs_.on_failed_sync_) fs_.on_failed_sync_(path());
      return status;
    }
    if (data.size() > kBlockBytes && fs_.CountShort(FaultOp::kShortWrite, path())) {
      data = data.first(std::max<size_t>(HalfOf(data.size()), kBlockBytes));
    }
    return inner_->WriteAt(offset, data);
  }
  Status Sync() override {
    Status status =
        fs_.CountAndDo(FaultOp::kSync, "fdatasync", path(), [&] { return inner_->Sync(); });
    if (!status.ok() && !fs_.DoneAnyway() && fs_.on_failed_sync_) fs_.on_failed_sync_(path());
    return status;
  }
  Result<uint64_t> Size() override { return inner_->Size(); }
  Status Truncate(uint64_t bytes) override {
    return fs_.CountAndDo(FaultOp::kTruncate, "truncate", path(),
                          [&] { return inner_->Truncate(bytes); });
  }
  const std::string& path() const override { return inner_->path(); }

 private:
  FaultFs& fs_;
  std::unique_ptr<File> inner_;
  bool direct_;
};

Result<std::unique_ptr<File>> FaultFs::Open(const std::string& path, OpenMode mode,
                                            OpenFlags flags) {
  const FaultOp op = mode == OpenMode::kCreateNew ? FaultOp::kCreate : FaultOp::kOpen;
  Status status = Count(op, "open", path);
  if (status.reason() == "direct_refused" && !flags.direct_dsync) status = Status::Ok();
  TALLY_RETURN_IF_ERROR(status);
  TALLY_ASSIGN_OR_RETURN(auto file, inner_.Open(path, mode, flags));
  return std::make_unique<FaultFile>(*this, std::move(file), flags.direct_dsync);
}

Status FaultFs::CreateDir(const std::string& path) {
  return CountAndDo(FaultOp::kMkdir, "mkdir", path, [&] { return inner_.CreateDir(path); });
}
Status FaultFs::Remove(const std::string& path) {
  return CountAndDo(FaultOp::kRemove, "remove", path, [&] { return inner_.Remove(path); });
}
Status FaultFs::Rename(const std::string& from, const std::string& to) {
  return CountAndDo(FaultOp::kRename, "rename", from, [&] { return inner_.Rename(from, to); });
}
Status FaultFs::Link(const std::string& from, const std::string& to) {
  return CountAndDo(FaultOp::kLink, "link", from, [&] { return inner_.Link(from, to); });
}
Status FaultFs::SyncDir(const std::string& path) {
  return CountAndDo(FaultOp::kSyncDir, "fsync directory", path,
                    [&] { return inner_.SyncDir(path); });
}
Result<std::vector<std::string>> FaultFs::List(const std::string& path) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kList, "list", path));
  return inner_.List(path);
}
Result<bool> FaultFs::Exists(const std::string& path) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kExists, "stat", path));
  return inner_.Exists(path);
}
Result<std::string> FaultFs::RealPath(const std::string& path) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kExists, "realpath", path));
  return inner_.RealPath(path);
}
Result<uint64_t> FaultFs::FreeBytes(const std::string& directory) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kExists, "statvfs", directory));
  return inner_.FreeBytes(directory);
}
Result<std::unique_ptr<FileLock>> FaultFs::Lock(const std::string& path) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kLock, "lock", path));
  return inner_.Lock(path);
}

uint64_t ForEachFault(Fault fault, const std::function<bool(const Fault&)>& body_and_fired) {
  uint64_t runs = 0;
  for (fault.at = 0; body_and_fired(fault); ++fault.at) ++runs;
  return runs;
}

}  // namespace tallystick
