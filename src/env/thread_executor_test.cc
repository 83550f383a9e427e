#include "env/thread_executor.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace tallystick {
namespace {

// Waits for a number that only grows, without a clock.
class Counter {
 public:
  void Add() {
    MutexLock lock(mutex_);
    ++value_;
    changed_.NotifyAll();
  }
  void AwaitAtLeast(uint64_t value) {
    MutexLock lock(mutex_);
    while (value_ < value) changed_.Wait(mutex_);
  }
  uint64_t value() {
    MutexLock lock(mutex_);
    return value_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  uint64_t value_ GUARDED_BY(mutex_) = 0;
};

class ThreadExecutorTest : public testing::Test {
 protected:
  Clock& clock_ = Env::Real().clock();
  ThreadExecutor executor_{clock_};
};

TEST_F(ThreadExecutorTest, AStepRunsSoonAfterAdd) {
  Counter runs;
  const auto task = executor_.Add("once", Executor::Priority::kNormal, [&] {
    runs.Add();
    return StepResult::Wait();
  });
  runs.AwaitAtLeast(1);
  executor_.Remove(task);
  EXPECT_EQ(runs.value(), 1u);
}

TEST_F(ThreadExecutorTest, AgainRunsUntilItSaysDone) {
  Counter runs;
  const auto task = executor_.Add("again", Executor::Priority::kNormal, [&] {
    runs.Add();
    return runs.value() < 5 ? StepResult::Again() : StepResult::Done();
  });
  runs.AwaitAtLeast(5);
  executor_.Wake(task);  // of a task that is done: nothing
  executor_.Remove(task);
  EXPECT_EQ(runs.value(), 5u);
}

// One wake a hand-over: a lost one would leave this test waiting for ever.
TEST_F(ThreadExecutorTest, NoWakeIsLost) {
  constexpr uint64_t kRounds = 20'000;
  std::atomic<uint64_t> offered = 0;
  Counter taken;
  uint64_t seen = 0;
  const auto task = executor_.Add("taker", Executor::Priority::kNormal, [&] {
    while (seen < offered.load()) {
      ++seen;
      taken.Add();
    }
    return StepResult::Wait();
  });
  for (uint64_t i = 1; i <= kRounds; ++i) {
    offered.store(i);
    executor_.Wake(task);
    taken.AwaitAtLeast(i);
  }
  executor_.Remove(task);
  EXPECT_EQ(taken.value(), kRounds);
}

TEST_F(ThreadExecutorTest, AWakeDuringAStepRunsItOnceMore) {
  Counter runs;
  Counter allowed;
  const auto task = executor_.Add("slow", Executor::Priority::kNormal, [&] {
    runs.Add();
    allowed.AwaitAtLeast(1);
    return StepResult::Wait();
  });
  runs.AwaitAtLeast(1);
  executor_.Wake(task);
  allowed.Add();
  runs.AwaitAtLeast(2);
  executor_.Remove(task);
  EXPECT_EQ(runs.value(), 2u);
}

TEST_F(ThreadExecutorTest, ADeadlineRunsTheStepNotBeforeItsTime) {
  Counter runs;
  int64_t first = 0, second = 0;
  const auto task = executor_.Add("timed", Executor::Priority::kNormal, [&] {
    (runs.value() == 0 ? first : second) = clock_.MonotonicMicros();
    runs.Add();
    return runs.value() == 1 ? StepResult::WaitUntil(first + 2'000) : StepResult::Done();
  });
  runs.AwaitAtLeast(2);
  executor_.Remove(task);
  EXPECT_GE(second, first + 2'000);
}

TEST_F(ThreadExecutorTest, AWakeComesBeforeAFarDeadline) {
  Counter runs;
  const auto task = executor_.Add("far", Executor::Priority::kNormal, [&] {
    runs.Add();
    return StepResult::WaitUntil(clock_.MonotonicMicros() + 3'600'000'000);
  });
  runs.AwaitAtLeast(1);
  executor_.Wake(task);
  runs.AwaitAtLeast(2);
  executor_.Remove(task);
}

TEST_F(ThreadExecutorTest, RemoveReturnsWhenTheStepIsOverAndItNeverRunsAgain) {
  Counter started;
  Counter allowed;
  std::atomic<bool> inside = false;
  std::atomic<bool> removed = false;
  const auto task = executor_.Add("removed", Executor::Priority::kNormal, [&] {
    EXPECT_FALSE(removed.load());
    inside.store(true);
    started.Add();
    allowed.AwaitAtLeast(1);
    inside.store(false);
    return StepResult::Again();
  });
  started.AwaitAtLeast(1);
  std::thread releaser([&] { allowed.Add(); });
  executor_.Remove(task);
  removed.store(true);
  EXPECT_FALSE(inside.load());
  executor_.Wake(task);    // of a task that is gone: nothing
  executor_.Remove(task);  // twice: nothing
  releaser.join();
}

int NiceOfThisThread() { return getpriority(PRIO_PROCESS, 0); }

TEST_F(ThreadExecutorTest, ALowTaskIsNiceAndANormalOneIsNot) {
  for (const auto priority : {Executor::Priority::kNormal, Executor::Priority::kLow}) {
    Counter ran;
    int nice = 0;
    const auto task = executor_.Add("task", priority, [&] {
      nice = NiceOfThisThread();
      ran.Add();
      return StepResult::Done();
    });
    ran.AwaitAtLeast(1);
    executor_.Remove(task);
    const int expected = NiceOfThisThread() + (priority == Executor::Priority::kLow ? 10 : 0);
    EXPECT_EQ(nice, std::min(expected, 19));
  }
}

// The step ends when it sees that it is no longer slowed down.
TEST_F(ThreadExecutorTest, RemoveRaisesALowTaskThatIsInItsStep) {
  const int normal = NiceOfThisThread();
  if (normal > 9) GTEST_SKIP() << "runs at nice " << normal << ": there is no lower priority";
  bool may = false;  // lower a thread and raise it again
  std::thread([&may, normal] {
    may =
        setpriority(PRIO_PROCESS, 0, normal + 1) == 0 && setpriority(PRIO_PROCESS, 0, normal) == 0;
  }).join();
  if (!may) GTEST_SKIP() << "no RLIMIT_NICE, and no CAP_SYS_NICE";
  Counter lowered;
  bool raised = false;
  const auto task = executor_.Add("low", Executor::Priority::kLow, [&] {
    EXPECT_EQ(NiceOfThisThread(), normal + 10);
    lowered.Add();
    while (!raised) raised = NiceOfThisThread() == normal;
    return StepResult::Done();
  });
  lowered.AwaitAtLeast(1);
  executor_.Remove(task);
  EXPECT_TRUE(raised);
}

TEST_F(ThreadExecutorTest, EachTaskHasAThreadOfItsOwnWithItsName) {
  Mutex mutex;
  std::set<std::thread::id> threads;
  std::set<std::string> names;
  Counter ready;
  std::vector<Executor::TaskId> tasks;
  for (const char* name : {"one", "two", "a name longer than fifteen"}) {
    tasks.push_back(executor_.Add(name, Executor::Priority::kLow, [&] {
      char kept[16] = {};
      pthread_getname_np(pthread_self(), kept, sizeof kept);
      MutexLock lock(mutex);
      threads.insert(std::this_thread::get_id());
      // The name is set by the adding thread, perhaps after the first step.
      if (!names.contains(kept) && (kept == std::string("one") || kept == std::string("two") ||
                                    kept == std::string("a name longer t"))) {
        names.insert(kept);
        ready.Add();
        return StepResult::Done();
      }
      return StepResult::Again();
    }));
  }
  ready.AwaitAtLeast(3);
  for (const auto task : tasks) executor_.Remove(task);
  EXPECT_EQ(threads.size(), 3u);
  EXPECT_EQ(std::set<Executor::TaskId>(tasks.begin(), tasks.end()).size(), 3u);
}

}  // namespace
}  // namespace tallystick
