// Compaction in a running database: answers do not change, nothing is lost by what fails, files go
// when nobody needs them, and ingest is held back before there are too many segments.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "testing/forged_sidecar.h"
#include "testing/pass_through_fs.h"
#include "testing/rig.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

OpenOptions Options(uint32_t fan_in) {
  OpenOptions options = SmallOptions(true);
  options.compaction_fan_in = fan_in;
  options.wal_file_bytes = 600 * 4096;  // a life's rows are one memtable
  options.batch_bytes_max = 2'000'000;  // also what the first file of a life has room for
  options.memtable_rows_max = 1000;
  options.queue_bytes_max = 4 << 20;
  return options;
}

// Says that so much is free.
class RoomFs final : public PassThroughFs {
 public:
  using PassThroughFs::PassThroughFs;
  Result<uint64_t> FreeBytes(const std::string&) override { return free_bytes; }

  uint64_t free_bytes = 0;
};

class CompactionTest : public testing::Test {
 protected:
  // Each life leaves one segment.
  void MakeSegments(Rig& rig, int segments, int rows = 6) {
    for (int i = 0; i < segments; ++i) {
      rig.Open();
      rig.Ingest(next_id_, next_id_ + rows);
      // A conflict with something older, which is quarantined.
      const std::vector<Event> conflict = {SmallEvent(next_id_ / 2, 1)};
      rig.model.Sent(conflict);
      auto answer = rig.machine.IngestInTheEnd(conflict);
      ASSERT_TRUE(answer.ok());
      ASSERT_EQ(rig.model.Answered(conflict, *answer), "");
      next_id_ += rows;
      ASSERT_TRUE(rig.machine.Close().ok());
    }
  }
  static void OpenWith(Rig& rig, const OpenOptions& options) {
    rig.machine.SetOptions(options);
    rig.Open();
  }
  // Runs until the merge that goes on is in this phase.
  static void RunTo(Rig& rig, std::string_view phase) {
    ASSERT_TRUE(rig.machine.executor().RunUntil([&] {
      const DbStatus status = rig.status();
      return !status.compacting.empty() && status.compacting.back().phase == phase;
    })) << phase;
  }
  static void Flip(Rig& rig, const std::string& suffix, uint64_t number) {
    const std::string path = fmt::format("{}/{:06}{}", Rig::kSegments, number, suffix);
    Bytes content = rig.Content(path);
    content[content.size() / 3] ^= std::byte{4};
    rig.machine.fs().SetContent(path, content);
  }

  // Nothing is free until the test says so.
  RoomFs& LimitRoom(Rig& rig) {
    room_ = std::make_unique<RoomFs>(rig.machine.fs());
    rig.machine.SetFileSystem(room_.get());
    return *room_;
  }

  int next_id_ = 0;

 private:
  std::unique_ptr<RoomFs> room_;
};

TEST_F(CompactionTest, MergesWhatIsDueAndDeletesTheInputs) {
  Rig rig(Options(0));
  MakeSegments(rig, 9);
  OpenWith(rig, Options(3));
  rig.machine.RunUntilIdle();
  const DbStatus status = rig.status();
  EXPECT_EQ(status.segments, 1u);
  EXPECT_EQ(status.compactions, 4u);
  EXPECT_EQ(status.segments_deleted, 12u);
  EXPECT_GT(status.compaction_rows, 9 * 7u);
  EXPECT_GT(status.compaction_bytes_written, status.segment_file_bytes);
  EXPECT_TRUE(status.compacting.empty());
  EXPECT_TRUE(status.compaction.ok());
  for (const char* suffix : {".seg", ".idx", ".sum"}) EXPECT_EQ(rig.Files(suffix).size(), 1u);
  rig.ExpectWhole();
  rig.Reopen();
  EXPECT_EQ(rig.status().sidecars_hit, 1u);
  rig.ExpectWhole();
}

