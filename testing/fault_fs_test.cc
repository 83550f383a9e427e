#include "testing/fault_fs.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/check.h"
#include "env/env.h"
#include "testing/sim_fs.h"

namespace tallystick {
namespace {

Bytes Filled(size_t bytes, uint8_t value) { return Bytes(bytes, static_cast<std::byte>(value)); }

TEST(FaultFsTest, FailsTheNthCallOnceOrFromThenOn) {
  SimFs inner;
  FaultFs fs(inner);
  auto creations = [&](bool for_ever) {
    fs.Set(Fault{.op = FaultOp::kCreate, .at = 1, .for_ever = for_ever, .error = ENOSPC});
    std::vector<bool> ok;
    for (int i = 0; i < 4; ++i) {
      auto file = fs.Open("f" + std::to_string(i) + (for_ever ? "x" : ""), OpenMode::kCreateNew);
      ok.push_back(file.ok());
      EXPECT_TRUE(file.ok() || file.status().code() == StatusCode::kNoSpace);
    }
    return ok;
  };
  EXPECT_EQ(creations(false), (std::vector<bool>{true, false, true, true}));
  EXPECT_EQ(creations(true), (std::vector<bool>{true, false, false, false}));
}

TEST(FaultFsTest, AShortWriteIsContinued) {
  SimFs inner;
  FaultFs fs(inner);
  fs.Set(Fault{.op = FaultOp::kShortWrite, .at = 0});
  auto file = fs.Open("f", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, Filled(3 * 4096, 5)).ok());
  EXPECT_EQ(fs.fired(), 1u);
  EXPECT_EQ(*inner.Content("f"), Filled(3 * 4096, 5));
}

TEST(FaultFsTest, AShortWriteOfLittleMoreThanABlockWritesThatBlock) {
  SimFs inner;
  FaultFs fs(inner);
  fs.Set(Fault{.op = FaultOp::kShortWrite, .at = 0});
  auto file = fs.Open("f", OpenMode::kCreateNew);
  auto written = (*file)->WriteAt(0, Filled(5000, 5));
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(*written, 4096u);
}

// Every kind of call fails when it is told to, with the error that it is told.
TEST(FaultFsTest, EachKindOfCallFailsWithItsError) {
  const auto call = [](FaultFs& fs, FaultOp op) -> Status {
    Bytes buffer(8192);
    TALLY_CHECK(fs.CreateDir("d").ok() || op == FaultOp::kMkdir);
    auto created = fs.Open("f", OpenMode::kCreateNew);
    if (!created.ok()) return created.status();
    File& file = **created;
    Status status;
    switch (op) {
      case FaultOp::kOpen:
        return fs.Open("f", OpenMode::kRead).status();
      case FaultOp::kRead:
        return file.ReadAt(0, buffer).status();
      case FaultOp::kWrite:
        return file.WriteAt(0, buffer).status();
      case FaultOp::kSync:
        return file.Sync();
      case FaultOp::kTruncate:
        return file.Truncate(1);
      case FaultOp::kMkdir:
        return fs.CreateDir("e");
      case FaultOp::kRemove:
        return fs.Remove("f");
      case FaultOp::kRename:
        return fs.Rename("f", "g");
      case FaultOp::kSyncDir:
        return fs.SyncDir(".");
      case FaultOp::kList:
        return fs.List(".").status();
      case FaultOp::kExists:
        return fs.Exists("f").status();
      case FaultOp::kLock:
        return fs.Lock("LOCK").status();
      default:
        return status;
    }
  };
  for (const FaultOp op :
       {FaultOp::kCreate, FaultOp::kOpen, FaultOp::kRead, FaultOp::kWrite, FaultOp::kSync,
        FaultOp::kTruncate, FaultOp::kMkdir, FaultOp::kRemove, FaultOp::kRename, FaultOp::kSyncDir,
        FaultOp::kList, FaultOp::kExists, FaultOp::kLock}) {
    for (const int error : {EIO, EDQUOT}) {
      SimFs inner;
      FaultFs fs(inner);
      fs.Set(Fault{.op = op, .at = op == FaultOp::kMkdir ? 1u : 0u, .error = error});
      const Status status = call(fs, op);
      EXPECT_EQ(status.code(), error == EIO ? StatusCode::kIoError : StatusCode::kNoSpace)
          << FaultOpName(op);
      EXPECT_EQ(fs.fired(), 1u) << FaultOpName(op);
      EXPECT_GE(fs.calls(op), 1u) << FaultOpName(op);
    }
  }
}

TEST(FaultFsTest, ARefusedDirectOpenLeavesOthersAlone) {
  SimFs inner;
  FaultFs fs(inner);
  fs.Set(Fault{.op = FaultOp::kCreate, .at = 0, .for_ever = true, .error = EINVAL});
  EXPECT_EQ(fs.Open("f", OpenMode::kCreateNew, {.direct_dsync = true}).status().reason(),
            "direct_refused");
  EXPECT_TRUE(fs.Open("f", OpenMode::kCreateNew).ok());
}

TEST(FaultFsTest, AFailedCallMayHaveDoneItsWork) {
  for (const bool done : {false, true}) {
    SimFs inner;
    FaultFs fs(inner);
    auto file = fs.Open("f", OpenMode::kCreateNew);
    ASSERT_TRUE(fs.SyncDir(".").ok());
    fs.Set(Fault{.op = FaultOp::kWrite, .done_anyway = done});
    EXPECT_FALSE((*file)->WriteAt(0, Filled(4096, 5)).ok());
    EXPECT_EQ(*inner.Content("f") == Filled(4096, 5), done);
    fs.Set(Fault{.op = FaultOp::kRename, .done_anyway = done});
    EXPECT_FALSE(fs.Rename("f", "g").ok());
    EXPECT_EQ(*inner.Exists("g"), done);
  }
}

TEST(FaultFsTest, AFailedSyncIsDurableOnlyIfItWasDoneAnyway) {
  for (const bool done : {false, true}) {
    SimFs inner;
    FaultFs fs(inner);
    fs.SetOnFailedSync([&](const std::string& path) { inner.LoseDirty(path); });
    auto file = fs.Open("f", OpenMode::kCreateNew);
    ASSERT_TRUE(fs.SyncDir(".").ok());
    ASSERT_TRUE((*file)->WriteAt(0, Filled(4096, 5)).ok());
    fs.Set(Fault{.op = FaultOp::kSync, .done_anyway = done});
    EXPECT_FALSE((*file)->Sync().ok());
    EXPECT_TRUE((*file)->Sync().ok());
    EXPECT_EQ(inner.retried_syncs(), done ? 0u : 1u);
    EXPECT_EQ(*inner.Content("f"), Filled(4096, 5)) << "a reader sees it either way";
    inner.Restart(CrashKind::kPowerCut, 3);
    EXPECT_EQ(*inner.Content("f"), done ? Filled(4096, 5) : Bytes());
  }
}

TEST(FaultFsTest, ForEachFaultGoesThroughEveryCallUntilTheBodyRunsClean) {
  std::vector<uint64_t> fired_at;
  const uint64_t runs = ForEachFault({.op = FaultOp::kCreate}, [&](const Fault& fault) {
    SimFs inner;
    FaultFs fs(inner);
    fs.Set(fault);
    for (const char* name : {"a", "b", "c"}) {
      if (!fs.Open(name, OpenMode::kCreateNew).ok()) fired_at.push_back(fault.at);
    }
    return fs.fired() > 0;
  });
  EXPECT_EQ(runs, 3u);
  EXPECT_EQ(fired_at, (std::vector<uint64_t>{0, 1, 2}));
}

}  // namespace
}  // namespace tallystick
