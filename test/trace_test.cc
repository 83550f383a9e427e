// The durability protocol as text: every file operation of small scenarios, in order, against
// golden files under testdata/traces. A missing sync shows up as a one-line diff in review;
// TALLY_REWRITE_GOLDEN=1 writes them anew. Each trace must be a path of the protocol's model too.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tallystick/db.h"
#include "testing/fault_fs.h"
#include "testing/golden.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/sim_env.h"
#include "testing/sim_fs.h"
#include "testing/trace_fs.h"
#include "testing/wal_protocol.h"

namespace tallystick {
namespace {

class TraceTest : public testing::Test {
 protected:
  // A process opens the database; its operations go to trace() from here on.
  void Open(bool direct = true) {
    OpenOptions options = SmallOptions(direct);
    options.compaction_fan_in = fan_in_;
    options.scrub_bytes_per_second = 0;  // it only reads
    env_ = std::make_unique<SimEnv>(*trace_, clock_, 7);
    options.env = env_.get();
    auto db = Db::Open("db", options);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::make_unique<Db>(std::move(db).value());
    trace_->Note("open");
    env_->executor().RunUntilIdle();
  }
  void Ingest(int first, int count, int blocks) {
    trace_->Note(fmt::format("ingest {} events of {} blocks", count, blocks));
    Batch batch = db_->NewBatch();
    for (int i = first; i < first + count; ++i) {
      const Event event = SmallEvent(i, 0, blocks);
      batch.Add(EventAsView(event).view());
    }
    bool answered = false;
    db_->IngestAsync(std::move(batch), [&](Result<IngestResult> result) {
      EXPECT_TRUE(result.ok()) << result.status().ToString();
      answered = true;
    });
    EXPECT_TRUE(env_->executor().RunUntil([&] { return answered; }));
    trace_->Note("answered");
  }
  void Idle() {
    trace_->Note("idle");
    env_->executor().RunUntilIdle();
  }
  void Close() {
    trace_->Note("close");
    EXPECT_TRUE(db_->Close().ok());
    db_.reset();
  }
  // The process ends without closing; the next one traces into a text of its own.
  void Kill() {
    fs_.CrashAt(fs_.operations(), 1);
    db_.reset();
    fs_.Restart(CrashKind::kKill, 1);
    NewTrace();
  }
  void NewTrace() { trace_ = std::make_unique<TraceFs>(faults_, "db"); }

  void Expect(const std::string& name) {
    EXPECT_EQ(CompareGolden("testdata/traces/" + name + ".golden", trace_->Text()), "");
    std::string why;
    EXPECT_TRUE(TraceIsPathOfModel(Operations(), &why)) << why;
  }
  // The model knows only operations that happened.
  std::vector<std::string> Operations() const {
    std::vector<std::string> operations = trace_->lines();
    std::erase_if(operations, [](const std::string& line) {
      return line.starts_with("#") || line.ends_with("!direct_refused");
    });
    return operations;
  }