TEST_F(CompactionTest, AMergeWithoutRoomForItIsNotBegun) {
  Rig rig(Options(0));
  MakeSegments(rig, 4);
  RoomFs& fs = LimitRoom(rig);
  OpenWith(rig, Options(3));
  rig.Pass(100);
  const auto files = rig.Files(".seg");
  ASSERT_EQ(files.size(), 4u);
  rig.Ingest(next_id_, next_id_ + 5);
  DbStatus status = rig.status();
  EXPECT_EQ(status.compaction.code(), StatusCode::kNoSpace) << status.compaction.ToString();
  EXPECT_EQ(status.compactions, 0u);
  EXPECT_EQ(status.compaction_failures, 0u);
  EXPECT_EQ(status.compaction_bytes_written, 0u);
  std::optional<Status> full;
  rig.machine.db().CompactAsync([&](Status done) { full = std::move(done); });
  rig.Pass(100);
  EXPECT_EQ(full.value_or(Status::Ok()).code(), StatusCode::kNoSpace);
  EXPECT_EQ(rig.Files(".seg"), files);
  // What may be merged takes three quarters of all, and the log as much again.
  fs.free_bytes = status.segment_file_bytes * 5 / 4;
  rig.Pass(100);
  EXPECT_EQ(rig.status().compactions, 0u);
  fs.free_bytes = status.segment_file_bytes * 2;
  rig.Pass(100);
  status = rig.status();
  EXPECT_TRUE(status.compaction.ok()) << status.compaction.ToString();
  EXPECT_GT(status.compactions, 0u);
  rig.ExpectWhole();
}

// What is due has no room, but a smaller merge has. Where nothing has any, that is what ingest
// says.
TEST_F(CompactionTest, WithLittleRoomASmallerMergeIsBetterThanNone) {
  Rig rig(Options(0));
  MakeSegments(rig, 4);
  RoomFs& fs = LimitRoom(rig);
  OpenOptions options = Options(3);
  options.runs_slow = 2;
  options.runs_max = 4;
  OpenWith(rig, options);
  rig.Pass(100);
  const Status refused = rig.machine.Ingest({SmallEvent(next_id_)}).status();
  EXPECT_EQ(refused.code(), StatusCode::kNoSpace) << refused.ToString();
  EXPECT_NE(refused.message().find("4 segments wait to be merged"), std::string::npos)
      << refused.ToString();
  fs.free_bytes = rig.status().segment_file_bytes * 5 / 4;  // a half of them, and the log as much
  rig.Pass(100);
  EXPECT_GT(rig.status().compactions, 0u);
  EXPECT_TRUE(rig.machine.Ingest({SmallEvent(next_id_)}).ok());
  ASSERT_TRUE(rig.machine.Close().ok());
}

// A merge that waits for room is forgotten when nothing waits any more.
TEST_F(CompactionTest, NoRoomIsSaidOnlyAsLongAsSomethingWaits) {
  Rig rig(Options(0));
  MakeSegments(rig, 2);
  LimitRoom(rig);
  OpenWith(rig, Options(3));  // of two nothing is due
  rig.Pass(100);
  EXPECT_TRUE(rig.status().compaction.ok());
  std::optional<Status> full;
  rig.machine.db().CompactAsync([&](Status done) { full = std::move(done); });
  rig.Pass(1);
  EXPECT_EQ(full.value_or(Status::Ok()).code(), StatusCode::kNoSpace);
  EXPECT_EQ(rig.status().compaction.code(), StatusCode::kNoSpace);
  rig.Pass(100);
  EXPECT_TRUE(rig.status().compaction.ok()) << rig.status().compaction.ToString();
  EXPECT_EQ(rig.status().compactions, 0u);
  ASSERT_TRUE(rig.machine.Close().ok());
}

