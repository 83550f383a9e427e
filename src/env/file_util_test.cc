// The helpers over the seam, on a simulated file system whose calls can be made to fail.
#include <gtest/gtest.h>

#include <errno.h>

#include <memory>
#include <string>

#include "env/env.h"
#include "testing/fault_fs.h"
#include "testing/sim_fs.h"
#include "testing/trace_fs.h"

namespace tallystick {
namespace {

Bytes Text(std::string_view text) {
  const ByteSpan bytes = AsByteSpan(text);
  return {bytes.begin(), bytes.end()};
}

class FileUtilTest : public testing::Test {
 protected:
  FileUtilTest() { EXPECT_TRUE(disk_.CreateDir("d").ok()); }

  std::string ContentOf(const std::string& path) {
    auto content = disk_.Content(path);
    return content.ok() ? std::string(AsText(*content)) : "(none)";
  }
  Status WriteAtomic(std::string_view text, bool* renamed) {
    return WriteFileAtomic(faults_, "d", "d/f", AsByteSpan(text), renamed);
  }

  SimFs disk_{1};
  FaultFs faults_{disk_};
};

TEST_F(FileUtilTest, ReadFullyContinuesShortReads) {
  auto file = faults_.Open("d/f", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, AsByteSpan("0123456789")).ok());
  faults_.Set(Fault{.op = FaultOp::kShortRead, .at = 0, .for_ever = true});
  Bytes out(8);
  ASSERT_TRUE(ReadFully(**file, 2, out).ok());
  EXPECT_EQ(AsText(out), "23456789");
  EXPECT_GT(faults_.fired(), 1u);
}

TEST_F(FileUtilTest, ReadFullySaysWhereAFileEnds) {
  auto file = disk_.Open("d/f", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, AsByteSpan("0123456789")).ok());
  Bytes out(8);
  const Status status = ReadFully(**file, 5, out);
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_NE(status.message().find("d/f is short"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("10"), std::string::npos) << status.message();
}

TEST_F(FileUtilTest, ReadFullyPassesAnErrorOnAndDoesNotTakeItForTheEnd) {
  auto file = faults_.Open("d/f", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, AsByteSpan("0123456789")).ok());
  faults_.Set(Fault{.op = FaultOp::kRead, .at = 0});
  Bytes out(8);
  EXPECT_EQ(ReadFully(**file, 0, out).code(), StatusCode::kIoError);
}

TEST_F(FileUtilTest, WriteFullyContinuesShortWrites) {
  auto file = faults_.Open("d/f", OpenMode::kCreateNew);
  faults_.Set(Fault{.op = FaultOp::kShortWrite, .at = 0, .for_ever = true});
  const std::string text(20'000, 'x');
  ASSERT_TRUE(WriteFully(**file, 3, AsByteSpan(text)).ok());
  EXPECT_GT(faults_.fired(), 1u);
  EXPECT_EQ(ContentOf("d/f"), std::string(3, '\0') + text);
}

TEST_F(FileUtilTest, AFileLargerThanAnySuchFileIsCorruption) {
  auto file = disk_.Open("d/f", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, AsByteSpan("0123456789")).ok());
  EXPECT_EQ(*ReadWholeFile(disk_, "d/f", 10), Text("0123456789"));
  EXPECT_EQ(ReadWholeFile(disk_, "d/f", 9).status().code(), StatusCode::kCorruption);
  EXPECT_EQ(ReadWholeFile(disk_, "d/g", 9).status().code(), StatusCode::kNotFound);
}

TEST_F(FileUtilTest, AnAtomicWriteIsWrittenSyncedRenamedAndItsDirectorySynced) {
  TraceFs trace(disk_, "d");
  bool renamed = false;
  ASSERT_TRUE(WriteFileAtomic(trace, "d", "d/f", AsByteSpan("new"), &renamed).ok());
  EXPECT_TRUE(renamed);
  EXPECT_EQ(trace.Text(),
            "create f.tmp\n"
            "write f.tmp 0+3\n"
            "sync f.tmp\n"
            "rename f.tmp f\n"
            "syncdir .\n");
}

TEST_F(FileUtilTest, AnAtomicWriteReplacesALeftoverTemporaryFile) {
  auto leftover = disk_.Open("d/f.tmp", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**leftover, 0, AsByteSpan("longer than the new content")).ok());
  bool renamed = false;
  ASSERT_TRUE(WriteAtomic("new", &renamed).ok());
  EXPECT_EQ(ContentOf("d/f"), "new");
}

// With each call failing in turn: before the rename nothing changed and no temporary file is left;
// a caller that is told "not renamed" can rely on the old content, whatever crash follows.
TEST_F(FileUtilTest, AFailedAtomicWriteSaysWhetherTheOldContentIsCertain) {
  bool renamed = false;
  ASSERT_TRUE(WriteAtomic("old", &renamed).ok());
  ASSERT_TRUE(disk_.SyncDir(".").ok());
  uint64_t failed = 0;
  for (const FaultOp op :
       {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync, FaultOp::kRename, FaultOp::kSyncDir}) {
    failed += ForEachFault({.op = op, .error = EIO}, [&](const Fault& fault) {
      auto fork = disk_.Clone();
      FaultFs faults(*fork);
      faults.Set(fault);
      bool done = true;
      const Status status = WriteFileAtomic(faults, "d", "d/f", AsByteSpan("new"), &done);
      if (faults.fired() == 0) return false;
      EXPECT_FALSE(status.ok());
      EXPECT_EQ(done, op == FaultOp::kRename || op == FaultOp::kSyncDir);
      if (done) return true;
      EXPECT_FALSE(*fork->Exists("d/f.tmp"));
      for (uint64_t seed = 0; seed < 30; ++seed) {
        auto after = fork->Clone();
        after->Restart(CrashKind::kPowerCut, seed);
        EXPECT_EQ(AsText(*after->Content("d/f")), "old");
      }
      return true;
    });
  }
  EXPECT_EQ(failed, 5u);
}

TEST(PathTest, JoinAndParent) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
  EXPECT_EQ(ParentPath("a/b"), "a");
  EXPECT_EQ(ParentPath("a/b/"), "a");
  EXPECT_EQ(ParentPath("a"), ".");
  EXPECT_EQ(ParentPath("/a"), "/");
}

TEST(AlignedBufferTest, IsAlignedAndZeroed) {
  AlignedBuffer buffer(5000);
  EXPECT_EQ(buffer.size(), 5000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
  for (const std::byte b : buffer.span()) ASSERT_EQ(b, std::byte{0});
}

}  // namespace
}  // namespace tallystick
