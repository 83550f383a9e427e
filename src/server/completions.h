// The way of outcomes from the database's threads to the io thread: of ingests one wake-up a group,
// however many requests it answers; and of backups.
//
// Thread rule: any.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/mutex.h"
#include "server/json_writer.h"
#include "tallystick/db.h"

namespace tallystick {

struct IngestCompletion {
  uint64_t connection_id = 0;
  uint64_t slot_id = 0;
  OutcomePrinting printing;
  Result<IngestResult> result;
};

struct BackupCompletion {
  uint64_t connection_id = 0;
  uint64_t slot_id = 0;
  Result<BackupReport> result;
};

template <typename Completion>
class Completions {
 public:
  // `wake` runs in the pushing thread, once for all that is pushed until the next Take.
  explicit Completions(std::function<void()> wake) : wake_(std::move(wake)) {}

  void Push(Completion completion) {
    const MutexLock lock(mutex_);
    if (closed_) return;
    pending_.push_back(std::move(completion));
    if (pending_.size() == 1) wake_();
  }

  std::vector<Completion> Take() {
    const MutexLock lock(mutex_);
    return std::exchange(pending_, {});
  }

  // What is pushed from now on is dropped, and nobody is woken.
  void Close() {
    const MutexLock lock(mutex_);
    closed_ = true;
    pending_.clear();
  }

 private:
  const std::function<void()> wake_;
  Mutex mutex_;
  std::vector<Completion> pending_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

using IngestCompletions = Completions<IngestCompletion>;
using BackupCompletions = Completions<BackupCompletion>;

}  // namespace tallystick
