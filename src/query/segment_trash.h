// SegmentTrash: segments that no manifest names and no view needs any more, so that their files may
// go.
//
// Thread rule: any thread. It outlives the database as long as a view does; then nobody takes what
// is added, and the next start finds orphans.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/types.h"

namespace tallystick {

class SegmentTrash {
 public:
  void Add(FileNumber number) {
    MutexLock lock(mutex_);
    numbers_.push_back(number);
    if (on_added_) on_added_();
  }
  std::vector<FileNumber> Take() {
    MutexLock lock(mutex_);
    return std::exchange(numbers_, {});
  }
  // Called within Add. Empty: nobody waits for it any more.
  void SetOnAdded(std::function<void()> on_added) {
    MutexLock lock(mutex_);
    on_added_ = std::move(on_added);
  }

 private:
  Mutex mutex_;
  std::vector<FileNumber> numbers_ GUARDED_BY(mutex_);
  std::function<void()> on_added_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
