// Writing and reading WAL files on a simulated machine: preparing, recycling, poisoning, planning.
#include "wal/wal_writer.h"

#include <gtest/gtest.h>

#include "model/batch_builder.h"
#include "testing/fault_fs.h"
#include "testing/golden.h"
#include "testing/sim_env.h"
#include "testing/sim_fs.h"
#include "wal/wal_inspect.h"
#include "wal/wal_reader.h"

namespace tallystick {
namespace {

constexpr uint64_t kFileBytes = 8 * kBlockBytes;

DatabaseId TestId() {
  DatabaseId id;
  id.bytes.fill(0x5a);
  return id;
}

Bytes Records(uint32_t first, uint32_t count) {
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, {});
  for (uint32_t i = first; i < first + count; ++i) {
    const std::string id = "event-" + std::to_string(i);
    EventView event;
    event.event_id = id;
    event.account_id = "acme";
    event.product_id = "inference";
    event.meter_id = "tokens";
    event.timestamp_ms = 1'700'000'000'000;
    event.quantity = Quantity::FromInteger(i);
    batch.Add(event);
  }
  const ByteSpan records = BatchBuilder::Of(batch).records();
  return {records.begin(), records.end()};
}

class WalTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    fs_.SetDirectRefused(!GetParam());
    ASSERT_TRUE(fs_.CreateDir("wal").ok());
    ASSERT_TRUE(fs_.SyncDir(".").ok());
  }

  WalFileSpec Spec(uint64_t number) {
    return {.dir = "wal", .database_id = TestId(), .number = {number}, .file_bytes = kFileBytes};
  }
  std::unique_ptr<WalWriter> Prepare(uint64_t number, std::optional<FileNumber> recycle = {}) {
    auto writer = WalWriter::Prepare(front_, random_, Spec(number), recycle);
    EXPECT_TRUE(writer.ok()) << writer.status().ToString();
    return std::move(writer).value();
  }
  // The next frame in order, of `rows` rows; 0 rows: a mark.
  Status Append(WalWriter& writer, uint32_t rows) {
    FrameBuffer frame(100);
    if (rows > 0) frame.Append(Records(static_cast<uint32_t>(next_.next_lsn.value), rows));
    FrameHeader header;
    header.type = rows > 0 ? FrameType::kData : FrameType::kMark;
    header.number = next_.next_frame;
    header.first_lsn = next_.next_lsn;
    header.commit_time_us = ++time_;
    header.rows = rows;
    Status status = writer.Append(header, frame);
    if (status.ok()) {
      ++next_.next_frame.value;
      next_.next_lsn.value += rows;
    }
    return status;
  }
  Result<WalPlan> Plan(std::vector<ListedWalFile> list, WalPosition start = {}) {
    return PlanWal(fs_, "wal", TestId(), list, start);
  }
  void Damage(const std::string& path, uint64_t offset) {
    Bytes bytes = *fs_.Content(path);
    bytes[offset] ^= std::byte{1};
    fs_.SetContent(path, bytes);
  }

  SimFs fs_{3};
  FaultFs front_{fs_};
  SeededRandom random_{5};
  WalPosition next_;
  int64_t time_ = 1'700'000'000'000'000;
};

INSTANTIATE_TEST_SUITE_P(DirectAndSynced, WalTest, testing::Bool());

