// SimEnv: a whole machine under a seed. Virtual time, seeded randomness, and an executor that runs
// all steps in one thread in a seeded order.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "env/env.h"

namespace tallystick {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next64() override;
  uint64_t Below(uint64_t n) { return Next64() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

// Time stands still but when it is moved. Every reading of the wall clock costs a microsecond, as
// it does.
class SimClock final : public Clock {
 public:
  explicit SimClock(int64_t wall_micros = 1'800'000'000'000'000) : wall_(wall_micros) {}
  int64_t WallMicros() override { return ++wall_; }
  int64_t MonotonicMicros() override { return monotonic_; }
  void SleepMicros(int64_t micros) override { Advance(micros); }

  void Advance(int64_t micros) {
    wall_ += micros;
    monotonic_ += micros;
  }
  void JumpWall(int64_t micros) { wall_ += micros; }  // either way; survives restarts

 private:
  int64_t wall_;
  int64_t monotonic_ = 1'000'000;
};

class SimExecutor final : public Executor {
 public:
  SimExecutor(SimClock& clock, uint64_t seed) : clock_(clock), random_(seed) {}

  TaskId Add(std::string_view name, Priority priority, std::function<StepResult()> step) override;
  void Wake(TaskId task) override;
  void Remove(TaskId task) override;

  // Runs one runnable step; where none is, moves the clock to the earliest deadline that lies
  // within `patience_micros` first. False: nothing to do.
  bool RunOne(int64_t patience_micros = kPatienceMicros);
  // Until nothing is due within the patience. `steps_max` guards against a loop that never rests.
  void RunUntilIdle(uint64_t steps_max = 1'000'000);
  // Until it holds; false if everything came to rest before.
  bool RunUntil(const std::function<bool()>& holds, uint64_t steps_max = 1'000'000);
  uint64_t steps() const { return steps_; }
  // Tasks of this name do not run until they are let go on.
  void Pause(const std::string& name) { paused_.insert(name); }
  void GoOn(const std::string& name) { paused_.erase(name); }

  // Longer than commit gaps and the idle time of marks, shorter than pauses between retries.
  static constexpr int64_t kPatienceMicros = 100'000;

 private:
  struct Task {
    std::string name;
    std::function<StepResult()> step;
    bool runnable = true;
    int64_t at_micros = 0;  // a deadline, if > 0
  };

  SimClock& clock_;
  SeededRandom random_;
  std::map<TaskId, Task> tasks_;
  std::set<std::string> paused_;
  TaskId next_id_ = 1;
  uint64_t steps_ = 0;
};

// Borrows the file system, so that it can outlive the process that the rest stands for.
class SimEnv final : public Env {
 public:
  SimEnv(FileSystem& fs, SimClock& clock, uint64_t seed)
      : fs_(fs), clock_(clock), random_(seed), executor_(clock, seed ^ 0x5eed) {}
  FileSystem& fs() override { return fs_; }
  Clock& clock() override { return clock_; }
  Random& random() override { return random_; }
  SimExecutor& executor() override { return executor_; }

 private:
  FileSystem& fs_;
  SimClock& clock_;
  SeededRandom random_;
  SimExecutor executor_;
};

}  // namespace tallystick
