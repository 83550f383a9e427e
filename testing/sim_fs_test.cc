// One test a sentence of what SimFs promises.
#include "testing/sim_fs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "env/env.h"

namespace tallystick {
namespace {

Bytes Filled(size_t bytes, uint8_t value) { return Bytes(bytes, static_cast<std::byte>(value)); }

class SimFsTest : public testing::Test {
 protected:
  // A synced file of `bytes` ones, under a durable name.
  std::unique_ptr<File> SyncedFile(const std::string& path, size_t bytes) {
    auto file = fs_.Open(path, OpenMode::kCreateNew);
    EXPECT_TRUE(file.ok());
    EXPECT_TRUE(WriteFully(**file, 0, Filled(bytes, 1)).ok());
    EXPECT_TRUE((*file)->Sync().ok());
    EXPECT_TRUE(fs_.SyncDir(".").ok());
    return std::move(file).value();
  }
  // What many different power cuts leave of `path`; none where the name is gone.
  std::set<std::optional<Bytes>> Outcomes(const std::string& path,
                                          CrashKind kind = CrashKind::kPowerCut) {
    std::set<std::optional<Bytes>> outcomes;
    for (uint64_t seed = 0; seed < 200; ++seed) {
      auto fork = fs_.Clone();
      fork->Restart(kind, seed);
      auto content = fork->Content(path);
      outcomes.insert(content.ok() ? std::optional<Bytes>(*content) : std::nullopt);
    }
    return outcomes;
  }