// A read that began before a merge goes on as if nothing had happened: its files stay.
TEST_F(CompactionTest, WhatWasOpenedBeforeAMergeAnswersTheSame) {
  Rig rig(Options(0));
  MakeSegments(rig, 4);
  OpenWith(rig, Options(0));
  ASSERT_EQ(rig.model.Learn(rig.machine.db()), "");
  auto all = rig.machine.db().ListEvents({.from_ms = 0, .to_ms = INT64_MAX});
  ASSERT_TRUE(all.ok());
  std::vector<std::string> expected;
  for (;;) {
    auto event = all->Next();
    ASSERT_TRUE(event.ok());
    if (!event->has_value()) break;
    expected.push_back((*event)->event_id);
  }
  ASSERT_TRUE(rig.machine.Close().ok());

  OpenWith(rig, Options(4));
  EventsQuery page{.from_ms = 0, .to_ms = INT64_MAX};
  std::vector<std::string> read;
  {
    auto open = rig.machine.db().ListEvents({.from_ms = 0, .to_ms = INT64_MAX});
    auto first = rig.machine.db().ListEvents(page);
    ASSERT_TRUE(open.ok() && first.ok());
    std::vector<std::string> paged;
    const auto drain = [](EventStream& stream, std::vector<std::string>* ids) {
      for (;;) {
        auto event = stream.Next();
        ASSERT_TRUE(event.ok()) << event.status().ToString();
        if (!event->has_value()) return;
        ids->push_back((*event)->event_id);
      }
    };
    for (int i = 0; i < 5; ++i) paged.push_back((**first->Next()).event_id);
    std::string cursor = first->NextCursor();
    ASSERT_NE(cursor, "");
    rig.machine.RunUntilIdle();
    ASSERT_EQ(rig.status().segments, 1u);
    EXPECT_EQ(rig.Files(".seg").size(), 5u) << "files went although a view has them";
    drain(*open, &read);
    EXPECT_EQ(read, expected);
    // The cursor goes on in the merged segment.
    page.cursor = cursor;
    auto next = rig.machine.db().ListEvents(page);
    ASSERT_TRUE(next.ok()) << next.status().ToString();
    drain(*next, &paged);
    EXPECT_EQ(paged, expected);
  }
  rig.machine.RunUntilIdle();
  EXPECT_EQ(rig.Files(".seg").size(), 1u);
  for (uint64_t lsn = 0; lsn <= rig.model.learned().value; ++lsn) {
    ASSERT_EQ(rig.model.CheckQueries(rig.machine.db(), {lsn}, lsn), "") << lsn;
  }
  rig.ExpectWhole();
}

// What was written is read back before it counts.
TEST_F(CompactionTest, DamageOfTheOutputAbandonsTheMerge) {
  struct Case {
    const char* phase;
    const char* suffix;
    bool sidecar;
  };
  for (const Case& c : {Case{"check", ".seg", false}, Case{"check_keys", ".idx", true}}) {
    SCOPED_TRACE(c.phase);
    next_id_ = 0;
    Rig rig(Options(0));
    MakeSegments(rig, 3);
    OpenWith(rig, Options(3));
    RunTo(rig, c.phase);
    Flip(rig, c.suffix, rig.status().compacting.back().output);
    EXPECT_TRUE(
        rig.machine.executor().RunUntil([&] { return rig.status().compaction_failures == 1; }));
    EXPECT_EQ(rig.status().segments, 3u);
    EXPECT_EQ(rig.status().compaction_sidecar_failures, c.sidecar ? 1u : 0u);
    EXPECT_EQ(rig.status().compaction.code(), StatusCode::kCorruption);
    EXPECT_EQ(rig.Files(".seg").size(), 3u);
    rig.Pass(60);
    EXPECT_EQ(rig.status().segments, 1u) << "it was not tried again";
    rig.ExpectWhole();
  }
}

