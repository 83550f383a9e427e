#include "env/io_governor.h"

#include <gtest/gtest.h>

#include "testing/sim_env.h"

namespace tallystick {
namespace {

TEST(IoGovernorTest, KeepsToItsRate) {
  SimClock clock;
  IoGovernor governor(clock, 1'000'000);
  const int64_t start = clock.MonotonicMicros();
  for (int i = 0; i < 100; ++i) governor.Acquire(10'000);
  const int64_t took = clock.MonotonicMicros() - start;
  EXPECT_GE(took, 980'000);  // all but the last piece is paid, less the burst
  EXPECT_LE(took, 1'000'000);
}

TEST(IoGovernorTest, IdleTimeIsNotSavedUp) {
  SimClock clock;
  IoGovernor governor(clock, 1'000'000);
  clock.Advance(60'000'000);
  const int64_t start = clock.MonotonicMicros();
  for (int i = 0; i < 11; ++i) governor.Acquire(100'000);
  EXPECT_GE(clock.MonotonicMicros() - start, 990'000);
}

TEST(IoGovernorTest, WithoutALimitOrReleasedNobodyWaits) {
  SimClock clock;
  IoGovernor unlimited(clock, 0), released(clock, 1);
  released.Release();
  const int64_t start = clock.MonotonicMicros();
  for (int i = 0; i < 10; ++i) {
    unlimited.Acquire(1 << 30);
    released.Acquire(1 << 30);
  }
  EXPECT_EQ(clock.MonotonicMicros(), start);
}

}  // namespace
}  // namespace tallystick
