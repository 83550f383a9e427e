// Sidecars and segments that fail, are lost, damaged or exchanged: what was counted stays known,
// unknown is never new, and a query gives the right answer or none.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/sidecar_keeper.h"
#include "engine/sidecar_rebuild.h"
#include "rollup/whole_rollup_fixture.h"
#include "segment/segment_fixture.h"
#include "testing/rig.h"
#include "testing/scenario.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

uint64_t tried = 0;

Fault Failing(FaultOp op, const std::string& path_part, bool for_ever = true, int error = EIO) {
  return {op, 0, for_ever, error, false, path_part};
}

// --- a flush that fails ---

TEST(FlushFaultsTest, ASidecarThatCannotBeWrittenIsNotFatal) {
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync, FaultOp::kOpen}) {
    Rig rig;
    rig.Open();
    rig.faults->Set(Failing(op, ".idx"));
    rig.Ingest(0, 9);
    rig.machine.RunUntilIdle();
    EXPECT_GE(rig.status().segments, 1u);
    EXPECT_GE(rig.status().sidecar_write_failures, 1u);
    EXPECT_GE(rig.status().sidecars_unknown, 1u);
    if (op != FaultOp::kOpen) {
      EXPECT_TRUE(rig.Files(".idx").empty()) << "the partial file is removed";
    }
    // The key table answers for it meanwhile.
    EXPECT_TRUE(rig.machine.db().Ready().ok());
    auto again = rig.machine.Ingest({SmallEvent(0, 0, 1), SmallEvent(1, 1, 1)});
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    EXPECT_EQ(again->duplicates, 1u);
    EXPECT_EQ(again->conflicts, 1u);
    const uint64_t tables = rig.status().key_tables;
    EXPECT_GE(tables, 2u);
    rig.faults->Set(std::nullopt);
    rig.model.Sent(std::vector<Event>{SmallEvent(1, 1, 1)});
    rig.Pass(60);
    EXPECT_GE(rig.status().sidecars_rebuilt, 1u);
    rig.Ingest(20, 21);
    EXPECT_LT(rig.status().key_tables, tables) << "no longer needed";
    rig.ExpectWhole();
  }
}

TEST(FlushFaultsTest, RowsThatCannotBeWrittenStayInMemoryUntilTheyCan) {
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync, FaultOp::kRead}) {
    for (const int error : {EIO, ENOSPC}) {
      if (op == FaultOp::kRead && error != EIO) continue;
      OpenOptions options = SmallOptions(true);
      options.memtables_max = options.key_tables_max = 2;
      Rig rig(options);
      rig.Open();
      rig.faults->Set(Failing(op, ".seg", true, error));
      Status refused;
      int id = 0;
      for (; id < 60 && refused.ok(); ++id) {
        const std::vector<Event> event = {SmallEvent(id, 0, 1)};
        rig.model.Sent(event);
        auto answer = rig.machine.Ingest(event);
        refused = answer.status();
        if (answer.ok()) {
          ASSERT_EQ(rig.model.Answered(event, *answer), "");
        }
      }
      EXPECT_EQ(refused.reason(), error == ENOSPC ? "no_space" : "memory_full");
      EXPECT_EQ(rig.machine.db().Ready().reason(), refused.reason());
      EXPECT_EQ(rig.status().segments, 0u);
      EXPECT_GE(rig.status().flush_failures, 1u);
      EXPECT_FALSE(rig.status().flush.ok());
      EXPECT_TRUE(rig.Files(".seg").empty()) << "the partial file is removed";
      ASSERT_EQ(rig.model.Learn(rig.machine.db()), "");
      rig.faults->Set(std::nullopt);
      for (int i = 0; i < 4; ++i) rig.Pass(60);
      EXPECT_TRUE(rig.machine.db().Ready().ok()) << "it heals without a restart";
      EXPECT_TRUE(rig.status().flush.ok());
      EXPECT_GE(rig.status().segments, 2u);
      rig.Ingest(100, 104);
      rig.ExpectWhole();
    }
  }
}

