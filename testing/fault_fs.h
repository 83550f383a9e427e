// FaultFs: passes everything through, and fails the Nth call of a kind, once or from then on.
//
// Thread rule: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "env/env.h"

namespace tallystick {

enum class FaultOp : uint8_t {
  kOpen,
  kCreate,
  kRead,
  kShortRead,
  kWrite,
  kShortWrite,
  kSync,
  kTruncate,
  kMkdir,
  kRemove,
  kRename,
  kSyncDir,
  kList,
  kExists,
  kLock,
  kLink,
  kCount,
};
std::string_view FaultOpName(FaultOp op);

struct Fault {
  FaultOp op = FaultOp::kWrite;
  uint64_t at = 0;        // the call of this kind, from 0
  bool for_ever = false;  // every later one of this kind too
  int error = 5;  // errno: EIO, ENOSPC, EDQUOT, EMFILE, EROFS, EINVAL (direct I/O refused), EXDEV
                  // (links refused)
  // The call does all of its work and reports the error nevertheless: of a failed write, sync,
  // rename, removal or directory sync nobody knows what the disk has. Without it a failed write
  // leaves its first half, the others leave nothing.
  bool done_anyway = false;
  std::string path_part;  // only calls on a path with this in it are counted; empty: all
};

// Whether `done_anyway` means anything for the kind.
bool CanBeDoneAnyway(FaultOp op);

class FaultFs final : public FileSystem {
 public:
  explicit FaultFs(FileSystem& inner) : inner_(inner) {}

  // Not while calls are under way.
  void Set(std::optional<Fault> fault) {
    const MutexLock lock(mutex_);
    fault_ = fault;
    calls_.fill(0);
    fired_ = 0;
  }
  uint64_t calls(FaultOp op) const {
    const MutexLock lock(mutex_);
    return calls_[static_cast<size_t>(op)];
  }
  uint64_t fired() const {  // faults that hit
    const MutexLock lock(mutex_);
    return fired_;
  }
  // Called for every sync that is made to fail, in place of the sync (SimFs::LoseDirty, say).
  void SetOnFailedSync(std::function<void(const std::string&)> on) {
    on_failed_sync_ = std::move(on);
  }

  using FileSystem::Open;
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                     OpenFlags flags) override;
  Status CreateDir(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status SyncDir(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Result<bool> Exists(const std::string& path) override;
  Result<std::string> RealPath(const std::string& path) override;
  Result<uint64_t> FreeBytes(const std::string& directory) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;

 private:
  friend class FaultFile;
  // Counts the call; the status that it must fail with.
  Status Count(FaultOp op, std::string_view call, const std::string& path);
  bool CountShort(FaultOp op, const std::string& path);
  // Counts the call; carries it out, or fails it, or both.
  template <typename Call>
  Status CountAndDo(FaultOp op, std::string_view name, const std::string& path, Call&& call);
  bool DoneAnyway() const { return fault_.has_value() && fault_->done_anyway; }

  FileSystem& inner_;
  std::optional<Fault> fault_;
  mutable Mutex mutex_;
  std::array<uint64_t, static_cast<size_t>(FaultOp::kCount)> calls_ GUARDED_BY(mutex_){};
  uint64_t fired_ GUARDED_BY(mutex_) = 0;
  std::function<void(const std::string&)> on_failed_sync_;
};

// Runs `body` with the fault at call 0, 1, 2, ... of `fault.op` until a run in which it does not
// fire, and gives the number of runs in which it did. `body` gets a FaultFs-ready fault to Set.
uint64_t ForEachFault(Fault fault, const std::function<bool(const Fault&)>& body_and_fired);

}  // namespace tallystick
