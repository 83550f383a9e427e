// Writers and readers at once on the real machine: what ThreadSanitizer is to look at.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tallystick/backup.h"
#include "tallystick/db.h"
#include "testing/temp_dir.h"

namespace tallystick {
namespace {

constexpr int kWriters = 3;
constexpr int kReaders = 64;
constexpr int kBatches = 150;
constexpr int kEventsPerBatch = 7;

OpenOptions SmallLogs() {
  OpenOptions options;
  options.wal_file_bytes = 32 * 4096;  // many files within one run
  options.batch_bytes_max = 16 * 4096;
  options.group_bytes_max = 8 * 4096;
  options.batch_events_max = 200;
  options.memtable_rows_max = 300;
  options.compaction_fan_in = 3;
  options.commit_gap_us = 50;
  options.mark_idle_ms = 1;
  return options;
}

std::string EventId(int writer, int batch, int event) {
  return "w" + std::to_string(writer) + "-" + std::to_string(batch) + "-" + std::to_string(event);
}

Batch MakeBatch(const Db& db, int writer, int number) {
  Batch batch = db.NewBatch();
  for (int i = 0; i < kEventsPerBatch; ++i) {
    const std::string id = EventId(writer, number, i);
    EventView event;
    event.event_id = id;
    event.account_id = i % 2 == 0 ? "even" : "odd";
    event.product_id = "p";
    event.meter_id = "m";
    event.timestamp_ms = 1'700'000'000'000 + number;
    event.quantity = Quantity::FromInteger(1);
    batch.Add(event);
  }
  return batch;
}

// Small logs fill faster than they are flushed: a refusal is sent again.
Result<IngestResult> IngestInTheEnd(Db& db, int writer, int batch) {
  while (true) {
    auto result = db.Ingest(MakeBatch(db, writer, batch));
    if (result.ok() || result.status().reason() != "memory_full") return result;
    std::this_thread::yield();
  }
}

TEST(Threads, ReadersNeverSeeHalfABatchNorATotalThatIsNotTheSumOfItsRows) {
  TempDir dir;
  auto opened = Db::Open(dir.path() + "/data", SmallLogs());
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  Db& db = *opened;
  std::atomic<bool> stop = false;
  std::atomic<int> reads = 0;
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&db, w] {
      for (int b = 0; b < kBatches; ++b) {
        auto result = IngestInTheEnd(db, w, b);
        ASSERT_TRUE(result.ok()) << result.status().ToString();
        ASSERT_EQ(result->accepted, static_cast<uint64_t>(kEventsPerBatch));
        auto again = IngestInTheEnd(db, w, b / 2);
        ASSERT_TRUE(again.ok()) << again.status().ToString();
        ASSERT_EQ(again->duplicates, static_cast<uint64_t>(kEventsPerBatch));
        ASSERT_TRUE(db.GetEvent(EventId(w, b, 0)).ok()) << "one's own write is visible at once";
      }
    });
  }
  for (int r = 0; r < kReaders; ++r) {
    threads.emplace_back([&] {
      while (!stop) {
        auto total = db.Aggregate({.from_ms = 0, .to_ms = INT64_MAX});
        ASSERT_TRUE(total.ok());
        ASSERT_EQ(total->lines[0].count, total->lsn.value);
        ASSERT_EQ(total->lines[0].count % kEventsPerBatch, 0u);
        ASSERT_EQ(total->lines[0].quantity, std::to_string(total->lsn.value));
        auto odd = db.Aggregate({.account_id = "odd", .from_ms = 0, .to_ms = INT64_MAX});
        ASSERT_TRUE(odd.ok());
        ASSERT_EQ(odd->lines[0].count, odd->lsn.value / kEventsPerBatch * (kEventsPerBatch / 2));
        ASSERT_FALSE(db.GetStatus().wal_poisoned);
        ++reads;
        // So many readers would leave the writers no processor.
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    });
  }
  for (int w = 0; w < kWriters; ++w) threads[static_cast<size_t>(w)].join();
  while (reads == 0 && !testing::Test::HasFailure()) std::this_thread::yield();
  stop = true;
  for (size_t r = kWriters; r < threads.size(); ++r) threads[r].join();
  EXPECT_GT(reads, 0);
  EXPECT_EQ(db.VisibleLsn().value, static_cast<uint64_t>(kWriters * kBatches * kEventsPerBatch));
  EXPECT_TRUE(db.Close().ok());
  auto reopened = Db::Open(dir.path() + "/data", SmallLogs());
  ASSERT_TRUE(reopened.ok());
  auto report = reopened->Verify({});
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->faults.empty()) << report->faults[0];
  EXPECT_EQ(report->rows, static_cast<uint64_t>(kWriters * kBatches * kEventsPerBatch));
}

// What is published all the time is walked through all the time.
TEST(Threads, ScrubsAndBackupsGoOnBesideFlushesAndMerges) {
  TempDir dir;
  OpenOptions options = SmallLogs();
  options.background_bytes_per_second = 0;
  options.scrub_bytes_per_second = 1 << 30;
  auto opened = Db::Open(dir.path() + "/data", options);
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  Db& db = *opened;
  std::atomic<bool> stop = false;
  std::atomic<int> backups = 0;
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&db, w] {
      for (int b = 0; b < kBatches; ++b) ASSERT_TRUE(IngestInTheEnd(db, w, b).ok());
    });
  }
  threads.emplace_back([&] {
    while (!stop) {
      ASSERT_TRUE(db.StartScrub().ok());
      std::this_thread::yield();
    }
  });
  threads.emplace_back([&] {
    while (!stop) {
      auto backup = db.Backup(dir.path() + "/backup", {});
      ASSERT_TRUE(backup.ok()) << backup.status().ToString();
      ++backups;
    }
  });
  for (int w = 0; w < kWriters; ++w) threads[static_cast<size_t>(w)].join();
  const Status merged = db.Compact({});
  EXPECT_TRUE(merged.ok()) << merged.ToString();
  while ((db.GetStatus().scrub.passes < 2 || backups == 0) && !testing::Test::HasFailure()) {
    std::this_thread::yield();
  }
  stop = true;
  for (size_t t = kWriters; t < threads.size(); ++t) threads[t].join();
  const DbStatus status = db.GetStatus();
  EXPECT_GT(status.scrub.passes, 1u);
  EXPECT_EQ(status.scrub.faults, 0u);
  EXPECT_GT(status.compactions, 0u);
  EXPECT_GT(backups, 0);
  EXPECT_TRUE(db.Close().ok());
  auto report = VerifyBackup(dir.path() + "/backup", nullptr, {});
  EXPECT_TRUE(report.ok()) << report.status().ToString();
}

TEST(Threads, ClosingAnswersEveryRequest) {
  TempDir dir;
  std::atomic<int> answered = 0;
  {
    auto opened = Db::Open(dir.path() + "/data", SmallLogs());
    ASSERT_TRUE(opened.ok());
    for (int b = 0; b < 50; ++b) {
      opened->IngestAsync(MakeBatch(*opened, 0, b), [&](Result<IngestResult> result) {
        EXPECT_TRUE(result.ok()) << result.status().ToString();
        ++answered;
      });
    }
    EXPECT_TRUE(opened->Close().ok());
    EXPECT_EQ(answered, 50);
    auto late = opened->Ingest(MakeBatch(*opened, 1, 0));
    EXPECT_EQ(late.status().reason(), "closed");
  }
}

}  // namespace
}  // namespace tallystick