TEST(FlushFaultsTest, AManifestOfUnknownOutcomeCostsNothing) {
  for (const FaultOp op : {FaultOp::kRename, FaultOp::kSyncDir, FaultOp::kWrite, FaultOp::kSync}) {
    for (const bool done_anyway : {false, true}) {
      for (const CrashKind end : {CrashKind::kKill, CrashKind::kPowerCut}) {
        for (uint64_t at = 0; at < 4; ++at) {
          Rig rig;
          rig.Open();
          rig.machine.RunUntilIdle();
          rig.faults->Set(Fault{op, at, false, EIO, done_anyway, "/manifest"});
          rig.Ingest(0, 14);
          rig.machine.RunUntilIdle();
          ASSERT_EQ(rig.model.Learn(rig.machine.db()), "");
          rig.machine.Halt();
          rig.faults->Set(std::nullopt);
          rig.machine.Restart(end, at);
          ASSERT_NO_FATAL_FAILURE(rig.Open());
          rig.ExpectWhole();
        }
      }
    }
  }
}

TEST(FlushFaultsTest, OldRowsAreFlushedAlthoughTheMemtableIsNotFull) {
  OpenOptions options = SmallOptions(true);
  options.memtable_age_ms_max = 50;
  Rig rig(options);
  rig.Open();
  rig.Ingest(0, 1, 0);
  rig.Pass(1);
  EXPECT_EQ(rig.status().segments, 1u);
  EXPECT_EQ(rig.status().flushed_lsn, Lsn{1});
  rig.ExpectWhole();
}

TEST(FlushFaultsTest, KeyTablesHaveALimit) {
  for (const int error : {EIO, ENOSPC}) {
    OpenOptions options = SmallOptions(true);
    options.memtables_max = 1;
    options.key_tables_max = 2;
    Rig rig(options);
    rig.Open();
    rig.faults->Set(Failing(FaultOp::kCreate, ".idx", true, error));
    Status refused;
    for (int id = 0; id < 60 && refused.ok(); ++id) {
      refused = rig.machine.Ingest({SmallEvent(id, 0, 1)}).status();
      rig.machine.RunUntilIdle();
    }
    EXPECT_EQ(refused.reason(), error == ENOSPC ? "no_space" : "memory_full");
    EXPECT_EQ(rig.machine.db().Ready().reason(), refused.reason());
    EXPECT_GE(rig.status().sidecars_unknown, 1u);
    rig.faults->Set(std::nullopt);
    for (int i = 0; i < 4; ++i) rig.Pass(60);
    EXPECT_TRUE(rig.machine.db().Ready().ok()) << rig.machine.db().Ready().ToString();
  }
}

// Who is refused because memtables wait is told the reason of now: a disk that has become full.
TEST(FlushFaultsTest, TheReasonOfARefusalIsTheOneOfNow) {
  OpenOptions options = SmallOptions(true);
  options.memtables_max = 1;
  Rig rig(options);
  rig.Open();
  rig.faults->Set(Fault{FaultOp::kCreate, 0, true, EIO, false, ".seg"});
  Status refused;
  for (int id = 0; id < 60 && refused.ok(); ++id) {
    refused = rig.machine.Ingest({SmallEvent(id, 0, 1)}).status();
    rig.machine.RunUntilIdle();
  }
  EXPECT_EQ(refused.reason(), "memory_full");
  rig.faults->Set(Fault{FaultOp::kCreate, 0, true, ENOSPC, false, ".seg"});
  rig.Pass(60);
  EXPECT_EQ(rig.machine.db().Ready().reason(), "no_space");
  rig.faults->Set(std::nullopt);
  rig.Pass(60);
  EXPECT_TRUE(rig.machine.db().Ready().ok());
}

