#include <sys/random.h>
#include <time.h>

#include "base/check.h"
#include "env/env.h"
#include "env/posix_fs.h"
#include "env/thread_executor.h"

namespace tallystick {
namespace {

int64_t Micros(clockid_t id) {
  timespec now;
  TALLY_CHECK(clock_gettime(id, &now) == 0);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
}

class SystemClock final : public Clock {
 public:
  int64_t WallMicros() override { return Micros(CLOCK_REALTIME); }
  int64_t MonotonicMicros() override { return Micros(CLOCK_MONOTONIC); }
  void SleepMicros(int64_t micros) override {
    if (micros <= 0) return;
    const timespec span{.tv_sec = micros / 1'000'000, .tv_nsec = micros % 1'000'000 * 1000};
    nanosleep(&span, nullptr);  // a shorter sleep only makes its caller look again
  }
};

class KernelRandom final : public Random {
 public:
  uint64_t Next64() override {
    uint64_t value;
    // Up to 256 bytes are never cut short nor interrupted once the pool is ready.
    while (getrandom(&value, sizeof value, 0) != sizeof value) {
    }
    return value;
  }
};

class RealEnv final : public Env {
 public:
  FileSystem& fs() override { return fs_; }
  Clock& clock() override { return clock_; }
  Random& random() override { return random_; }
  Executor& executor() override { return executor_; }

 private:
  PosixFs fs_;
  SystemClock clock_;
  KernelRandom random_;
  ThreadExecutor executor_{clock_};
};

}  // namespace

Env& Env::Real() {
  static RealEnv* const env = new RealEnv();  // never destroyed: tasks may outlive main's statics
  return *env;
}

}  // namespace tallystick
