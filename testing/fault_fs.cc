#include "testing/fault_fs.h"

#include <errno.h>

#include <cstring>

#include "base/check.h"
#include "base/result.h"

namespace tallystick {
namespace {

constexpr std::string_view kNames[] = {"open",  "create",   "read",  "short read", "write",
                                       "short write", "sync", "truncate", "mkdir", "remove",
                                       "rename", "syncdir", "list", "exists", "lock"};
static_assert(std::size(kNames) == static_cast<size_t>(FaultOp::kCount));

Status ErrorOf(int error, std::string_view call, const std::string& path) {
  const std::string message = std::string(call) + " " + path + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) return Status::NoSpace(message);
  if (error == EINVAL) return Status::InvalidArgument("direct_refused", message);
  return Status::IoError(message);
}

}  // namespace

std::string_view FaultOpName(FaultOp op) { return kNames[static_cast<size_t>(op)]; }

Status FaultFs::Count(FaultOp op, std::string_view call, const std::string& path) {
  const uint64_t number = calls_[static_cast<size_t>(op)]++;
  if (!fault_.has_value() || fault_->op != op) return Status::Ok();
  if (number != fault_->at && !(fault_->for_ever && number > fault_->at)) return Status::Ok();
  ++fired_;
  return ErrorOf(fault_->error, call, path);
}

bool FaultFs::CountShort(FaultOp op) { return !Count(op, "short", "").ok(); }

class FaultFile final : public File {
 public:
  FaultFile(FaultFs& fs, std::unique_ptr<File> inner, bool direct)
      : fs_(fs), inner_(std::move(inner)), direct_(direct) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) override {
    TALLY_RETURN_IF_ERROR(fs_.Count(FaultOp::kRead, "read", path()));
    if (out.size() > 1 && fs_.CountShort(FaultOp::kShortRead)) out = out.first(out.size() / 2);
    return inner_->ReadAt(offset, out);
  }
  Result<size_t> WriteAt(uint64_t offset, ByteSpan data) override {
    Status status = fs_.Count(FaultOp::kWrite, "write", path());
    if (!status.ok()) {
      // Half of it may be there all the same.
      const size_t half = data.size() / 8192 * 4096;
      if (half > 0) IgnoreError(inner_->WriteAt(offset, data.first(half)).status(), "a failing disk");
      if (fs_.on_failed_sync_) fs_.on_failed_sync_(path());
      return status;
    }
    if (data.size() > 4096 && fs_.CountShort(FaultOp::kShortWrite)) {
      data = data.first(data.size() / 8192 * 4096);
    }
    return inner_->WriteAt(offset, data);
  }
  Status Sync() override {
    Status status = fs_.Count(FaultOp::kSync, "fdatasync", path());
    if (!status.ok()) {
      if (fs_.on_failed_sync_) fs_.on_failed_sync_(path());
      return status;
    }
    return inner_->Sync();
  }
  Result<uint64_t> Size() override { return inner_->Size(); }
  Status Truncate(uint64_t bytes) override {
    TALLY_RETURN_IF_ERROR(fs_.Count(FaultOp::kTruncate, "truncate", path()));
    return inner_->Truncate(bytes);
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
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kMkdir, "mkdir", path));
  return inner_.CreateDir(path);
}
Status FaultFs::Remove(const std::string& path) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kRemove, "remove", path));
  return inner_.Remove(path);
}
Status FaultFs::Rename(const std::string& from, const std::string& to) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kRename, "rename", from));
  return inner_.Rename(from, to);
}
Status FaultFs::SyncDir(const std::string& path) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kSyncDir, "fsync directory", path));
  return inner_.SyncDir(path);
}
Result<std::vector<std::string>> FaultFs::List(const std::string& path) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kList, "list", path));
  return inner_.List(path);
}
Result<bool> FaultFs::Exists(const std::string& path) {
  TALLY_RETURN_IF_ERROR(Count(FaultOp::kExists, "stat", path));
  return inner_.Exists(path);
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