// What a rebuild meets is what has to be done about it.
TEST(SidecarRebuildTest, WithoutRoomForItEventsAreRefusedForThat) {
  Rig rig;
  rig.Open();
  rig.Ingest(0, 5);
  ASSERT_TRUE(rig.machine.Close().ok());
  ASSERT_TRUE(rig.machine.fs().Remove(rig.Files(".idx")[0]).ok());
  ASSERT_TRUE(rig.machine.fs().SyncDir(Rig::kSegments).ok());
  for (const int error : {EIO, ENOSPC}) {
    rig.faults->Set(Failing(FaultOp::kCreate, ".idx", true, error));
    if (error == EIO) rig.Open();
    for (int i = 0; i < 3; ++i) rig.Pass(60);
    const std::string_view reason = error == EIO ? "dedupe_rebuilding" : "no_space";
    EXPECT_EQ(rig.machine.db().Ready().reason(), reason);
    EXPECT_EQ(rig.machine.Ingest({SmallEvent(7, 0, 1)}).status().reason(), reason);
    EXPECT_FALSE(rig.status().sidecar_rebuild.ok());
  }
  rig.faults->Set(std::nullopt);
  rig.Pass(60);
  EXPECT_TRUE(rig.machine.db().Ready().ok());
  EXPECT_TRUE(rig.status().sidecar_rebuild.ok());
  rig.ExpectWhole();
}

// A large segment's sidecar is rebuilt part by part: the file is the same, and of a rebuild that
// was given up nothing is left.
TEST(SidecarRebuildTest, InPartsItIsTheSameFile) {
  Rig rig;
  rig.Open();
  rig.Ingest(0, 5);
  ASSERT_TRUE(rig.machine.Close().ok());
  SimFs& fs = rig.machine.fs();
  const std::string path = rig.Files(".idx").at(0);
  const Bytes whole = rig.Content(path);
  const auto binding = SidecarReader::ReadBinding(fs, path);
  ASSERT_TRUE(binding.ok());
  BlockCache cache(1 << 20);
  auto rows = SegmentReader::Open(fs, rig.Files(".seg").at(0),
                                  {binding->database_id, binding->number, 0}, cache);
  ASSERT_TRUE(rows.ok());
  const SegmentInfo info = (*rows)->info();
  const LiveSegment segment(
      {info.number, info.first_lsn, info.last_lsn, info.rows, info.bytes, info.footer_checksum},
      *std::move(rows));
  const Layout layout("data");
  const auto rebuild = [&](uint32_t rows_at_once, const std::function<bool()>& stopped) {
    return RebuildSidecar(fs, layout, segment, IdentityScope::kGlobal, nullptr, stopped,
                          rows_at_once);
  };
  const auto names = [&] {
    const auto listed = *fs.List(Rig::kSegments);  // with names that are not ours among them
    return std::ranges::count_if(listed, [](const auto& name) { return name.front() == '0'; });
  };
  const auto files = names();
  for (const uint32_t rows_at_once : {1u, 2u, 3u, 4u, 5u, 100u}) {
    ASSERT_TRUE(fs.Remove(path).ok());
    ASSERT_TRUE(rebuild(rows_at_once, {}).ok());
    EXPECT_TRUE(rig.Content(path) == whole) << rows_at_once;
    EXPECT_EQ(names(), files);
  }
  for (int looks = 0; looks < 8; ++looks) {
    int left = looks;
    auto given_up = rebuild(2, [&left] { return left-- <= 0; });
    EXPECT_EQ(given_up.ok() ? "cancelled" : given_up.status().reason(), "cancelled");
    EXPECT_EQ(names(), files) << looks;
  }
  rig.Open();
  rig.ExpectWhole();
}

// --- sidecars between two lives ---

// Three segments, closed.
void MakeSegments(Rig& rig) {
  rig.Open();
  for (int life = 0; life < 3; ++life) {
    rig.Ingest(life * 4, life * 4 + 4, 0);
    rig.model.Sent(std::vector<Event>{SmallEvent(life, 1)});
    auto conflict = rig.machine.Ingest({SmallEvent(life, 1)});
    ASSERT_TRUE(conflict.ok());
    ASSERT_EQ(conflict->conflicts, 1u);
    if (life < 2) rig.Reopen();
  }
  ASSERT_EQ(rig.model.Learn(rig.machine.db()), "");
  ASSERT_TRUE(rig.machine.Close().ok());
  ASSERT_EQ(rig.Files(".idx").size(), 3u);
}

