#include "segment/block_cache.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace tallystick {
namespace {

constexpr uint64_t kBytesMax = 100'000;

Bytes BlockOf(uint64_t offset, size_t bytes = 1000) {
  return Bytes(bytes, static_cast<std::byte>(offset));
}

// Whether the block had to be loaded.
bool Loads(BlockCache& cache, FileNumber file, uint64_t offset, size_t bytes = 1000) {
  bool loaded = false;
  const auto block = cache.Get(file, offset, [&]() -> Result<Bytes> {
    loaded = true;
    return BlockOf(offset, bytes);
  });
  EXPECT_TRUE(block.ok());
  EXPECT_EQ(**block, BlockOf(offset, bytes));
  return loaded;
}

TEST(BlockCache, ABlockIsLoadedOnceForEachFileAndOffset) {
  BlockCache cache(kBytesMax);
  EXPECT_TRUE(Loads(cache, {1}, 0));
  EXPECT_FALSE(Loads(cache, {1}, 0));
  EXPECT_TRUE(Loads(cache, {1}, 64));
  EXPECT_TRUE(Loads(cache, {2}, 0));
  EXPECT_FALSE(Loads(cache, {2}, 0));
  EXPECT_EQ(cache.Read().hits, 2u);
  EXPECT_EQ(cache.Read().misses, 3u);
}

TEST(BlockCache, StaysWithinItsBoundAndDropsWhatWasUsedLongestAgo) {
  BlockCache cache(kBytesMax);
  Loads(cache, {1}, 0);
  for (uint64_t i = 1; i < 1000; ++i) {
    Loads(cache, {1}, i);
    ASSERT_EQ(Loads(cache, {1}, 0), false) << i;  // always in use
    ASSERT_LE(cache.Read().bytes, kBytesMax);
  }
  EXPECT_GT(cache.Read().bytes, kBytesMax * 9 / 10);
  EXPECT_FALSE(Loads(cache, {1}, 0));
  EXPECT_FALSE(Loads(cache, {1}, 999));
  EXPECT_TRUE(Loads(cache, {1}, 1));
}

TEST(BlockCache, ABlockLargerThanTheCacheIsHandedOutAndNotKept) {
  BlockCache cache(kBytesMax);
  EXPECT_TRUE(Loads(cache, {1}, 1));
  EXPECT_TRUE(Loads(cache, {1}, 2, kBytesMax + 1));
  EXPECT_TRUE(Loads(cache, {1}, 2, kBytesMax + 1));
  EXPECT_FALSE(Loads(cache, {1}, 1));
}

TEST(BlockCache, AnErrorIsPassedOnAndNotRemembered) {
  BlockCache cache(kBytesMax);
  const auto failed =
      cache.Get({1}, 0, []() -> Result<Bytes> { return Status::IoError("unreadable"); });
  EXPECT_EQ(failed.status().code(), StatusCode::kIoError);
  EXPECT_TRUE(Loads(cache, {1}, 0));
}

TEST(BlockCache, ErasingAFileForgetsItsBlocksOnlyAndHeldOnesLive) {
  BlockCache cache(kBytesMax);
  const auto held = cache.Get({1}, 0, [] { return Result<Bytes>(BlockOf(0)); });
  Loads(cache, {1}, 64);
  Loads(cache, {2}, 0);
  const uint64_t bytes = cache.Read().bytes;
  cache.Erase({1});
  EXPECT_EQ(cache.Read().bytes, bytes / 3);
  EXPECT_EQ(**held, BlockOf(0));
  EXPECT_FALSE(Loads(cache, {2}, 0));
  EXPECT_TRUE(Loads(cache, {1}, 0));
}

TEST(BlockCache, ThreadsGetTheRightBlocks) {
  BlockCache cache(kBytesMax);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (uint64_t i = 0; i < 20'000; ++i) Loads(cache, {i % 3}, (i * 7 + t) % 200);
      cache.Erase({t});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(cache.Read().bytes, kBytesMax);
}

}  // namespace
}  // namespace tallystick