TEST_F(CompactionTest, ADamagedInputIsLeftOutAndItsSidecarRebuilt) {
  {
    Rig rig(Options(0));
    MakeSegments(rig, 6);
    const std::string bad = rig.Files(".seg")[1];
    Bytes content = rig.Content(bad);
    content[100] ^= std::byte{1};
    rig.Put(bad, content);
    OpenWith(rig, Options(4));
    for (int i = 0; i < 3; ++i) rig.Pass(60);
    const DbStatus status = rig.status();
    EXPECT_EQ(status.segments_damaged, 1u);
    EXPECT_EQ(status.segments, 3u) << "the four behind it are merged";
    EXPECT_NE(status.compaction_failures, 0u);
    rig.machine.Halt();
  }
  {
    next_id_ = 0;
    Rig rig(Options(0));
    MakeSegments(rig, 3);
    const std::string bad = rig.Files(".idx")[1];
    Bytes content = rig.Content(bad);
    content[5000] ^= std::byte{1};
    rig.Put(bad, content);
    OpenWith(rig, Options(3));
    for (int i = 0; i < 5; ++i) rig.Pass(60);
    EXPECT_EQ(rig.status().sidecars_rebuilt, 1u);
    EXPECT_EQ(rig.status().segments, 1u);
    rig.ExpectWhole();
  }
}

// The sidecar of an input is whole and not of its rows. Where that is found before the merge is
// done, the keys that came of it must not count: an event that was sent again would.
TEST_F(CompactionTest, ASidecarFoundBadWhileItIsMergedIsNotMerged) {
  uint64_t found_meanwhile = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    next_id_ = 0;
    Rig rig(Options(0), seed);
    MakeSegments(rig, 3, 100);
    ForgeSidecar(rig, seed % 3, [](auto& entries) { entries[7].key.bytes[9] ^= 1; });
    OpenOptions options = Options(3);
    options.segment_group_rows = 1 + static_cast<uint32_t>(seed % 8);
    options.background_bytes_per_second = 0;  // so that the scrub never pauses
    options.scrub_bytes_per_second = UINT64_MAX / 2;
    OpenWith(rig, options);
    bool keys_merged = false;
    rig.machine.executor().RunUntil([&] {
      const DbStatus status = rig.status();
      const std::string_view phase =
          status.compacting.empty() ? "" : status.compacting.back().phase;
      keys_merged = phase == "check_keys" || phase == "sums" || phase == "names";
      return status.scrub.faults > 0 || status.compactions > 0;
    });
    if (rig.status().compactions > 0) {  // it was first: the next pass finds it
      rig.machine.Halt();
      continue;
    }
    found_meanwhile += keys_merged ? 1 : 0;
    for (int i = 0; i < 3; ++i) rig.Pass(60);
    EXPECT_EQ(rig.status().segments, 1u);
    rig.ExpectWhole();
  }
  EXPECT_GT(found_meanwhile, 0u);
}

// Every call that a merge makes fails in turn, once and for some time; the disk is full.
TEST_F(CompactionTest, NoFailureLosesAnything) {
  uint64_t tried = 0, put_off = 0;
  for (const FaultOp op :
       {FaultOp::kOpen, FaultOp::kCreate, FaultOp::kRead, FaultOp::kWrite, FaultOp::kShortWrite,
        FaultOp::kSync, FaultOp::kRename, FaultOp::kSyncDir, FaultOp::kRemove}) {
    for (const bool anyway : {false, true}) {
      if (anyway && !CanBeDoneAnyway(op)) continue;
      for (uint64_t at = 0;; ++at) {
        SCOPED_TRACE(fmt::format("{} number {}{}", FaultOpName(op), at, anyway ? ", done" : ""));
        next_id_ = 0;
        Rig rig(Options(0));
        MakeSegments(rig, 3, 4);
        OpenWith(rig, Options(3));
        const int error = op == FaultOp::kWrite && at % 2 == 0 ? ENOSPC : EIO;
        rig.faults->Set(Fault{op, at, false, error, anyway, ""});
        rig.machine.RunUntilIdle();
        const bool fired = rig.faults->fired() > 0;
        rig.faults->Set(std::nullopt);
        put_off += rig.status().compaction_failures;
        for (int i = 0; i < 3; ++i) rig.Pass(120);
        if (!rig.status().wal_poisoned) {
          // What could not be read is left out, and parts its neighbours.
          const DbStatus status = rig.status();
          EXPECT_EQ(status.segments, status.segments_damaged == 0 ? 1u : 3u);
          rig.ExpectWhole();
        }
        rig.machine.Halt();
        rig.machine.Restart(CrashKind::kPowerCut, at);
        rig.Open();
        for (int i = 0; i < 3; ++i) rig.Pass(120);
        EXPECT_EQ(rig.status().segments, 1u);
        rig.ExpectWhole();
        ++tried;
        if (!fired || HasFatalFailure()) break;
      }
    }
  }
  EXPECT_GT(put_off, 20u);
  ReportTried(fmt::format("compaction_faults tried={} put_off={}", tried, put_off));
}