// Refused until the sidecar is there again, and then right.
void ExpectRebuilt(Rig& rig, uint64_t missing, uint64_t corrupt) {
  rig.Open();
  EXPECT_EQ(rig.status().sidecars_missing, missing);
  EXPECT_EQ(rig.status().sidecars_corrupt, corrupt);
  EXPECT_EQ(rig.status().sidecars_hit, 3 - missing - corrupt);
  EXPECT_EQ(rig.machine.db().Ready().reason(), "dedupe_rebuilding");
  ASSERT_EQ(rig.model.Learn(rig.machine.db()), "") << "reads go on";
  EXPECT_TRUE(rig.machine.db().GetEvent("event-0").ok()) << "without a sidecar too";
  // Refused or, once it is rebuilt, a duplicate; never new.
  auto early = rig.machine.Ingest({SmallEvent(0)});
  EXPECT_TRUE(early.ok() ? early->duplicates == 1 : early.status().reason() == "dedupe_rebuilding");
  rig.Pass(60);
  EXPECT_EQ(rig.status().sidecars_rebuilt, missing + corrupt);
  rig.ExpectWhole();
}

TEST(SidecarDamageTest, AllSidecarsDeletedAtOnce) {
  Rig rig;
  MakeSegments(rig);
  for (const std::string& path : rig.Files(".idx")) ASSERT_TRUE(rig.machine.fs().Remove(path).ok());
  ExpectRebuilt(rig, 3, 0);
}

TEST(SidecarDamageTest, ASidecarOfAnotherSegmentOrAnotherDatabaseOrAnOlderOne) {
  Rig other(SmallOptions(true), 8);
  MakeSegments(other);
  for (const std::string kind : {"segment", "database", "older"}) {
    Rig rig;
    MakeSegments(rig);
    const auto files = rig.Files(".idx");
    if (kind == "segment") rig.Put(files[1], rig.Content(files[0]));
    if (kind == "database") rig.Put(files[1], other.Content(other.Files(".idx")[1]));
    if (kind == "older") {
      // What would have been beside a segment of the same number with fewer rows.
      Rig shorter;
      shorter.Open();
      shorter.Ingest(0, 2, 0);
      ASSERT_TRUE(shorter.machine.Close().ok());
      rig.Put(files[0], shorter.Content(shorter.Files(".idx")[0]));
    }
    ExpectRebuilt(rig, 0, 1);
  }
}

TEST(SidecarDamageTest, CutAtEveryLength) {
  Rig first;
  MakeSegments(first);
  const Bytes whole = first.Content(first.Files(".idx")[1]);
  for (size_t bytes = 0; bytes < whole.size(); bytes += bytes < whole.size() - 160 ? 509 : 13) {
    Rig rig;
    MakeSegments(rig);
    rig.Put(rig.Files(".idx")[1], Bytes(whole.begin(), whole.begin() + static_cast<long>(bytes)));
    ExpectRebuilt(rig, 0, 1);
  }
}

// The footer is sound, so the start believes it; the page that a probe meets is not.
TEST(SidecarDamageTest, APageThatDoesNotVerifyIsNotAnAnswer) {
  for (const uint64_t no_filter : {0, 1}) {
    OpenOptions options = SmallOptions(true);
    if (no_filter != 0) options.dedupe_memory_bytes_max = 0;
    Rig rig(options);
    MakeSegments(rig);
    const std::string path = rig.Files(".idx")[1];
    Bytes bytes = rig.Content(path);
    bytes[4096 + 100] ^= std::byte{1};  // the first page stands behind the header's block
    rig.Put(path, bytes);
    rig.Open();
    EXPECT_EQ(rig.status().sidecars_corrupt, 0u);
    auto answer = rig.machine.Ingest({SmallEvent(5)});
    EXPECT_TRUE(answer.ok() ? answer->duplicates == 1
                            : answer.status().reason() == "dedupe_rebuilding")
        << (answer.ok() ? "taken for new" : answer.status().ToString());
    rig.Pass(60);
    EXPECT_EQ(rig.status().sidecars_corrupt, 1u);
    EXPECT_EQ(rig.status().sidecars_rebuilt, 1u);
    rig.ExpectWhole();
  }
}

