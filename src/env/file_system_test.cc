// What every FileSystem must do, over the real one and the simulated one: a scenario that passes in
// memory says something about the machine only if both answer alike.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "env/env.h"
#include "env/posix_fs.h"
#include "testing/sim_fs.h"
#include "testing/temp_dir.h"

namespace tallystick {
namespace {

enum class Kind { kReal, kSimulated };

class FileSystemTest : public testing::TestWithParam<Kind> {
 protected:
  FileSystemTest() {
    if (GetParam() == Kind::kReal) {
      temp_ = std::make_unique<TempDir>();
      fs_ = std::make_unique<PosixFs>();
      root_ = temp_->path();
    } else {
      fs_ = std::make_unique<SimFs>(1);
      root_ = "root";
      TALLY_CHECK(fs_->CreateDir(root_).ok());
    }
  }

  std::string In(std::string_view name) const { return JoinPath(root_, name); }
  std::unique_ptr<File> Create(std::string_view name, std::string_view text = "") {
    auto file = fs_->Open(In(name), OpenMode::kCreateNew);
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    EXPECT_TRUE(WriteFully(**file, 0, AsByteSpan(text)).ok());
    return std::move(file).value();
  }
  std::string Read(std::string_view name) {
    auto bytes = ReadWholeFile(*fs_, In(name), 1 << 20);
    return bytes.ok() ? std::string(AsText(*bytes)) : std::string(bytes.status().reason());
  }

