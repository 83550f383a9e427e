// The public API on the real machine: what a program that embeds Tallystick sees.
#include "tallystick/db.h"

#include <gtest/gtest.h>

#include "testing/temp_dir.h"

namespace tallystick {
namespace {

constexpr int64_t kTime = 1'700'000'000'000;

EventView MakeEvent(std::string_view id, int64_t quantity, std::string_view account = "acme") {
  EventView event;
  event.event_id = id;
  event.account_id = account;
  event.product_id = "inference";
  event.meter_id = "tokens";
  event.timestamp_ms = kTime;
  event.quantity = Quantity::FromInteger(quantity);
  return event;
}

// A database in a folder of its own, with the verbs that the tests speak in.
class DbTest : public testing::Test {
 protected:
  DbTest() {
    options_.flush_on_close_ms_max = 3'600'000;  // a slow disk changes nothing
    Open();
  }

  void Open() {
    auto db = Db::Open(dir_.path() + "/data", options_);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::make_unique<Db>(std::move(db).value());
  }
  void Reopen() {
    ASSERT_TRUE(db_->Close().ok());
    db_.reset();
    Open();
  }
  IngestResult Ingest(std::initializer_list<EventView> events) {
    Batch batch = db_->NewBatch();
    for (const EventView& event : events) batch.Add(event);
    auto result = db_->Ingest(std::move(batch), {.originals = true});
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return std::move(result).value();
  }
  UsageLine Bill(std::optional<Lsn> as_of = std::nullopt, std::string account = "acme") {
    auto result = db_->Aggregate(
        {.account_id = account, .from_ms = 0, .to_ms = INT64_MAX, .as_of_lsn = as_of});
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return result->lines.at(0);
  }
  std::vector<std::string> Listed() {
    std::vector<std::string> ids;
    auto stream = db_->ListEvents({.account_id = "acme", .from_ms = 0, .to_ms = INT64_MAX});
    EXPECT_TRUE(stream.ok());
    while (true) {
      auto event = stream->Next();
      EXPECT_TRUE(event.ok());
      if (!event->has_value()) return ids;
      ids.push_back((*event)->event_id);
    }
  }