TEST(SidecarDamageTest, AReadErrorIsNotAnAnswer) {
  Rig rig;
  MakeSegments(rig);
  rig.Open();
  rig.machine.RunUntilIdle();
  rig.faults->Set(Failing(FaultOp::kRead, ".idx"));
  auto answer = rig.machine.Ingest({SmallEvent(0)});
  ASSERT_FALSE(answer.ok() && answer->accepted > 0);
  rig.faults->Set(std::nullopt);
  rig.Pass(60);
  rig.ExpectWhole();
}

TEST(SidecarDamageTest, DeletedWhileTheDatabaseIsOpenTheyAreStillRead) {
  Rig rig;
  MakeSegments(rig);
  rig.Open();
  for (const std::string& path : rig.Files(".idx")) ASSERT_TRUE(rig.machine.fs().Remove(path).ok());
  rig.ExpectWhole();
  ASSERT_TRUE(rig.machine.Close().ok());
  rig.Open();
  EXPECT_EQ(rig.status().sidecars_missing, 3u);
  rig.ExpectWhole();
}

// --- segments ---

TEST(SegmentDamageTest, AMissingOrForeignSegmentRefusesTheStart) {
  Rig other(SmallOptions(true), 8);
  MakeSegments(other);
  for (const std::string kind : {"missing", "cut", "garbled footer", "foreign", "another"}) {
    Rig rig;
    MakeSegments(rig);
    const auto files = rig.Files(".seg");
    Bytes bytes = rig.Content(files[1]);
    if (kind == "missing") {
      ASSERT_TRUE(rig.machine.fs().Remove(files[1]).ok());
    }
    if (kind == "cut") rig.Put(files[1], Bytes(bytes.begin(), bytes.end() - 1));
    if (kind == "garbled footer") {
      bytes[bytes.size() - 50] ^= std::byte{4};
      rig.Put(files[1], bytes);
    }
    if (kind == "foreign") rig.Put(files[1], other.Content(other.Files(".seg")[1]));
    if (kind == "another") rig.Put(files[1], rig.Content(files[0]));
    const Status status = rig.machine.Open();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << kind;
    EXPECT_NE(status.message().find(files[1]), std::string::npos) << kind << status.ToString();
    ++tried;
  }
}

// Every byte in front of the footer in turn: the query that needs it fails, with file and offset,
// or answers right; never a smaller total.
TEST(SegmentDamageTest, ABadSectorFailsWhatNeedsItAndNothingElse) {
  Rig whole;
  MakeSegments(whole);
  const Bytes good = whole.Content(whole.Files(".seg")[1]);
  uint64_t failed = 0;
  for (size_t at = 0; at + 300 < good.size(); at += 7) {
    Rig rig;
    MakeSegments(rig);
    const std::string path = rig.Files(".seg")[1];
    Bytes bytes = rig.Content(path);
    bytes[at] ^= std::byte{0x10};
    rig.Put(path, bytes);
    ASSERT_TRUE(rig.machine.Open().ok()) << "only the footer is read at the start";
    UsageQuery query{.from_ms = 0, .to_ms = INT64_MAX, .path = ReadPath::kRows};
    query.group_by = {Field::Parse("meter_id")};
    const Db& db = rig.machine.db();
    const auto result = db.Aggregate(query);
    if (result.ok()) {
      const auto lines = rig.model.Aggregate(query, db.VisibleLsn());
      ASSERT_EQ(result->lines.size(), lines.size());
      for (size_t i = 0; i < lines.size(); ++i) {
        ASSERT_EQ(result->lines[i].quantity, lines[i].quantity) << "byte " << at;
      }
    } else {
      ++failed;
      EXPECT_EQ(result.status().code(), StatusCode::kCorruption);
      EXPECT_NE(result.status().message().find(path + " at offset"), std::string::npos)
          << result.status().ToString();
      EXPECT_EQ(rig.status().segments_damaged, 1u);
      // The rows of the first segment are not touched by it.
      query.as_of_lsn = Lsn{5};
      EXPECT_TRUE(db.Aggregate(query).ok());
      EXPECT_TRUE(db.GetEvent("event-3").ok());
    }
    EXPECT_TRUE(rig.machine.Ingest({SmallEvent(77)}).ok()) << "the sidecar still answers";
    ++tried;
  }
  EXPECT_GT(failed, 10u);
}