TEST_P(WalTest, WhatIsAppendedIsPlannedAndReplayed) {
  auto writer = Prepare(1);
  ASSERT_TRUE(Append(*writer, 1).ok());
  ASSERT_TRUE(Append(*writer, 100).ok());
  ASSERT_TRUE(Append(*writer, 0).ok());
  auto plan = Plan({{{1}, std::nullopt}});
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->files[0].frames, 3u);
  EXPECT_EQ(plan->files[0].rows, 101u);
  EXPECT_EQ(plan->files[0].verdict, TailVerdict::kCleanEnd);
  EXPECT_EQ(plan->end.next_frame, FrameNumber{4});
  EXPECT_EQ(plan->end.next_lsn, Lsn{102});
  EXPECT_EQ(plan->last_frame.size(), kBlockBytes);
  std::vector<uint64_t> frames;
  Bytes scratch;
  ASSERT_TRUE(ReplayWalFile(fs_, "wal", plan->files[0], &scratch, [&](const FrameView& frame) {
                frames.push_back(frame.header.number.value);
                return Status::Ok();
              }).ok());
  EXPECT_EQ(frames, (std::vector<uint64_t>{1, 2, 3}));
}

TEST_P(WalTest, AnAppendedFrameSurvivesEveryPowerCut) {
  auto writer = Prepare(1);
  ASSERT_TRUE(Append(*writer, 30).ok());
  for (uint64_t seed = 0; seed < 50; ++seed) {
    auto fork = fs_.Clone();
    fork->Restart(CrashKind::kPowerCut, seed);
    auto plan =
        PlanWal(*fork, "wal", TestId(), std::vector<ListedWalFile>{{{1}, std::nullopt}}, {});
    ASSERT_TRUE(plan.ok()) << plan.status().ToString();
    EXPECT_EQ(plan->files[0].rows, 30u);
  }
}

TEST_P(WalTest, ARecycledFileHasANewSaltAndItsOldFramesAreNothing) {
  auto old = Prepare(1);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Append(*old, 1).ok());
  old.reset();
  auto writer = Prepare(2, FileNumber{1});
  EXPECT_FALSE(*fs_.Exists("wal/000001"));
  const WalPosition start = next_;
  // The frame lies on an old one; behind it old frames stand, whole, with good checksums.
  ASSERT_TRUE(Append(*writer, 1).ok());
  auto plan = Plan({{{2}, std::nullopt}}, start);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->files[0].frames, 1u);
  EXPECT_EQ(plan->files[0].verdict, TailVerdict::kCleanEnd);
}

TEST_P(WalTest, CrashedAnywhereARecycledFileIsWholeOrUnlisted) {
  auto old = Prepare(1);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Append(*old, 1).ok());
  old.reset();
  const WalPosition start = next_;
  uint64_t tried = 0, prepared = 0;
  for (uint64_t operation = 0;; ++operation) {
    bool crashed = false;
    for (uint64_t seed = 0; seed < 40; ++seed) {
      for (CrashKind kind : {CrashKind::kKill, CrashKind::kPowerCut}) {
        auto fork = fs_.Clone();
        fork->CrashAt(fork->operations() + operation, seed);
        auto writer = WalWriter::Prepare(*fork, random_, Spec(2), FileNumber{1});
        crashed = fork->crashed();
        const bool usable = writer.ok();
        writer = Status::Ok();
        fork->Restart(kind, seed);
        ++tried;
        if (!usable) continue;  // nobody lists it
        ++prepared;
        auto plan =
            PlanWal(*fork, "wal", TestId(), std::vector<ListedWalFile>{{{2}, std::nullopt}}, start);
        ASSERT_TRUE(plan.ok()) << "operation " << operation << " seed " << seed << ": "
                               << plan.status().ToString();
        ASSERT_EQ(plan->files[0].frames, 0u);
      }
    }
    if (!crashed) break;
  }
  EXPECT_GT(tried, 200u);
  EXPECT_GT(prepared, 0u);
}