  SimFs fs_{1};
};

TEST_F(SimFsTest, WhatIsSyncedSurvivesEveryPowerCut) {
  SyncedFile("f", 10'000);
  EXPECT_EQ(Outcomes("f"), (std::set<std::optional<Bytes>>{Filled(10'000, 1)}));
}

TEST_F(SimFsTest, UnsyncedBlocksSurviveOrNotOrAreTornBySectors) {
  auto file = SyncedFile("f", 8192);
  ASSERT_TRUE(WriteFully(*file, 0, Filled(8192, 2)).ok());
  const auto outcomes = Outcomes("f");
  EXPECT_TRUE(outcomes.contains(Filled(8192, 1)));
  EXPECT_TRUE(outcomes.contains(Filled(8192, 2)));
  bool torn = false;
  for (const auto& outcome : outcomes) {
    ASSERT_TRUE(outcome.has_value());
    for (size_t sector = 0; sector < 8192; sector += 512) {
      // Old or new as a whole, never zeros.
      for (size_t i = sector; i < sector + 512; ++i) ASSERT_EQ((*outcome)[i], (*outcome)[sector]);
      ASSERT_NE((*outcome)[sector], std::byte{0});
      torn = torn || (*outcome)[sector] != (*outcome)[sector / 4096 * 4096];
    }
  }
  EXPECT_TRUE(torn);
}

TEST_F(SimFsTest, AnUnsyncedSizeSurvivesOrNotApartFromItsBlocks) {
  auto file = SyncedFile("f", 4096);
  ASSERT_TRUE(WriteFully(*file, 4096, Filled(4096, 2)).ok());
  std::set<size_t> sizes;
  bool zeros = false;
  for (const auto& outcome : Outcomes("f")) {
    sizes.insert(outcome->size());
    zeros = zeros || (outcome->size() == 8192 && (*outcome)[4096] == std::byte{0});
  }
  EXPECT_EQ(sizes, (std::set<size_t>{4096, 8192}));
  EXPECT_TRUE(zeros) << "the size without the block";
}

TEST_F(SimFsTest, ANewNameSurvivesOnlyByChanceUntilItsDirectoryIsSynced) {
  auto file = fs_.Open("f", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, Filled(10, 1)).ok());
  ASSERT_TRUE((*file)->Sync().ok());
  const auto before = Outcomes("f");
  EXPECT_TRUE(before.contains(std::nullopt));
  EXPECT_TRUE(before.contains(Filled(10, 1)));
  ASSERT_TRUE(fs_.SyncDir(".").ok());
  EXPECT_FALSE(Outcomes("f").contains(std::nullopt));
}

TEST_F(SimFsTest, AFolderCanBeLostWithAllThatIsInIt) {
  ASSERT_TRUE(fs_.CreateDir("d").ok());
  ASSERT_TRUE(fs_.Open("d/f", OpenMode::kCreateNew).ok());
  ASSERT_TRUE(fs_.SyncDir("d").ok());
  EXPECT_TRUE(Outcomes("d/f").contains(std::nullopt)) << "the parent was not synced";
  ASSERT_TRUE(fs_.SyncDir(".").ok());
  EXPECT_FALSE(Outcomes("d/f").contains(std::nullopt));
}

TEST_F(SimFsTest, ARenameLeavesTheNewNameBothTheOldOrNeither) {
  SyncedFile("a", 10);
  ASSERT_TRUE(fs_.Rename("a", "b").ok());
  std::set<std::pair<bool, bool>> outcomes;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto fork = fs_.Clone();
    fork->Restart(CrashKind::kPowerCut, seed);
    outcomes.emplace(fork->Content("a").ok(), fork->Content("b").ok());
  }
  EXPECT_EQ(outcomes.size(), 4u);
  ASSERT_TRUE(fs_.SyncDir(".").ok());
  EXPECT_EQ(Outcomes("a"), (std::set<std::optional<Bytes>>{std::nullopt}));
  EXPECT_EQ(Outcomes("b"), (std::set<std::optional<Bytes>>{Filled(10, 1)}));
}

TEST_F(SimFsTest, ARemovedFileMayComeBackUntilItsDirectoryIsSynced) {
  SyncedFile("f", 10);
  ASSERT_TRUE(fs_.Remove("f").ok());
  EXPECT_EQ(Outcomes("f").size(), 2u);
  ASSERT_TRUE(fs_.SyncDir(".").ok());
  EXPECT_EQ(Outcomes("f"), (std::set<std::optional<Bytes>>{std::nullopt}));
}

TEST_F(SimFsTest, ARenameOverAFileLeavesTheOldOrTheNewContent) {
  SyncedFile("to", 10);
  auto file = fs_.Open("from", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, Filled(10, 2)).ok());
  ASSERT_TRUE((*file)->Sync().ok());
  ASSERT_TRUE(fs_.SyncDir(".").ok());
  ASSERT_TRUE(fs_.Rename("from", "to").ok());
  EXPECT_EQ(Outcomes("to"), (std::set<std::optional<Bytes>>{Filled(10, 1), Filled(10, 2)}));
}

TEST_F(SimFsTest, APowerCutMayLoseOrKeepEverythingAtOnce) {
  auto file = SyncedFile("f", 40 * 4096);
  ASSERT_TRUE(WriteFully(*file, 0, Filled(40 * 4096, 2)).ok());
  const auto outcomes = Outcomes("f");
  EXPECT_TRUE(outcomes.contains(Filled(40 * 4096, 1)));
  EXPECT_TRUE(outcomes.contains(Filled(40 * 4096, 2)));
  EXPECT_GT(outcomes.size(), 50u);
}

TEST_F(SimFsTest, OneSeedOneOutcome) {
  auto file = SyncedFile("f", 40 * 4096);
  ASSERT_TRUE(WriteFully(*file, 0, Filled(40 * 4096, 2)).ok());
  for (uint64_t seed = 0; seed < 20; ++seed) {
    auto one = fs_.Clone(), other = fs_.Clone();
    one->Restart(CrashKind::kPowerCut, seed);
    other->Restart(CrashKind::kPowerCut, seed);
    EXPECT_EQ(*one->Content("f"), *other->Content("f"));
  }
}

TEST_F(SimFsTest, ATruncationSurvivesOrNotUntilTheSync) {
  auto file = SyncedFile("f", 8192);
  ASSERT_TRUE(file->Truncate(100).ok());
  EXPECT_EQ(Outcomes("f"), (std::set<std::optional<Bytes>>{Filled(8192, 1), Filled(100, 1)}));
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(Outcomes("f"), (std::set<std::optional<Bytes>>{Filled(100, 1)}));
}

TEST_F(SimFsTest, AKillKeepsEverythingThatWasWritten) {
  auto file = fs_.Open("f", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, Filled(8192, 2)).ok());
  EXPECT_EQ(Outcomes("f", CrashKind::kKill), (std::set<std::optional<Bytes>>{Filled(8192, 2)}));
}

TEST_F(SimFsTest, AKillMayStopInsideAWriteOfSeveralBlocks) {
  std::set<size_t> written;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    auto fork = fs_.Clone();
    auto file = fork->Open("f", OpenMode::kCreateNew);
    fork->CrashAt(fork->operations(), seed);
    EXPECT_EQ((*file)->WriteAt(0, Filled(3 * 4096, 2)).status().reason(), "crashed");
    fork->Restart(CrashKind::kKill, seed);
    written.insert(fork->Content("f")->size());
  }
  EXPECT_EQ(written, (std::set<size_t>{0, 4096, 2 * 4096, 3 * 4096}));
}

TEST_F(SimFsTest, WhatASecondProcessReadAfterAKillMayVanishInALaterPowerCut) {
  auto file = SyncedFile("f", 4096);
  ASSERT_TRUE(WriteFully(*file, 0, Filled(4096, 2)).ok());
  fs_.Restart(CrashKind::kKill, 1);
  EXPECT_EQ(*fs_.Content("f"), Filled(4096, 2));
  EXPECT_TRUE(Outcomes("f").contains(Filled(4096, 1)));
  // ... and a sync by the second process keeps it.
  auto again = fs_.Open("f", OpenMode::kReadWrite);
  ASSERT_TRUE((*again)->Sync().ok());
  EXPECT_EQ(Outcomes("f"), (std::set<std::optional<Bytes>>{Filled(4096, 2)}));
}

TEST_F(SimFsTest, AfterAFailedSyncMemoryIsNewTheDiskOldAndTheNextSyncDoesNothing) {
  auto file = SyncedFile("f", 4096);
  ASSERT_TRUE(WriteFully(*file, 0, Filled(4096, 2)).ok());
  fs_.LoseDirty("f");
  EXPECT_TRUE(file->Sync().ok()) << "it claims success";
  EXPECT_EQ(fs_.retried_syncs(), 1u);
  EXPECT_EQ(*fs_.Content("f"), Filled(4096, 2));
  EXPECT_EQ(Outcomes("f"), (std::set<std::optional<Bytes>>{Filled(4096, 1)}));
}

TEST_F(SimFsTest, ADirectWriteIsDurableWhenItReturns) {
  SyncedFile("f", 8192);
  auto file = fs_.Open("f", OpenMode::kReadWrite, {.direct_dsync = true});
  AlignedBuffer buffer(4096);
  buffer.data()[0] = std::byte{9};
  ASSERT_TRUE((*file)->WriteAt(4096, buffer.span()).ok());
  const auto outcomes = Outcomes("f");
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ((**outcomes.begin())[4096], std::byte{9});
}

// Each sector is old or new, blocks in any combination, and only a sync decides it.
TEST_F(SimFsTest, ADirectWriteTearsWhenTheCrashFallsInsideIt) {
  AlignedBuffer buffer(3 * 4096);
  std::ranges::fill(buffer.span(), std::byte{2});
  SyncedFile("f", 3 * 4096);
  std::set<std::string> blocks_after_kill;
  bool torn = false;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto fork = fs_.Clone();
    auto file = fork->Open("f", OpenMode::kReadWrite, {.direct_dsync = true});
    fork->CrashAt(fork->operations(), seed);
    EXPECT_EQ((*file)->WriteAt(0, buffer.span()).status().reason(), "crashed");
    fork->Restart(CrashKind::kKill, seed);
    const Bytes visible = *fork->Content("f");
    std::string blocks;
    for (size_t at = 0; at < visible.size(); at += 4096)
      blocks += visible[at] == std::byte{2} ? 'n' : 'o';
    blocks_after_kill.insert(blocks);
    fork->Restart(CrashKind::kPowerCut, seed);
    const Bytes durable = *fork->Content("f");
    for (size_t i = 0; i < durable.size(); ++i) {
      ASSERT_TRUE(durable[i] == std::byte{1} || durable[i] == visible[i]);
      torn = torn || durable[i] != durable[i / 4096 * 4096];
    }
  }
  EXPECT_EQ(blocks_after_kill.size(), 8u);
  EXPECT_TRUE(torn);
}

TEST_F(SimFsTest, AFailedSyncThatIsWrittenOverIsSyncedAnew) {
  auto file = SyncedFile("f", 2 * 4096);
  ASSERT_TRUE(WriteFully(*file, 0, Filled(2 * 4096, 2)).ok());
  fs_.LoseDirty("f");
  ASSERT_TRUE(WriteFully(*file, 4096, Filled(4096, 3)).ok());
  ASSERT_TRUE(file->Sync().ok());
  Bytes expected = Filled(4096, 1);
  expected.resize(2 * 4096, std::byte{3});
  EXPECT_EQ(Outcomes("f"), (std::set<std::optional<Bytes>>{expected}));
}

TEST_F(SimFsTest, DirectWritesCanBeRefused) {
  fs_.SetDirectRefused(true);
  EXPECT_EQ(fs_.Open("f", OpenMode::kCreateNew, {.direct_dsync = true}).status().reason(),
            "direct_refused");
  EXPECT_FALSE(*fs_.Exists("f"));
}

TEST_F(SimFsTest, AFullDiskRefusesWritesAndNamesAndHeals) {
  auto file = SyncedFile("f", 4096);
  fs_.SetCapacity(4096);
  EXPECT_EQ(WriteFully(*file, 4096, Filled(1, 1)).code(), StatusCode::kNoSpace);
  EXPECT_EQ(fs_.Open("g", OpenMode::kCreateNew).status().code(), StatusCode::kNoSpace);
  EXPECT_TRUE(WriteFully(*file, 0, Filled(4096, 2)).ok()) << "what has its blocks needs none";
  fs_.SetCapacity(std::nullopt);
  EXPECT_TRUE(WriteFully(*file, 4096, Filled(1, 1)).ok());
}

TEST_F(SimFsTest, ARemovedFileGivesItsSpaceBack) {
  SyncedFile("f", 4096);
  fs_.SetCapacity(4096);
  EXPECT_EQ(fs_.Open("g", OpenMode::kCreateNew).status().code(), StatusCode::kNoSpace);
  ASSERT_TRUE(fs_.Remove("f").ok());
  EXPECT_TRUE(fs_.Open("g", OpenMode::kCreateNew).ok());
}

TEST_F(SimFsTest, ListGivesNamesInAnyOrderAndStrangersAmongThem) {
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(fs_.Open(name, OpenMode::kCreateNew).ok());
  std::set<std::vector<std::string>> orders;
  for (int i = 0; i < 200; ++i) orders.insert(*fs_.List("."));
  EXPECT_GT(orders.size(), 6u);
}

TEST_F(SimFsTest, AfterTheCrashNothingHasAnEffectAndOldFilesAreDead) {
  auto file = SyncedFile("f", 10);
  fs_.CrashAt(fs_.operations(), 1);
  EXPECT_EQ(fs_.Exists("f").status().reason(), "crashed");
  EXPECT_EQ(fs_.Open("g", OpenMode::kCreateNew).status().reason(), "crashed");
  EXPECT_EQ(WriteFully(*file, 0, Filled(10, 2)).reason(), "crashed");
  EXPECT_EQ(*fs_.Content("f"), Filled(10, 1));
  fs_.Restart(CrashKind::kKill, 1);
  EXPECT_EQ(file->Sync().reason(), "crashed");
  EXPECT_TRUE(fs_.Open("g", OpenMode::kCreateNew).ok());
}

TEST_F(SimFsTest, ALockIsExclusiveAndEndsWithItsHolderOrTheProcess) {
  auto lock = fs_.Lock("LOCK");
  ASSERT_TRUE(lock.ok());
  EXPECT_EQ(fs_.Lock("LOCK").status().reason(), "locked");
  fs_.Restart(CrashKind::kKill, 1);
  auto second = fs_.Lock("LOCK");
  ASSERT_TRUE(second.ok());
  lock->reset();  // of the dead process: means nothing
  EXPECT_EQ(fs_.Lock("LOCK").status().reason(), "locked");
}

TEST_F(SimFsTest, ACloneGoesItsOwnWay) {
  SyncedFile("f", 10);
  auto fork = fs_.Clone();
  ASSERT_TRUE(fork->Remove("f").ok());
  EXPECT_TRUE(fs_.Content("f").ok());
  EXPECT_FALSE(fork->Content("f").ok());
}

}  // namespace
}  // namespace tallystick