TEST(SegmentDamageTest, AReadErrorFailsTheQueryOnly) {
  Rig rig;
  MakeSegments(rig);
  rig.Open();
  rig.faults->Set(Failing(FaultOp::kRead, ".seg", false));
  const UsageQuery query{.from_ms = 0, .to_ms = INT64_MAX, .path = ReadPath::kRows};
  const auto failed = rig.machine.db().Aggregate(query);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.status().code(), StatusCode::kIoError);
  EXPECT_TRUE(rig.machine.db().Aggregate(query).ok());
  EXPECT_EQ(rig.status().segments_damaged, 0u);
  rig.ExpectWhole();
}

// An unlisted segment with rows above the log's end proves that the log has lost some; one whose
// rows the log has is an orphan.
TEST(SegmentDamageTest, ASegmentAboveTheLogsEndIsALostLog) {
  constexpr int kLogged = 4;
  for (const int flushed : {kLogged, kLogged + 1}) {
    // The same seed makes the same database: one of them came to its flush.
    Rig further;
    ASSERT_NO_FATAL_FAILURE(further.Open());
    further.Ingest(0, flushed, 0);
    ASSERT_TRUE(further.machine.Close().ok());
    ASSERT_EQ(further.Files(".seg").size(), 1u);
    const std::string path = further.Files(".seg")[0];

    OpenOptions options = SmallOptions(true);
    options.flush_on_close_ms_max = 0;
    Rig rig(options);
    ASSERT_NO_FATAL_FAILURE(rig.Open());
    rig.Ingest(0, kLogged, 0);
    ASSERT_TRUE(rig.machine.Close().ok());
    ASSERT_TRUE(rig.Files(".seg").empty());
    rig.Put(path, further.Content(path));
    const Status status = rig.machine.Open();
    if (flushed > kLogged) {
      EXPECT_EQ(status.code(), StatusCode::kCorruption) << status.ToString();
      EXPECT_NE(status.message().find(path), std::string::npos) << status.ToString();
      EXPECT_TRUE(*rig.machine.fs().Exists(path)) << "the proof is kept";
    } else {
      ASSERT_EQ(status.ToString(), "ok");
      EXPECT_FALSE(*rig.machine.fs().Exists(path));
      rig.ExpectWhole();
    }
    ++tried;
  }
}

// Whatever keeps a start from being whole, the files that it would remove are still there.
TEST(SegmentDamageTest, OrphansGoOnlyWhenTheStartIsDurable) {
  const Fault faults[] = {
      Failing(FaultOp::kCreate, "/manifest"),  Failing(FaultOp::kWrite, "/manifest"),
      Failing(FaultOp::kSync, "/manifest"),    Failing(FaultOp::kRename, "/manifest"),
      Failing(FaultOp::kSyncDir, "/manifest"), Failing(FaultOp::kCreate, "/wal"),
  };
  for (const Fault& fault : faults) {
    Rig rig;
    MakeSegments(rig);
    const std::string rows = JoinPath(Rig::kSegments, "009001.seg");
    const std::string keys = JoinPath(Rig::kSegments, "009001.idx");
    rig.Put(rows, rig.Content(rig.Files(".seg")[0]));
    rig.Put(keys, rig.Content(rig.Files(".idx")[0]));
    rig.faults->Set(fault);
    ASSERT_FALSE(rig.machine.Open().ok());
    EXPECT_TRUE(*rig.machine.fs().Exists(rows)) << "removed before the start was durable";
    EXPECT_TRUE(*rig.machine.fs().Exists(keys)) << "removed before the start was durable";
    rig.faults->Set(std::nullopt);
    ASSERT_NO_FATAL_FAILURE(rig.Open());
    EXPECT_FALSE(*rig.machine.fs().Exists(rows));
    EXPECT_FALSE(*rig.machine.fs().Exists(keys));
    rig.ExpectWhole();
  }
}