TEST_P(WalTest, AFailedAppendPoisonsForGoodAndTouchesNothingMore) {
  auto writer = Prepare(1);
  ASSERT_TRUE(Append(*writer, 1).ok());
  for (FaultOp op : {FaultOp::kWrite, FaultOp::kSync}) {
    if (op == FaultOp::kSync && GetParam()) continue;
    auto fork = fs_.Clone();
    FaultFs front(*fork);
    auto victim = WalWriter::Prepare(front, random_, Spec(10), std::nullopt);
    ASSERT_TRUE(victim.ok());
    front.Set(Fault{.op = op, .at = 0});
    EXPECT_EQ(Append(**victim, 1).reason(), "log_poisoned");
    const uint64_t writes = front.calls(FaultOp::kWrite), syncs = front.calls(FaultOp::kSync);
    EXPECT_EQ(Append(**victim, 1).reason(), "log_poisoned");
    EXPECT_EQ(Append(**victim, 0).reason(), "log_poisoned") << "no mark either";
    EXPECT_EQ(front.calls(FaultOp::kWrite), writes);
    EXPECT_EQ(front.calls(FaultOp::kSync), syncs);
  }
}

TEST_P(WalTest, AFailedPreparationLeavesNoFile) {
  for (FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync, FaultOp::kSyncDir}) {
    if (op == FaultOp::kSync && GetParam()) continue;
    front_.Set(Fault{.op = op, .at = 0, .error = 28});
    auto writer = WalWriter::Prepare(front_, random_, Spec(7), std::nullopt);
    EXPECT_EQ(writer.status().code(), StatusCode::kNoSpace) << FaultOpName(op);
    EXPECT_FALSE(*fs_.Exists("wal/000007")) << FaultOpName(op);
  }
}

TEST_P(WalTest, DamageIsReportedWithFileAndOffset) {
  auto writer = Prepare(1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Append(*writer, 1).ok());
  const std::vector<ListedWalFile> list = {{{1}, std::nullopt}};
  auto refused = [&](const std::string& offset) {
    const Status status = Plan(list).status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption);
    EXPECT_NE(status.message().find("wal/000001 at offset " + offset), std::string::npos)
        << status.message();
  };
  Damage("wal/000001", 2 * kBlockBytes + 70);  // the second of three frames
  refused("8192");
  Damage("wal/000001", 2 * kBlockBytes + 70);
  ASSERT_TRUE(Plan(list).ok());
  Damage("wal/000001", 20);
  refused("0");
  Damage("wal/000001", 20);
  // The last frame: nothing behind it, so it is a torn tail, and kept aside.
  Damage("wal/000001", 3 * kBlockBytes + 70);
  auto plan = Plan(list);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->files[0].verdict, TailVerdict::kTornTail);
  EXPECT_FALSE(plan->torn_bytes.empty());
  // With its end listed it is missed.
  EXPECT_EQ(Plan({{{1}, FrameNumber{3}}}).status().code(), StatusCode::kCorruption);
}

TEST_P(WalTest, AFullFileContinuesInTheNext) {
  auto first = Prepare(1);
  while (first->Fits(100)) ASSERT_TRUE(Append(*first, 1).ok());
  auto second = Prepare(2);
  ASSERT_TRUE(Append(*second, 1).ok());
  Prepare(3);
  const std::vector<ListedWalFile> list = {{{1}, {}}, {{2}, {}}, {{3}, {}}};
  auto plan = Plan(list);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_EQ(plan->files[0].verdict, TailVerdict::kContinues);
  EXPECT_EQ(plan->files[1].verdict, TailVerdict::kCleanEnd);
  EXPECT_EQ(plan->last_frame_file, 1u);
  // A hole at the end of the first file is a hole, though nothing stands behind it there.
  Damage("wal/000001", first->offset() - kBlockBytes + 70);
  EXPECT_EQ(Plan(list).status().code(), StatusCode::kCorruption);
}

TEST_P(WalTest, AbsentForeignAndSwappedFilesAreTold) {
  auto writer = Prepare(1);
  ASSERT_TRUE(Append(*writer, 1).ok());
  auto message = [&](FileNumber number) {
    return Plan({{number, std::nullopt}}).status().message();
  };
  EXPECT_NE(message({9}).find("absent"), std::string::npos);
  const Bytes content = *fs_.Content("wal/000001");
  ASSERT_TRUE(fs_.Open("wal/000005", OpenMode::kCreateNew).ok());
  fs_.SetContent("wal/000005", content);
  EXPECT_NE(message({5}).find("its number is 1"), std::string::npos);
  DatabaseId other;
  EXPECT_NE(PlanWal(fs_, "wal", other, std::vector<ListedWalFile>{{{1}, {}}}, {})
                .status()
                .message()
                .find("belongs to database"),
            std::string::npos);
}