// The manifest's outcome is unknown: neither inputs nor output may go, until a later one is
// durable.
TEST_F(CompactionTest, AManifestInDoubtKeepsAllFiles) {
  for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerCut}) {
    next_id_ = 0;
    Rig rig(Options(0));
    MakeSegments(rig, 3);
    OpenWith(rig, Options(3));
    RunTo(rig, "manifest");
    rig.faults->Set(Fault{FaultOp::kSyncDir, 0, true, EIO, false, "manifest"});
    rig.machine.RunUntilIdle();
    EXPECT_EQ(rig.status().compaction_failures, 1u);
    EXPECT_EQ(rig.Files(".seg").size(), 4u);
    EXPECT_EQ(rig.status().segments, 3u);
    ASSERT_EQ(rig.model.CheckQueries(rig.machine.db(), rig.machine.db().VisibleLsn(), 3), "");
    rig.machine.Halt();
    rig.faults->Set(std::nullopt);
    rig.machine.Restart(kind, 5);
    rig.Open();
    rig.machine.RunUntilIdle();
    EXPECT_EQ(rig.Files(".seg").size(), 1u);
    rig.ExpectWhole();
  }
}

// A crash in the middle leaves orphans, which go; the merge starts over.
TEST_F(CompactionTest, StartsOverAfterACrashInEachPhase) {
  for (const char* phase : {"rows", "check", "keys", "check_keys", "sums", "names", "manifest"}) {
    for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerCut}) {
      SCOPED_TRACE(phase);
      next_id_ = 0;
      Rig rig(Options(0));
      MakeSegments(rig, 3);
      OpenWith(rig, Options(3));
      RunTo(rig, phase);
      rig.machine.Halt();
      rig.machine.Restart(kind, 3);
      OpenWith(rig, Options(0));
      EXPECT_EQ(rig.status().segments, 3u);
      EXPECT_EQ(rig.Files(".seg").size(), 3u);
      EXPECT_EQ(rig.Files(".idx").size(), 3u);
      rig.ExpectWhole();
      ASSERT_TRUE(rig.machine.Close().ok());
      OpenWith(rig, Options(3));
      rig.machine.RunUntilIdle();
      EXPECT_EQ(rig.status().segments, 1u);
      rig.ExpectWhole();
    }
  }
}

TEST_F(CompactionTest, ACloseInTheMiddleLeavesNothingBehind) {
  for (const char* phase : {"rows", "keys", "sums", "names"}) {
    SCOPED_TRACE(phase);
    next_id_ = 0;
    Rig rig(Options(0));
    MakeSegments(rig, 3);
    OpenWith(rig, Options(3));
    RunTo(rig, phase);
    ASSERT_TRUE(rig.machine.Close().ok());
    for (const char* suffix : {".seg", ".idx", ".sum"}) EXPECT_EQ(rig.Files(suffix).size(), 3u);
    OpenWith(rig, Options(3));
    rig.machine.RunUntilIdle();
    EXPECT_EQ(rig.status().segments, 1u);
    rig.ExpectWhole();
  }
}