TEST(ScopeTest, WithAccountsAsPartOfTheIdentityTooSegmentsKnowTheirEvents) {
  OpenOptions options = SmallOptions(true);
  options.identity_scope = IdentityScope::kAccount;
  Rig rig(options);
  rig.Open();
  Event acme = SmallEvent(0), bolt = SmallEvent(0);
  acme.account_id = "acme";
  bolt.account_id = "bolt";
  ASSERT_EQ(rig.machine.Ingest({acme, bolt})->accepted, 2u);
  rig.Reopen();
  ASSERT_EQ(rig.status().segments, 1u);
  auto again = rig.machine.Ingest({acme, bolt});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->duplicates, 2u);
  EXPECT_EQ(rig.machine.db().GetEvent("event-0", "bolt")->event.account_id, "bolt");
  auto verified = rig.machine.db().Verify({});
  ASSERT_TRUE(verified.ok());
  EXPECT_TRUE(verified->faults.empty());
}

class Totals : public testing::Environment {
 public:
  void TearDown() override {
    ReportTried(fmt::format("sidecar_faults tried={}", tried + Rig::checks));
  }
};
[[maybe_unused]] const auto* const kTotals = testing::AddGlobalTestEnvironment(new Totals);

// --- a rollup while it is made ---

class MakeRollupTest : public testing::Test {
 protected:
  static constexpr char kPath[] = "000123.sum";
  static constexpr uint64_t kGroups = 10;

  void SetUp() override {
    ASSERT_TRUE(segment_.Write(TestRows({1}, kGroups * 64, {.accounts = 2}, 1)).ok());
    rows_ = *segment_.Open();
    options_.rollup_rows_per_line_min = 1;
  }
  Status Make() {
    asked_ = 0;
    return MakeRollup(fs(), kPath, *rows_, options_, segment_.cache(), nullptr,
                      [&] {
                        if (asked_ == at_) hook_();
                        return asked_++ >= until_;
                      })
        .status();
  }
  SimFs& fs() { return segment_.fs(); }

  TestSegment segment_{{.database_id = TestDatabaseId(), .number = {123}, .group_rows = 64}};
  std::unique_ptr<SegmentReader> rows_;
  OpenOptions options_;
  uint64_t asked_ = 0;
  uint64_t until_ = UINT64_MAX;
  uint64_t at_ = UINT64_MAX;
  std::function<void()> hook_;
};

TEST_F(MakeRollupTest, IsGivenUpSoon) {
  ASSERT_TRUE(Make().ok());
  EXPECT_EQ(asked_, 2 * kGroups + 1) << "two passes over the rows, and a block that is read back";
  for (until_ = 0; until_ < 2 * kGroups + 1; ++until_) {
    ASSERT_TRUE(fs().Remove(kPath).ok());
    const Status status = Make();
    EXPECT_EQ(status.code(), StatusCode::kUnavailable) << until_;
    EXPECT_EQ(status.reason(), "cancelled");
    EXPECT_EQ(asked_, until_ + 1);
  }
}

// Checksums are right, and the lines are not those that were built.
TEST_F(MakeRollupTest, WhatIsReadBackMustBeWhatWasBuilt) {
  ASSERT_TRUE(Make().ok());
  Rollup other = *ReadRollup(**RollupReader::Open(fs(), kPath, rows_->info(), segment_.cache()));
  const uint64_t bytes = fs().Content(kPath)->size();
  other.lines.back().sum.Add(Quantity::FromInteger(1));
  ASSERT_TRUE(WriteRollup(fs(), "other", rows_->info(), other, nullptr).ok());
  const Bytes content = *fs().Content("other");
  ASSERT_EQ(content.size(), bytes);
  ASSERT_TRUE(fs().Remove(kPath).ok());
  at_ = 2 * kGroups;
  hook_ = [&] { fs().SetContent(kPath, content); };
  const Status status = Make();
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_EQ(status.message(), "000123.sum: its lines are not those that were written");
}

}  // namespace
}  // namespace tallystick