TEST_P(WalTest, AFrameOfAnUnknownTypeIsRefusedNotDropped) {
  auto writer = Prepare(1);
  ASSERT_TRUE(Append(*writer, 1).ok());
  // As a newer version would write it: type 3, everything else right.
  Bytes file = *fs_.Content("wal/000001");
  auto header = DecodeWalFileHeader(file);
  Bytes frame(kBlockBytes);
  FrameHeader mark{.salt = header->salt,
                   .number = {2},
                   .first_lsn = {2},
                   .commit_time_us = ++time_,
                   .type = FrameType::kMark};
  SealFrame(mark, frame);
  std::copy(frame.begin(), frame.end(), file.begin() + 2 * kBlockBytes);
  fs_.SetContent("wal/000001", file);
  ASSERT_TRUE(Plan({{{1}, {}}}).ok());
  ASSERT_EQ(Plan({{{1}, {}}})->files[0].frames, 2u);
  mark.type = static_cast<FrameType>(3);
  StoreFixed<uint8_t>(file.data() + 2 * kBlockBytes + 48, 3);
  ResealForTest(std::span(file).subspan(2 * kBlockBytes, kBlockBytes));
  fs_.SetContent("wal/000001", file);
  EXPECT_EQ(Plan({{{1}, {}}}).status().code(), StatusCode::kCorruption);
}

TEST(WalGolden, BytesAndInspection) {
  SimFs fs;
  SeededRandom random(5);
  ASSERT_TRUE(fs.CreateDir("wal").ok());
  auto writer = WalWriter::Prepare(
      fs, random, {.dir = "wal", .database_id = TestId(), .number = {42}, .file_bytes = kFileBytes},
      std::nullopt);
  ASSERT_TRUE(writer.ok());
  FrameBuffer frame(100);
  frame.Append(Records(1, 2));
  ASSERT_TRUE(
      (*writer)
          ->Append(
              {.number = {1}, .first_lsn = {1}, .commit_time_us = 1'700'000'000'000'000, .rows = 2},
              frame)
          .ok());
  frame.Clear();
  ASSERT_TRUE((*writer)
                  ->Append({.number = {2},
                            .first_lsn = {3},
                            .commit_time_us = 1'700'000'000'010'000,
                            .type = FrameType::kMark},
                           frame)
                  .ok());
  const Bytes content = *fs.Content("wal/000042");
  std::string text = "file header, then its checksum at the end of the block\n";
  text += HexDump(content.data(), 64) + HexDump(content.data() + kBlockBytes - 16, 16);
  text += "data frame: header of 64 bytes, records\n" + HexDump(content.data() + kBlockBytes, 208);
  text += "mark frame\n" + HexDump(content.data() + 2 * kBlockBytes, 64);
  EXPECT_EQ(CompareGolden("testdata/v1/wal.golden", text), "");
  std::string inspected;
  ASSERT_TRUE(InspectWal(fs, "wal/000042", false, &inspected).ok());
  ASSERT_TRUE(InspectWal(fs, "wal/000042", true, &inspected).ok());
  EXPECT_EQ(CompareGolden("testdata/v1/inspect_wal.golden", inspected), "");
  Bytes damaged = content;
  damaged[kBlockBytes + 100] ^= std::byte{1};
  fs.SetContent("wal/000042", damaged);
  EXPECT_EQ(InspectWal(fs, "wal/000042", false, &inspected).code(), StatusCode::kCorruption);
}

}  // namespace
}  // namespace tallystick