  std::unique_ptr<TempDir> temp_;
  std::unique_ptr<FileSystem> fs_;
  std::string root_;
};

TEST_P(FileSystemTest, WhatIsWrittenIsRead) {
  auto file = Create("f", "0123456789");
  Bytes out(4);
  EXPECT_EQ(*file->ReadAt(3, out), 4u);
  EXPECT_EQ(AsText(out), "3456");
  EXPECT_EQ(*file->Size(), 10u);
  EXPECT_EQ(file->path(), In("f"));
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_EQ(Read("f"), "0123456789");
}

TEST_P(FileSystemTest, ReadingAtTheEndIsShortAndThenEmpty) {
  auto file = Create("f", "0123456789");
  Bytes out(8);
  EXPECT_EQ(*file->ReadAt(6, out), 4u);
  EXPECT_EQ(*file->ReadAt(10, out), 0u);
  EXPECT_EQ(*file->ReadAt(100'000, out), 0u);
}

TEST_P(FileSystemTest, AHoleReadsAsZeros) {
  auto file = Create("f");
  ASSERT_TRUE(WriteFully(*file, 10'000, AsByteSpan("x")).ok());
  Bytes out(10'001);
  ASSERT_TRUE(ReadFully(*file, 0, out).ok());
  EXPECT_EQ(std::ranges::count(out, std::byte{0}), 10'000);
}

TEST_P(FileSystemTest, TruncateCutsAndGrowsWithZeros) {
  auto file = Create("f", "0123456789");
  ASSERT_TRUE(file->Truncate(4).ok());
  EXPECT_EQ(Read("f"), "0123");
  ASSERT_TRUE(file->Truncate(6).ok());
  EXPECT_EQ(Read("f"), std::string("0123\0\0", 6));
}

TEST_P(FileSystemTest, OpenModesTakeExistenceSeriously) {
  EXPECT_EQ(fs_->Open(In("f"), OpenMode::kRead).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(fs_->Open(In("f"), OpenMode::kReadWrite).status().code(), StatusCode::kNotFound);
  Create("f", "text");
  const Status again = fs_->Open(In("f"), OpenMode::kCreateNew).status();
  EXPECT_EQ(again.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(again.reason(), "exists");
  EXPECT_EQ(Read("f"), "text");
  auto file = fs_->Open(In("f"), OpenMode::kReadWrite);
  ASSERT_TRUE(WriteFully(**file, 0, AsByteSpan("T")).ok());
  EXPECT_EQ(Read("f"), "Text");
  EXPECT_EQ(fs_->Open(In("no/f"), OpenMode::kCreateNew).status().code(), StatusCode::kNotFound);
}

TEST_P(FileSystemTest, MessagesNameThePath) {
  EXPECT_NE(fs_->Open(In("gone"), OpenMode::kRead).status().message().find(In("gone")),
            std::string::npos);
  EXPECT_NE(fs_->Remove(In("gone")).message().find(In("gone")), std::string::npos);
  EXPECT_NE(fs_->Rename(In("gone"), In("x")).message().find(In("gone")), std::string::npos);
  EXPECT_NE(fs_->List(In("gone")).status().message().find(In("gone")), std::string::npos);
}

TEST_P(FileSystemTest, ALinkIsAnotherNameForTheSameFile) {
  Create("f", "text");
  ASSERT_TRUE(fs_->CreateDir(In("d")).ok());
  ASSERT_TRUE(fs_->Link(In("f"), In("d/g")).ok());
  EXPECT_EQ(Read("d/g"), "text");
  EXPECT_EQ(fs_->Link(In("f"), In("d/g")).reason(), "exists");
  EXPECT_EQ(fs_->Link(In("gone"), In("d/h")).code(), StatusCode::kNotFound);
  EXPECT_EQ(fs_->Link(In("f"), In("gone/h")).code(), StatusCode::kNotFound);
  // Another file in the place of the first name leaves the second as it was.
  Create("new", "other");
  ASSERT_TRUE(fs_->Rename(In("new"), In("f")).ok());
  EXPECT_EQ(Read("f"), "other");
  EXPECT_EQ(Read("d/g"), "text");
  ASSERT_TRUE(fs_->Remove(In("f")).ok());
  EXPECT_EQ(Read("d/g"), "text");
}

TEST_P(FileSystemTest, TheRealPathIsAbsolute) {
  ASSERT_TRUE(fs_->CreateDir(In("d")).ok());
  const auto root = fs_->RealPath(root_);
  ASSERT_TRUE(root.ok()) << root.status().ToString();
  EXPECT_EQ(root->front(), '/');
  EXPECT_EQ(*fs_->RealPath(In("d")), *root + "/d");
  EXPECT_EQ(*fs_->RealPath(In("./d/")), *root + "/d");
  EXPECT_EQ(fs_->RealPath(In("gone")).status().code(), StatusCode::kNotFound);
}

TEST_P(FileSystemTest, RemoveTakesTheNameAndAnOpenFileStaysReadable) {
  auto file = Create("f", "text");
  ASSERT_TRUE(fs_->Remove(In("f")).ok());
  EXPECT_FALSE(*fs_->Exists(In("f")));
  Bytes out(4);
  ASSERT_TRUE(ReadFully(*file, 0, out).ok());
  EXPECT_EQ(AsText(out), "text");
  EXPECT_EQ(fs_->Remove(In("f")).code(), StatusCode::kNotFound);
}

TEST_P(FileSystemTest, ARemovedOpenFileSurvivesASyncOfItsDirectory) {
  auto file = Create("f", "text");
  ASSERT_TRUE(fs_->Remove(In("f")).ok());
  ASSERT_TRUE(fs_->SyncDir(root_).ok());
  ASSERT_TRUE(WriteFully(*file, 4, AsByteSpan("more")).ok());
  EXPECT_EQ(*file->Size(), 8u);
}

TEST_P(FileSystemTest, RenameReplacesItsTarget) {
  Create("a", "new");
  Create("b", "old");
  ASSERT_TRUE(fs_->Rename(In("a"), In("b")).ok());
  EXPECT_EQ(Read("b"), "new");
  EXPECT_FALSE(*fs_->Exists(In("a")));
  EXPECT_EQ(fs_->Rename(In("a"), In("b")).code(), StatusCode::kNotFound);
  EXPECT_EQ(Read("b"), "new");
}

TEST_P(FileSystemTest, AnOpenFileFollowsItsRename) {
  auto file = Create("a", "old");
  ASSERT_TRUE(fs_->Rename(In("a"), In("b")).ok());
  ASSERT_TRUE(WriteFully(*file, 0, AsByteSpan("new")).ok());
  EXPECT_EQ(Read("b"), "new");
}

TEST_P(FileSystemTest, ARenameToAnotherFolderMovesTheFile) {
  ASSERT_TRUE(fs_->CreateDir(In("d")).ok());
  Create("a", "text");
  EXPECT_EQ(fs_->Rename(In("a"), In("no/a")).code(), StatusCode::kNotFound);
  ASSERT_TRUE(fs_->Rename(In("a"), In("d/b")).ok());
  EXPECT_EQ(Read("d/b"), "text");
  EXPECT_FALSE(*fs_->Exists(In("a")));
  ASSERT_TRUE(fs_->SyncDir(In("d")).ok());
  ASSERT_TRUE(fs_->SyncDir(root_).ok());
}

TEST_P(FileSystemTest, DirectoriesAreMadeOnceAndListed) {
  ASSERT_TRUE(fs_->CreateDir(In("d")).ok());
  ASSERT_TRUE(fs_->CreateDir(In("d")).ok());
  EXPECT_EQ(fs_->CreateDir(In("no/d")).code(), StatusCode::kNotFound);
  Create("d/x");
  Create("d/y");
  ASSERT_TRUE(fs_->SyncDir(In("d")).ok());
  auto names = fs_->List(In("d"));
  ASSERT_TRUE(names.ok());
  for (const char* name : {"x", "y"}) EXPECT_EQ(std::ranges::count(*names, name), 1);
  EXPECT_EQ(std::ranges::count(*names, "."), 0);
  EXPECT_EQ(fs_->List(In("gone")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(fs_->SyncDir(In("gone")).code(), StatusCode::kNotFound);
}

TEST_P(FileSystemTest, ExistsKnowsFilesAndDirectories) {
  Create("f");
  EXPECT_TRUE(*fs_->Exists(In("f")));
  EXPECT_TRUE(*fs_->Exists(root_));
  EXPECT_FALSE(*fs_->Exists(In("gone")));
  EXPECT_FALSE(*fs_->Exists(In("gone/deeper")));
}

TEST_P(FileSystemTest, ALockIsHeldOnceAndFreeAgainAfterwards) {
  auto lock = fs_->Lock(In("LOCK"));
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(*fs_->Exists(In("LOCK")));
  const Status second = fs_->Lock(In("LOCK")).status();
  EXPECT_EQ(second.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(second.reason(), "locked");
  EXPECT_NE(second.message().find("process"), std::string::npos) << second.message();
  lock->reset();
  EXPECT_TRUE(fs_->Lock(In("LOCK")).ok());
}

TEST_P(FileSystemTest, AForeignLockIsHeldWithoutWritingToIt) {
  const Bytes content(3, std::byte{'x'});
  auto file = fs_->Open(In("LOCK"), OpenMode::kCreateNew);
  ASSERT_TRUE(file.ok() && WriteFully(**file, 0, content).ok());
  auto lock = fs_->LockForeign(In("LOCK"));
  ASSERT_TRUE(lock.ok()) << lock.status().ToString();
  EXPECT_EQ(fs_->LockForeign(In("LOCK")).status().reason(), "locked");
  EXPECT_EQ(fs_->Lock(In("LOCK")).status().reason(), "locked");
  lock->reset();
  EXPECT_TRUE(fs_->LockForeign(In("LOCK")).ok());
  EXPECT_EQ(*ReadWholeFile(*fs_, In("LOCK"), 16), content);
}

TEST_P(FileSystemTest, DirectWritesOfWholeBlocksWorkOrAreRefusedByName) {
  auto file = fs_->Open(In("f"), OpenMode::kCreateNew, {.direct_dsync = true});
  AlignedBuffer buffer(8192);
  std::ranges::fill(buffer.span(), std::byte{7});
  Status status = file.ok() ? WriteFully(**file, 4096, buffer.span()) : file.status();
  if (!status.ok()) {
    EXPECT_EQ(status.reason(), "direct_refused") << status.ToString();
    return;
  }
  EXPECT_EQ(*(*file)->Size(), 12'288u);
  AlignedBuffer out(8192);
  ASSERT_TRUE(ReadFully(**file, 4096, out.span()).ok());
  EXPECT_TRUE(std::ranges::equal(out.span(), buffer.span()));
  EXPECT_EQ(Read("f").substr(0, 4096), std::string(4096, '\0'));
}

INSTANTIATE_TEST_SUITE_P(All, FileSystemTest, testing::Values(Kind::kReal, Kind::kSimulated),
                         [](const auto& info) {
                           return info.param == Kind::kReal ? "Real" : "Simulated";
                         });

// --- the real machine only ---

TEST(PosixFsTest, TheHolderOfALockIsNamedByItsProcess) {
  TempDir dir;
  PosixFs fs;
  const std::string path = JoinPath(dir.path(), "LOCK");
  auto lock = fs.Lock(path);
  ASSERT_TRUE(lock.ok());
  EXPECT_NE(fs.Lock(path).status().message().find(std::to_string(getpid())), std::string::npos);
}

TEST(PosixFsTest, AForeignLockThatIsNotThereIsNotMade) {
  TempDir dir;
  PosixFs fs;
  const std::string path = JoinPath(dir.path(), "LOCK");
  EXPECT_EQ(fs.LockForeign(path).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(*fs.Exists(path));
}

TEST(PosixFsTest, ALockEndsWithItsProcess) {
  TempDir dir;
  PosixFs fs;
  const std::string path = JoinPath(dir.path(), "LOCK");
  const pid_t child = fork();
  if (child == 0) {
    auto lock = fs.Lock(path);
    _exit(lock.ok() ? 0 : 1);  // without unlocking
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(fs.Lock(path).ok());
}

TEST(PosixFsTest, ALockIsNeverTakenThroughALink) {
  TempDir temp;
  PosixFs fs;
  const std::string path = JoinPath(temp.path(), "precious");
  {
    auto file = fs.Open(path, OpenMode::kCreateNew);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteFully(**file, 0, AsByteSpan("content")).ok());
  }
  const std::string lock = JoinPath(temp.path(), "LOCK");
  ASSERT_EQ(symlink(path.c_str(), lock.c_str()), 0);
  EXPECT_EQ(fs.Lock(lock).status().code(), StatusCode::kIoError);
  EXPECT_EQ(AsText(*ReadWholeFile(fs, path, 100)), "content");
}

TEST(PosixFsTest, APipeIsRefusedAndNotWaitedFor) {
  TempDir temp;
  PosixFs fs;
  const std::string path = JoinPath(temp.path(), "pipe");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const auto file = fs.Open(path, OpenMode::kRead);
  EXPECT_EQ(file.status().code(), StatusCode::kIoError);
  EXPECT_NE(file.status().message().find("no regular file"), std::string::npos);
  EXPECT_EQ(fs.Lock(path).status().code(), StatusCode::kIoError);
}

TEST(PosixFsTest, FreeBytesAreThoseOfTheDirectory) {
  TempDir temp;
  PosixFs fs;
  const auto free = fs.FreeBytes(temp.path());
  ASSERT_TRUE(free.ok()) << free.status().ToString();
  EXPECT_GT(*free, 0u);
  const auto missing = fs.FreeBytes(JoinPath(temp.path(), "nowhere"));
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("statvfs"), std::string::npos);
}

TEST(PosixFsTest, AFullDeviceIsNoSpace) {
  PosixFs fs;
  auto file = fs.Open("/dev/full", OpenMode::kReadWrite);
  ASSERT_TRUE(file.ok());
  const Status status = WriteFully(**file, 0, AsByteSpan("x"));
  EXPECT_EQ(status.code(), StatusCode::kNoSpace);
  EXPECT_NE(status.message().find("/dev/full"), std::string::npos);
}

TEST(RealEnvTest, ClockAndRandomnessAreAlive) {
  Env& env = Env::Real();
  EXPECT_GT(env.clock().WallMicros(), 1'577'836'800'000'000);  // 2020
  const int64_t before = env.clock().MonotonicMicros();
  EXPECT_GE(env.clock().MonotonicMicros(), before);
  EXPECT_NE(env.random().Next64(), env.random().Next64());
}

}  // namespace
}  // namespace tallystick
