#include "testing/sim_env.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "testing/sim_fs.h"

namespace tallystick {
namespace {

class SimExecutorTest : public testing::Test {
 protected:
  Executor::TaskId Add(std::function<StepResult()> step) {
    return executor_.Add("task", Executor::Priority::kNormal, std::move(step));
  }

  SimClock clock_;
  SimExecutor executor_{clock_, 7};
};

TEST_F(SimExecutorTest, AnAddedTaskRunsOnceAndThenOnlyWhenWoken) {
  int runs = 0;
  const auto task = Add([&] {
    ++runs;
    return StepResult::Wait();
  });
  executor_.RunUntilIdle();
  EXPECT_EQ(runs, 1);
  executor_.Wake(task);
  executor_.RunUntilIdle();
  EXPECT_EQ(runs, 2);
}

TEST_F(SimExecutorTest, AWakeFromWithinAStepIsNotLost) {
  int runs = 0;
  Executor::TaskId self = 0;
  self = Add([&] {
    if (++runs < 4) executor_.Wake(self);
    return StepResult::Wait();
  });
  executor_.RunUntilIdle();
  EXPECT_EQ(runs, 4);
}

TEST_F(SimExecutorTest, DoneAndRemovedTasksNeverRunAgain) {
  int runs = 0;
  const auto done = Add([&] {
    ++runs;
    return StepResult::Done();
  });
  const auto removed = Add([&] {
    ++runs;
    return StepResult::Again();
  });
  executor_.Remove(removed);
  executor_.RunUntilIdle();
  executor_.Wake(done);
  executor_.Wake(removed);
  executor_.RunUntilIdle();
  EXPECT_EQ(runs, 1);
}

TEST_F(SimExecutorTest, TimeStandsStillWhileAnythingCanRunAndThenGoesToTheEarliestDeadline) {
  const int64_t start = clock_.MonotonicMicros();
  std::vector<int64_t> times;
  for (const int64_t wait : {5'000, 2'000}) {
    Add([&, wait, first = true]() mutable {
      times.push_back(clock_.MonotonicMicros() - start);
      return std::exchange(first, false) ? StepResult::WaitUntil(start + wait) : StepResult::Done();
    });
  }
  executor_.RunUntilIdle();
  EXPECT_EQ(times, (std::vector<int64_t>{0, 0, 2'000, 5'000}));
}

TEST_F(SimExecutorTest, ADeadlineBeyondThePatienceIsRest) {
  int runs = 0;
  Add([&] {
    ++runs;
    return StepResult::WaitUntil(clock_.MonotonicMicros() + SimExecutor::kPatienceMicros + 1);
  });
  executor_.RunUntilIdle();
  EXPECT_EQ(runs, 1);
  clock_.Advance(SimExecutor::kPatienceMicros + 1);
  executor_.RunUntilIdle();
  EXPECT_EQ(runs, 2);
}

TEST_F(SimExecutorTest, RunUntilStopsAsSoonAsItHolds) {
  int runs = 0;
  const auto task = Add([&] {
    ++runs;
    return StepResult::Again();
  });
  EXPECT_TRUE(executor_.RunUntil([&] { return runs == 3; }));
  EXPECT_EQ(runs, 3);
  executor_.Remove(task);
  EXPECT_FALSE(executor_.RunUntil([&] { return runs == 4; }));
}

std::string OrderUnder(uint64_t seed) {
  SimClock clock;
  SimExecutor executor(clock, seed);
  std::string order;
  for (const char name : {'a', 'b', 'c'}) {
    executor.Add(std::string(1, name), Executor::Priority::kNormal,
                 [&order, name, left = 3]() mutable {
                   order += name;
                   return --left > 0 ? StepResult::Again() : StepResult::Done();
                 });
  }
  executor.RunUntilIdle();
  return order;
}

TEST(SimExecutorOrderTest, TheOrderIsTheSeeds) {
  std::set<std::string> orders;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(OrderUnder(seed), OrderUnder(seed));
    orders.insert(OrderUnder(seed));
  }
  EXPECT_GT(orders.size(), 30u);
}

TEST(SimClockTest, TheWallClockJumpsAndTheMonotonicOneDoesNot) {
  SimClock clock;
  const int64_t wall = clock.WallMicros();
  const int64_t monotonic = clock.MonotonicMicros();
  clock.JumpWall(-3'600'000'000);
  EXPECT_LT(clock.WallMicros(), wall);
  EXPECT_EQ(clock.MonotonicMicros(), monotonic);
  clock.JumpWall(7'200'000'000);
  EXPECT_GT(clock.WallMicros(), wall);
  clock.Advance(10);
  EXPECT_EQ(clock.MonotonicMicros(), monotonic + 10);
}

TEST(SeededRandomTest, TheSameSeedGivesTheSameNumbers) {
  SeededRandom one(5), same(5), other(6);
  const uint64_t first = one.Next64();
  EXPECT_EQ(first, same.Next64());
  EXPECT_NE(first, other.Next64());
  for (int i = 0; i < 1000; ++i) EXPECT_LT(one.Below(10), 10u);
}

}  // namespace
}  // namespace tallystick