// A merge that is much smaller than the one that goes on is done first.
TEST_F(CompactionTest, ASmallMergeInterruptsALargeOne) {
  Rig rig(Options(0));
  MakeSegments(rig, 3, 400);
  MakeSegments(rig, 2);  // and one more is due
  OpenOptions options = Options(3);
  options.memtable_rows_max = 64;  // the large ones are of another tier
  options.wal_file_bytes = 8 * 4096;
  options.batch_bytes_max = 20'000;
  options.segment_group_rows = 1;  // many steps
  options.commit_gap_us = 0;       // time does not pass while there is a step to run
  OpenWith(rig, options);
  RunTo(rig, "rows");
  const uint64_t large = rig.status().compacting.back().output;
  bool interrupted = false;
  for (int i = 0; i < 400 && rig.status().compactions < 2; ++i) {
    if (i < 9) {
      const std::vector<Event> event = {SmallEvent(next_id_++, 0, 1)};
      rig.model.Sent(event);
      auto answer = rig.machine.Ingest(event);
      ASSERT_EQ(answer.ok() ? rig.model.Answered(event, *answer) : "", "");
    }
    rig.machine.executor().RunOne();
    const DbStatus status = rig.status();
    interrupted = interrupted || status.compacting.size() == 2;
    if (status.compacting.size() == 2) {
      EXPECT_EQ(status.compacting.front().output, large);
      EXPECT_LT(status.compacting.back().rows, status.compacting.front().rows);
    }
  }
  rig.machine.RunUntilIdle();
  rig.ExpectWhole();
  EXPECT_TRUE(interrupted);
}

TEST_F(CompactionTest, AllThatMayBeMergedIsWhenAskedFor) {
  Rig rig(Options(0));
  MakeSegments(rig, 5);
  OpenWith(rig, Options(8));
  rig.machine.RunUntilIdle();
  ASSERT_EQ(rig.status().segments, 5u) << "none is due";
  Status said = Status::Unavailable("unsaid", "");
  rig.machine.db().CompactAsync([&](Status status) { said = std::move(status); });
  rig.machine.RunUntilIdle();
  EXPECT_TRUE(said.ok()) << said.ToString();
  EXPECT_EQ(rig.status().segments, 1u);
  rig.ExpectWhole();
  ASSERT_TRUE(rig.machine.Close().ok());
  OpenWith(rig, Options(0));
  rig.machine.db().CompactAsync([&](Status status) { said = std::move(status); });
  EXPECT_EQ(said.reason(), "compaction_off");
}

TEST_F(CompactionTest, AskedForWhereItCannotBeginItSaysWhy) {
  for (const std::string part : {"data/wal", ".idx"}) {  // no log; a sidecar that is not rebuilt
    SCOPED_TRACE(part);
    next_id_ = 0;
    Rig rig(Options(0));
    MakeSegments(rig, 3);
    ASSERT_TRUE(rig.machine.fs().Remove(rig.Files(".idx")[1]).ok());
    ASSERT_TRUE(rig.machine.fs().SyncDir(Rig::kSegments).ok());
    rig.faults->Set(Fault{FaultOp::kCreate, 0, true, ENOSPC, false, part});
    OpenWith(rig, Options(3));
    std::optional<Status> said;
    rig.machine.db().CompactAsync([&](Status status) { said = std::move(status); });
    for (int i = 0; i < 3; ++i) rig.Pass(60);
    EXPECT_EQ(said.value_or(Status::Ok()).code(), StatusCode::kNoSpace);
    rig.faults->Set(std::nullopt);
    for (int i = 0; i < 3; ++i) rig.Pass(60);
    EXPECT_EQ(rig.status().segments, 1u);
    rig.ExpectWhole();
  }
}