  uint32_t fan_in_ = 0;
  SimFs fs_{1};
  FaultFs faults_{fs_};
  SimClock clock_;
  std::unique_ptr<TraceFs> trace_ = std::make_unique<TraceFs>(faults_, "db");
  std::unique_ptr<SimEnv> env_;
  std::unique_ptr<Db> db_;
};

TEST_F(TraceTest, CreationAndIngest) {
  Open();
  Ingest(0, 1, 0);
  Ingest(1, 2, 1);
  Idle();
  Close();
  Expect("create_and_ingest");
}

TEST_F(TraceTest, WithoutDirectWritesEveryFrameIsSynced) {
  fs_.SetDirectRefused(true);
  Open();
  Ingest(0, 1, 0);
  Idle();
  Close();
  Expect("ingest_without_direct");
}

TEST_F(TraceTest, RollOverListsTheNextSpareBeforeItIsOffered) {
  Open();
  for (int i = 0; i < 8; ++i) Ingest(i, 1, 1);
  Idle();
  Expect("roll_over");
}

TEST_F(TraceTest, AFlushMakesRowsAndKeysDurableBeforeTheLogGoes) {
  Open();
  for (int i = 0; i < 8; ++i) Ingest(i, 1, 1);
  Idle();
  ASSERT_GE(db_->GetStatus().segments, 1u);
  Expect("flush");
  // Each of these lines left out, or the manifest moved before it, must be noticed.
  const std::vector<std::string> whole = Operations();
  for (const std::string needed : {"sync segments/", "syncdir segments"}) {
    const auto at = std::ranges::find_if(
        whole, [&](const std::string& line) { return line.starts_with(needed); });
    ASSERT_NE(at, whole.end());
    std::vector<std::string> without(whole.begin(), at);
    without.insert(without.end(), at + 1, whole.end());
    std::string why;
    EXPECT_FALSE(TraceIsPathOfModel(without, &why)) << "without " << needed;
  }
}

TEST_F(TraceTest, AFlushWhoseSidecarFailsGoesOnWithoutIt) {
  Open();
  for (int i = 0; i < 3; ++i) Ingest(i, 1, 1);
  faults_.Set(Fault{FaultOp::kCreate, 0, false, EIO, false, ".idx"});
  for (int i = 3; i < 8; ++i) Ingest(i, 1, 1);
  Idle();
  EXPECT_EQ(db_->GetStatus().sidecar_write_failures, 1u);
  Expect("flush_with_failing_sidecar");
}

TEST_F(TraceTest, RecoveryOpensSegmentsAndChangesNothingThere) {
  Open();
  for (int i = 0; i < 8; ++i) Ingest(i, 1, 1);
  Idle();
  Kill();
  Open();
  EXPECT_GE(db_->GetStatus().sidecars_hit, 1u);
  Expect("recovery_with_segments");
}

TEST_F(TraceTest, ALostSidecarIsRebuiltUnderATemporaryName) {
  Open();
  Ingest(0, 1, 0);
  Close();
  const std::string idx = "db/segments/000006.idx";
  ASSERT_TRUE(fs_.Remove(idx).ok());
  NewTrace();
  Open();
  EXPECT_EQ(db_->GetStatus().sidecars_rebuilt, 1u);
  Expect("sidecar_rebuild");
}

TEST_F(TraceTest, RecoveryAfterAKillWritesTheTailAgainBeforeAnythingGoes) {
  Open();
  Ingest(0, 1, 0);
  Ingest(1, 1, 0);
  Kill();
  Open();
  Expect("recovery_after_kill");
}

// The inputs go only behind the manifest without them.
TEST_F(TraceTest, AMergeIsDurableBeforeItsInputsGo) {
  for (int i = 0; i < 2; ++i) {
    Open();
    Ingest(10 * i, 3, 0);
    Close();
  }
  NewTrace();
  fan_in_ = 2;
  Open();
  ASSERT_EQ(db_->GetStatus().compactions, 1u);
  Expect("compaction");
  // The last manifest before them is durable, and is the one that the merge ended with.
  const std::vector<std::string>& lines = trace_->lines();
  const auto first_remove = std::ranges::find_if(
      lines, [](const std::string& line) { return line.starts_with("remove segments/"); });
  ASSERT_NE(first_remove, lines.end());
  const std::vector<std::string> before(lines.begin(), first_remove);
  const auto last = [&before](std::string_view start) {
    const auto at = std::find_if(before.rbegin(), before.rend(), [start](const std::string& line) {
      return line.starts_with(start);
    });
    return before.rend() - at;
  };
  EXPECT_GT(last("rename manifest/"), last("syncdir segments"));
  EXPECT_GT(last("syncdir manifest"), last("rename manifest/"));
}

TEST_F(TraceTest, RecoveryAfterACleanStop) {
  Open();
  Ingest(0, 1, 0);
  Close();
  NewTrace();
  Open();
  Expect("recovery_after_stop");
}

}  // namespace
}  // namespace tallystick
