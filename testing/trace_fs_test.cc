#include "testing/trace_fs.h"

#include <errno.h>
#include <gtest/gtest.h>

#include "env/env.h"
#include "testing/fault_fs.h"
#include "testing/sim_fs.h"

namespace tallystick {
namespace {

TEST(TraceFsTest, WritesDownWhatChangesSomethingInOrder) {
  SimFs disk;
  TraceFs fs(disk, "data");
  ASSERT_TRUE(fs.CreateDir("data").ok());
  ASSERT_TRUE(fs.SyncDir(".").ok());
  ASSERT_TRUE(fs.CreateDir("data/wal").ok());
  ASSERT_TRUE(fs.Lock("data/LOCK").ok());
  {
    auto file = fs.Open("data/wal/000003", OpenMode::kCreateNew, {.direct_dsync = true});
    AlignedBuffer block(4096);
    ASSERT_TRUE(WriteFully(**file, 4096, block.span()).ok());
    ASSERT_TRUE((*file)->Truncate(8192).ok());
    ASSERT_TRUE((*file)->Sync().ok());
    ASSERT_TRUE(ReadFully(**file, 0, block.span()).ok());
  }
  ASSERT_TRUE(fs.Open("data/wal/000003", OpenMode::kRead).ok());
  ASSERT_TRUE(fs.Rename("data/wal/000003", "data/wal/000004").ok());
  ASSERT_TRUE(fs.SyncDir("data/wal").ok());
  ASSERT_TRUE(fs.List("data/wal").ok());
  ASSERT_TRUE(fs.Exists("data/wal").ok());
  fs.Note("done");
  ASSERT_TRUE(fs.Remove("data/wal/000004").ok());
  ASSERT_TRUE(fs.SyncDir("data").ok());
  EXPECT_EQ(fs.Text(),
            "mkdir .\n"
            "syncdir ..\n"
            "mkdir wal\n"
            "lock LOCK\n"
            "create wal/000003 direct\n"
            "write wal/000003 4096+4096\n"
            "truncate wal/000003 8192\n"
            "sync wal/000003\n"
            "rename wal/000003 wal/000004\n"
            "syncdir wal\n"
            "# done\n"
            "remove wal/000004\n"
            "syncdir .\n");
}

TEST(TraceFsTest, AFailureIsMarkedWithItsReason) {
  SimFs disk;
  FaultFs faults(disk);
  TraceFs fs(faults, ".");
  auto file = fs.Open("f", OpenMode::kCreateNew);
  faults.Set(Fault{.op = FaultOp::kWrite, .error = ENOSPC});
  EXPECT_FALSE((*file)->WriteAt(0, AsByteSpan("text")).ok());
  faults.Set(Fault{.op = FaultOp::kSync, .error = EIO});
  EXPECT_FALSE((*file)->Sync().ok());
  EXPECT_EQ(fs.Text(), "create f\nwrite f 0+4 !no_space\nsync f !io_error\n");
}

}  // namespace
}  // namespace tallystick