// Behind, commits are spaced out, then refused; caught up, they are taken again.
TEST_F(CompactionTest, IngestIsHeldBackWhereMergingIsBehind) {
  Rig rig(Options(0));
  MakeSegments(rig, 6);
  OpenOptions options = Options(4);
  options.runs_slow = 2;
  options.runs_max = 10;
  rig.faults->Set(Fault{FaultOp::kCreate, 0, true, EIO, false, ".seg"});  // nothing is merged
  OpenWith(rig, options);
  rig.Ingest(next_id_, next_id_ + 1);
  const int64_t before = rig.machine.clock().MonotonicMicros();
  rig.Ingest(next_id_ + 1, next_id_ + 6);
  EXPECT_GE(rig.machine.clock().MonotonicMicros() - before, 5 * 25'000);
  next_id_ += 6;
  rig.faults->Set(std::nullopt);
  ASSERT_TRUE(rig.machine.Close().ok());

  options.runs_max = 7;  // as many as there are now
  rig.faults->Set(Fault{FaultOp::kCreate, 0, true, EIO, false, ".seg"});
  OpenWith(rig, options);
  EXPECT_EQ(rig.machine.Ingest({SmallEvent(next_id_)}).status().reason(), "compaction_behind");
  EXPECT_EQ(rig.machine.db().Ready().reason(), "compaction_behind");
  rig.faults->Set(std::nullopt);
  for (int i = 0; i < 3; ++i) rig.Pass(120);
  EXPECT_TRUE(rig.machine.db().Ready().ok()) << "it does not heal without a restart";
  rig.Ingest(next_id_, next_id_ + 1);
  rig.ExpectWhole();
}

// Damage parts the segments, so that no tier may ever be full: ingest is not held back for ever.
TEST_F(CompactionTest, WhereTiersStayOpenAnyMergeIsBetterThanNone) {
  Rig rig(Options(0));
  MakeSegments(rig, 7);
  OpenOptions options = Options(8);
  options.runs_slow = 4;
  options.runs_max = 6;
  OpenWith(rig, options);
  rig.machine.RunUntilIdle();
  EXPECT_LT(rig.status().runs, 4u);
  EXPECT_TRUE(rig.machine.db().Ready().ok());
  rig.Ingest(next_id_, next_id_ + 1);
  rig.ExpectWhole();
}

// What is made of sound inputs does not agree with them, again and again (a key table of two
// segments that have the same key, say): others are merged all the same.
TEST_F(CompactionTest, MergesThatComeToNothingDoNotKeepOthersFromIt) {
  Rig rig(Options(0));
  MakeSegments(rig, 3);
  OpenWith(rig, Options(3));
  for (uint64_t failures = 1; failures <= 3; ++failures) {
    RunTo(rig, "check");
    Flip(rig, ".seg", rig.status().compacting.back().output);
    ASSERT_TRUE(rig.machine.executor().RunUntil(
        [&] { return rig.status().compaction_failures == failures; }));
    rig.machine.clock().Advance(120'000'000);
  }
  rig.Pass(120);
  EXPECT_EQ(rig.status().segments, 3u);
  EXPECT_EQ(rig.status().compaction_left_out, 3u);
  EXPECT_EQ(rig.status().segments_damaged, 0u);
  EXPECT_EQ(rig.status().runs, 0u);
  rig.ExpectWhole();
  ASSERT_TRUE(rig.machine.Close().ok());
  OpenWith(rig, Options(3));
  rig.machine.RunUntilIdle();
  EXPECT_EQ(rig.status().segments, 1u) << "a start tries again";
  rig.ExpectWhole();
}

TEST_F(CompactionTest, AskedForAfterTheCloseItIsAnsweredAllTheSame) {
  Rig rig(Options(0));
  MakeSegments(rig, 2);
  OpenWith(rig, Options(8));
  ASSERT_TRUE(rig.machine.db().Close().ok());
  Status said;
  rig.machine.db().CompactAsync([&](Status status) { said = std::move(status); });
  EXPECT_EQ(said.reason(), "closed");
}

// Segments at the size limit are left alone, however many there are, and hold nobody back.
TEST_F(CompactionTest, SegmentsAtTheLimitDoNotCount) {
  Rig rig(Options(0));
  MakeSegments(rig, 6);
  OpenOptions options = Options(2);
  options.compaction_rows_max = 14;  // two of them
  options.runs_max = 2;
  OpenWith(rig, options);
  rig.machine.RunUntilIdle();
  EXPECT_EQ(rig.status().segments, 3u);
  EXPECT_EQ(rig.status().runs, 0u);
  EXPECT_TRUE(rig.machine.db().Ready().ok());
  rig.ExpectWhole();
}

}  // namespace
}  // namespace tallystick
