// std::mutex and std::condition_variable with clang's capability attributes, so that
// -Werror=thread-safety checks which lock guards what (a plain std::mutex cannot be annotated).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#ifdef __clang__
#define TALLY_ATTRIBUTE(x) __attribute__((x))
#else
#define TALLY_ATTRIBUTE(x)
#endif

#define CAPABILITY(x) TALLY_ATTRIBUTE(capability(x))
#define SCOPED_CAPABILITY TALLY_ATTRIBUTE(scoped_lockable)
#define GUARDED_BY(x) TALLY_ATTRIBUTE(guarded_by(x))
#define REQUIRES(...) TALLY_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) TALLY_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) TALLY_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) TALLY_ATTRIBUTE(release_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS TALLY_ATTRIBUTE(no_thread_safety_analysis)

namespace tallystick {

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  // REQUIRES: the calling thread holds `mutex`.
  void Wait(Mutex& mutex) REQUIRES(mutex) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // Returns after `microseconds` at the latest; spurious returns are possible.
  void WaitFor(Mutex& mutex, int64_t microseconds) REQUIRES(mutex) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait_for(lock, std::chrono::microseconds(microseconds));
    lock.release();
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace tallystick