  TempDir dir_;
  OpenOptions options_;
  std::unique_ptr<Db> db_;
};

TEST_F(DbTest, AnEventIsCountedOnceHoweverOftenItIsSent) {
  EXPECT_EQ(Ingest({MakeEvent("e1", 5), MakeEvent("e1", 5)}).accepted, 1u);
  EXPECT_EQ(Ingest({MakeEvent("e1", 5)}).duplicates, 1u);
  Reopen();
  const IngestResult again = Ingest({MakeEvent("e1", 5), MakeEvent("e2", 7)});
  EXPECT_EQ(again.duplicates, 1u);
  EXPECT_EQ(again.accepted, 1u);
  EXPECT_EQ(again.outcomes[0].lsn, Lsn{1});
  EXPECT_EQ(again.outcomes[1].lsn, Lsn{2});
  EXPECT_EQ(Bill().quantity, "12");
  EXPECT_EQ(Bill().count, 2u);
}

TEST_F(DbTest, AnOriginalInASegmentIsLookedUpOnRequestOnly) {
  Ingest({MakeEvent("e1", 5)});
  Reopen();
  ASSERT_EQ(db_->GetStatus().segments, 1u);
  Batch batch = db_->NewBatch();
  batch.Add(MakeEvent("e1", 5));
  auto result = db_->Ingest(std::move(batch));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->duplicates, 1u);
  EXPECT_EQ(result->outcomes[0].lsn, Lsn{0});
  EXPECT_EQ(Ingest({MakeEvent("e1", 5)}).outcomes[0].lsn, Lsn{1});
}

TEST_F(DbTest, AConflictIsKeptListedAndNeverCounted) {
  Ingest({MakeEvent("e1", 5)});
  const IngestResult first = Ingest({MakeEvent("e1", 6)});
  EXPECT_EQ(first.conflicts, 1u);
  EXPECT_EQ(first.outcomes[0].lsn, Lsn{2});
  Reopen();
  const IngestResult repeated = Ingest({MakeEvent("e1", 6)});
  EXPECT_EQ(repeated.conflicts, 1u);
  EXPECT_EQ(repeated.outcomes[0].lsn, Lsn{2}) << "a repeated conflict stores nothing";
  EXPECT_EQ(db_->VisibleLsn(), Lsn{2});
  EXPECT_EQ(Bill().quantity, "5");
  auto conflicts = db_->ListConflicts({});
  ASSERT_TRUE(conflicts.ok());
  ASSERT_EQ(conflicts->conflicts.size(), 1u);
  EXPECT_EQ(conflicts->conflicts[0].original_lsn, Lsn{1});
  EXPECT_EQ(conflicts->conflicts[0].event.quantity, Quantity::FromInteger(6));
  EXPECT_EQ(Listed(), std::vector<std::string>{"e1"});
}

TEST_F(DbTest, OneBadEventDoesNotFailItsBatch) {
  EventView no_id = MakeEvent("", 1);
  EventView bad_time = MakeEvent("e2", 1);
  bad_time.timestamp_ms = 0;
  const IngestResult result = Ingest({MakeEvent("e1", 1), no_id, bad_time, MakeEvent("e3", 1)});
  EXPECT_EQ(result.accepted, 2u);
  EXPECT_EQ(result.rejected, 2u);
  EXPECT_EQ(result.outcomes[1].rejection.field, "event_id");
  EXPECT_EQ(result.outcomes[2].rejection.code, "invalid_timestamp");
  EXPECT_EQ(Bill().count, 2u);
}

TEST_F(DbTest, AKnownEventIsADuplicateWhateverTheClockOrAnOptionSays) {
  options_.limits.timestamp_ahead_ms_max = INT64_MAX / 4;
  Reopen();
  EventView future = MakeEvent("future", 1);
  future.timestamp_ms = 8'000'000'000'000;
  const std::string long_id(200, 'x');
  EventView long_event = MakeEvent(long_id, 1);
  EXPECT_EQ(Ingest({future, long_event}).accepted, 2u);
  options_.limits.timestamp_ahead_ms_max = 1000;
  options_.limits.id_bytes_max = 100;
  Reopen();
  EXPECT_EQ(Ingest({future, long_event}).duplicates, 2u);
  EventView other_future = future;
  other_future.event_id = "other";
  const std::string other_long(201, 'x');
  const IngestResult refused = Ingest({other_future, MakeEvent(other_long, 1)});
  EXPECT_EQ(refused.rejected, 2u);
  EXPECT_EQ(refused.outcomes[0].rejection.code, "timestamp_in_future");
  EXPECT_EQ(refused.outcomes[1].rejection.code, "too_long");
}

TEST_F(DbTest, ADeferredRejectionGivesWayToIdentity) {
  auto send = [&](std::optional<Rejection> deferred) {
    Batch batch = db_->NewBatch();
    batch.Add(MakeEvent("e1", 1), std::move(deferred));
    return db_->Ingest(std::move(batch));
  };
  const Rejection unknown{"unknown_field", "colour", "..."};
  EXPECT_EQ(send(unknown)->rejected, 1u);
  EXPECT_EQ(send(std::nullopt)->accepted, 1u);
  EXPECT_EQ(send(unknown)->duplicates, 1u);
}

TEST_F(DbTest, ThePastIsAnsweredExactly) {
  Ingest({MakeEvent("e1", 1)});
  Ingest({MakeEvent("e2", 10)});
  Ingest({MakeEvent("e3", 100)});
  EXPECT_EQ(Bill(Lsn{0}).quantity, "0");
  EXPECT_EQ(Bill(Lsn{1}).quantity, "1");
  EXPECT_EQ(Bill(Lsn{2}).quantity, "11");
  EXPECT_EQ(Bill().quantity, "111");
  auto future = db_->Aggregate({.from_ms = 0, .to_ms = 1, .as_of_lsn = Lsn{4}});
  EXPECT_EQ(future.status().reason(), "lsn_in_future");
}

TEST_F(DbTest, CorrectionsAndRetractionsAddTheirSignAndAreToldApart) {
  EventView correction = MakeEvent("c1", -2);
  correction.kind = EventKind::kCorrection;
  correction.correction_ref = CorrectionRefView{"e1", "overcounted"};
  EventView retraction = MakeEvent("r1", -3);
  retraction.kind = EventKind::kRetraction;
  retraction.correction_ref = CorrectionRefView{"missing", ""};
  Ingest({MakeEvent("e1", 10), correction, retraction});
  const UsageLine line = Bill();
  EXPECT_EQ(line.quantity, "5");
  EXPECT_EQ(line.usage, "10");
  EXPECT_EQ(line.corrections, "-2");
  EXPECT_EQ(line.retractions, "-3");
  auto found = db_->GetEvent("c1");
  ASSERT_TRUE(found.ok());
  ASSERT_TRUE(found->original.has_value());
  EXPECT_EQ(found->original->lsn, Lsn{1});
  auto dangling = db_->GetEvent("r1");
  ASSERT_TRUE(dangling.ok());
  EXPECT_EQ(dangling->original->event_id, "missing");
  EXPECT_EQ(dangling->original->lsn, std::nullopt);
}

TEST_F(DbTest, ASecondProcessIsRefusedWithTheOwnersPid) {
  auto second = Db::Open(dir_.path() + "/data", options_);
  EXPECT_EQ(second.status().reason(), "locked");
  EXPECT_NE(second.status().message().find(std::to_string(getpid())), std::string::npos);
}

TEST_F(DbTest, AMissingDatabaseIsNotCreatedUnlessAsked) {
  OpenOptions options;
  options.create_if_missing = false;
  EXPECT_EQ(Db::Open(dir_.path() + "/other", options).status().code(), StatusCode::kNotFound);
}

TEST_F(DbTest, AllFaultsOfTheOptionsAreNamedAtOnce) {
  OpenOptions options;
  options.mark_idle_ms = 0;
  options.wal_file_bytes = 4097;
  options.commit_gap_us = 2'000'000;
  const Status status = Db::Open(dir_.path() + "/bad", options).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  for (const char* field : {"mark_idle_ms", "wal_file_bytes", "commit_gap_us"}) {
    EXPECT_NE(status.message().find(field), std::string::npos) << field;
  }
}

TEST_F(DbTest, ABatchThatIsTooLargeIsRefusedWholeAndChangesNothing) {
  Batch batch = db_->NewBatch();
  for (uint32_t i = 0; i <= options_.batch_events_max; ++i) batch.Add(MakeEvent("e1", 1));
  auto result = db_->Ingest(std::move(batch));
  EXPECT_EQ(result.status().reason(), "batch_too_large");
  EXPECT_EQ(db_->VisibleLsn(), Lsn{0});
}

TEST_F(DbTest, AFullLogGoesOnInTheNextFileAndMemoryIsTheLimit) {
  options_.wal_file_bytes = 16 * 4096;
  options_.batch_bytes_max = 4096;
  options_.group_bytes_max = 4096;
  options_.batch_events_max = 100;
  options_.memtable_rows_max = 100;
  options_.commit_gap_us = 0;
  options_.memtables_max = options_.key_tables_max = 3;
  options_.background_bytes_per_second = 1;  // no flush ends
  Reopen();
  uint64_t accepted = 0;
  Status refused;
  for (int i = 0; i < 100'000 && refused.ok(); ++i) {
    Batch batch = db_->NewBatch();
    batch.Add(MakeEvent("event-" + std::to_string(i), 1));
    auto result = db_->Ingest(std::move(batch));
    refused = result.status();
    if (result.ok()) accepted += result->accepted;
  }
  EXPECT_EQ(refused.reason(), "memory_full");
  EXPECT_EQ(db_->Ready().reason(), "memory_full");
  EXPECT_GT(db_->GetStatus().wal_files, 3u);
  EXPECT_EQ(Bill().count, accepted) << "reads go on";
  options_.background_bytes_per_second = 0;
  Reopen();
  EXPECT_EQ(Bill().count, accepted);
  EXPECT_EQ(Ingest({MakeEvent("one more", 1)}).accepted, 1u);
  auto report = db_->Verify({});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->rows, accepted + 1);
  EXPECT_TRUE(report->faults.empty()) << report->faults[0];
}

TEST_F(DbTest, WithScopeAccountTwoAccountsMayUseOneEventId) {
  options_.identity_scope = IdentityScope::kAccount;
  auto opened = Db::Open(dir_.path() + "/scoped", options_);
  ASSERT_TRUE(opened.ok());
  Db& db = *opened;
  Batch batch = db.NewBatch();
  batch.Add(MakeEvent("e1", 1, "acme"));
  batch.Add(MakeEvent("e1", 2, "globex"));
  auto result = db.Ingest(std::move(batch));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->accepted, 2u);
  EXPECT_EQ(db.GetEvent("e1").status().reason(), "account_id_required");
  EXPECT_EQ(db.GetEvent("e1", "globex")->event.quantity, Quantity::FromInteger(2));
}

}  // namespace
}  // namespace tallystick
