// Reading through a whole database: the same answer by every path, at every LSN and time, through
// flushes, on failing disks, or an error; never a smaller total.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/decimal.h"
#include "testing/rig.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kStart = 1'700'000'000'000 / kHourMs * kHourMs;
constexpr ReadPath kPaths[] = {ReadPath::kAuto, ReadPath::kRows, ReadPath::kEachRow};

Event MakeEvent(int id, std::string account, int64_t timestamp_ms, Quantity quantity) {
  Event event;
  event.event_id = "e" + std::to_string(id);
  event.account_id = std::move(account);
  event.product_id = "api";
  event.meter_id = id % 2 == 0 ? "in" : "out";
  event.unit = "t";
  event.timestamp_ms = timestamp_ms;
  event.quantity = quantity;
  return event;
}

class ReadingTest : public testing::Test {
 protected:
  void Ingest(const std::vector<Event>& events) {
    rig_.model.Sent(events);
    auto answer = rig_.machine.IngestInTheEnd(events);
    ASSERT_TRUE(answer.ok()) << answer.status().ToString();
    ASSERT_EQ(rig_.model.Answered(events, *answer), "");
  }
  static constexpr int kEventsAnHour = 4;  // of two accounts
  static std::vector<Event> EventsOfHour(int hour, int first_id, int64_t factor = 1) {
    std::vector<Event> events;
    for (int i = 0; i < kEventsAnHour; ++i) {
      const int id = first_id + i;
      events.push_back(MakeEvent(id, i < 2 ? "acme" : "bolt", kStart + hour * kHourMs + 900'000 * i,
                                 Quantity::FromInteger(id * factor)));
    }
    return events;
  }
  void IngestHours(int first_hour, int hours) {
    for (int hour = first_hour; hour < first_hour + hours; ++hour) {
      Ingest(EventsOfHour(hour, next_id_));
      next_id_ += kEventsAnHour;
    }
  }
  // The first rollup of a database that is this one, but for the quantities.
  static Bytes RollupOfOtherQuantities(int hours) {
    Rig other;
    other.Open();
    for (int hour = 0; hour < hours; ++hour) {
      auto answer = other.machine.IngestInTheEnd(EventsOfHour(hour, hour * kEventsAnHour, 2));
      EXPECT_TRUE(answer.ok()) << answer.status().ToString();
    }
    EXPECT_TRUE(other.machine.Close().ok());
    return other.Content(other.Files(".sum").at(0));
  }
  // What is in memory goes to a segment.
  void Flush() {
    rig_.Reopen();
    ASSERT_GT(rig_.status().segments, 0u);
    ASSERT_EQ(rig_.status().flushed_lsn, rig_.machine.db().VisibleLsn());
  }
  Db& db() { return rig_.machine.db(); }
  static UsageQuery Everything(ReadPath path = ReadPath::kAuto) {
    return {.from_ms = 0, .to_ms = INT64_MAX, .path = path};
  }

  Rig rig_;
  int next_id_ = 0;
};

TEST_F(ReadingTest, SumsAtTheLimitsAreExactInAnyOrderByEveryPath) {
  rig_.Open();
  constexpr int128 kMax = static_cast<int128>(~uint128{0} >> 1);
  const std::vector<Quantity> limits = {{kMax, 0},
                                        {kMax, 0},
                                        {-kMax - 1, 0},
                                        {kMax, 12},
                                        {-kMax - 1, 12},
                                        {kMax, 12},
                                        {kMax, 6},
                                        {1, 12},
                                        {-1, 12},
                                        {INT64_MAX, 0},
                                        {INT64_MIN, 0},
                                        {INT64_MAX, 3},
                                        Quantity::FromInteger(0)};
  ExactSum expected;
  std::vector<Event> events;
  for (size_t i = 0; i < limits.size(); ++i) {
    const Quantity quantity = Quantity::Normalized(limits[i].mantissa, limits[i].scale);
    expected.Add(quantity);
    events.push_back(MakeEvent(static_cast<int>(i), "acme", kStart + 1, quantity));
  }
  for (size_t i = 0; i < events.size(); ++i) {
    Ingest({events[(i * 5 + 3) % events.size()]});
    if (i == 6) Flush();  // the rest in another segment
  }
  const auto expect = [&] {
    for (const ReadPath path : kPaths) {
      const auto result = db().Aggregate(Everything(path));
      ASSERT_TRUE(result.ok());
      EXPECT_EQ(result->lines[0].quantity, expected.ToString());
      EXPECT_EQ(result->lines[0].count, events.size());
    }
  };
  expect();
  Flush();
  expect();
  const auto by_rollups = db().Aggregate(Everything());
  EXPECT_EQ(by_rollups->rows.rollups, events.size());
  rig_.ExpectWhole();
}

TEST_F(ReadingTest, ACursorGivesEachEventOnceThroughFlushes) {
  rig_.Open();
  IngestHours(0, 10);
  std::map<std::string, int> seen;
  EventsQuery query{.account_id = "acme", .from_ms = 0, .to_ms = INT64_MAX};
  int64_t last = 0;
  Lsn as_of;
  for (int page = 0;; ++page) {
    auto stream = db().ListEvents(query);
    ASSERT_TRUE(stream.ok()) << stream.status().ToString();
    if (page == 0) as_of = stream->lsn();
    EXPECT_EQ(stream->lsn(), as_of);
    for (int i = 0; i < 3; ++i) {
      auto event = stream->Next();
      ASSERT_TRUE(event.ok());
      if (!event->has_value()) break;
      ++seen[(*event)->event_id];
      EXPECT_GE((*event)->timestamp_ms, last);
      last = (*event)->timestamp_ms;
    }
    query.cursor = stream->NextCursor();
    if (query.cursor.empty()) break;
    IngestHours(10 + page, 1);
    if (page % 2 == 0) {
      stream = db().ListEvents(query);  // its rows live on beyond the flush
      rig_.machine.RunUntilIdle();
    } else {
      Flush();
    }
  }
  EXPECT_EQ(seen.size(), 20u);
  for (const auto& [id, count] : seen) EXPECT_EQ(count, 1) << id;
}

TEST_F(ReadingTest, TheSameTimeIsTheSameAnswerWhateverIsCommittedMeanwhile) {
  rig_.Open();
  IngestHours(0, 3);
  const int64_t now = rig_.machine.clock().WallMicros();
  UsageQuery query = Everything();
  query.as_of_lsn = rig_.machine.LsnAt(now).value();
  EXPECT_EQ(query.as_of_lsn->value, 12u);
  const std::string before = db().Aggregate(query)->lines[0].quantity;
  rig_.machine.clock().JumpWall(-3'600'000'000);  // later events, earlier by the clock
  IngestHours(3, 3);
  EXPECT_EQ(rig_.machine.LsnAt(now).value().value, 12u);
  Flush();
  IngestHours(6, 1);
  query.as_of_lsn = rig_.machine.LsnAt(now).value();
  EXPECT_EQ(query.as_of_lsn->value, 12u);
  EXPECT_EQ(db().Aggregate(query)->lines[0].quantity, before);
  EXPECT_EQ(rig_.machine.LsnAt(1).value().value, 0u);
  const Status future = rig_.machine.LsnAt(now + (int64_t{1} << 50)).status();
  EXPECT_EQ(future.reason(), "as_of_in_future");
}

TEST_F(ReadingTest, ExplainNamesWhatWasReadAndWhatWasNot) {
  rig_.Open();
  IngestHours(0, 6);
  Flush();
  IngestHours(6, 6);
  Flush();
  IngestHours(12, 1);
  // Half an hour of the first segment's rows, whole hours, and memory; nothing of the second half.
  UsageQuery query = Everything();
  query.account_id = "acme";
  query.from_ms = kStart + kHourMs / 2;
  query.group_by = {Field::Parse("meter_id")};
  query.explain = true;
  const auto result = db().Aggregate(query);
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->plan.segments.size(), rig_.status().segments);
  EXPECT_GT(result->rows.rollups, 0u);
  EXPECT_EQ(result->rows.memory, 2u);
  uint64_t events = 0, rolled_up = 0;
  for (const UsageLine& line : result->lines) {
    uint64_t of_line = line.memory_rows;
    for (const SegmentInputs& inputs : line.inputs) {
      of_line += inputs.rows + inputs.rolled_up;
      rolled_up += inputs.rolled_up;
      EXPECT_EQ(inputs.rolled_up > 0, !inputs.rollup_blocks.empty());
      EXPECT_EQ(inputs.rows > 0, !inputs.row_groups.empty());
    }
    EXPECT_EQ(of_line, line.count);
    events += line.count;
  }
  EXPECT_EQ(rolled_up, result->rows.rollups);
  EXPECT_EQ(events, result->rows.rollups + result->rows.segments + result->rows.memory);

  const auto pruned = [&](UsageQuery asked) {
    asked.explain = true;
    return db().Aggregate(asked)->plan.segments.back().pruned;
  };
  UsageQuery early = query;
  early.to_ms = kStart + kHourMs;
  EXPECT_EQ(pruned(early), "time");
  UsageQuery nobody = query;
  nobody.account_id = "nobody";
  EXPECT_EQ(pruned(nobody), "account");
  UsageQuery nothing = query;
  nothing.filters = {{Field::Parse("meter_id"), {"none"}}};
  EXPECT_EQ(pruned(nothing), "filter");
  UsageQuery past = query;
  past.as_of_lsn = Lsn{1};
  EXPECT_EQ(pruned(past), "lsn");
}

// Every read of a segment fails in turn: the query says where, and the next one is right.
TEST_F(ReadingTest, AReadErrorFailsTheQueryWithFileAndOffset) {
  OpenOptions options = SmallOptions(true);
  options.cache_bytes_max = 0;  // every query reads
  rig_.machine.SetOptions(options);
  rig_.Open();
  IngestHours(0, 8);
  Flush();
  UsageQuery query = Everything();
  query.account_id = "acme";
  query.group_by = {Field::Parse("meter_id"), Field::Parse("hour_start_ms")};
  const auto text = [](const UsageResult& result) {
    std::string out;
    for (const UsageLine& line : result.lines) {
      out += fmt::format("{} {} {};", fmt::join(line.keys, ","), line.quantity, line.count);
    }
    return out;
  };
  uint64_t failed = 0;
  for (const ReadPath path : kPaths) {
    query.path = path;
    const std::string right = text(*db().Aggregate(query));
    for (uint64_t n = 0;; ++n) {
      rig_.faults->Set(Fault{FaultOp::kRead, n, false, EIO, false, ".seg"});
      const auto result = db().Aggregate(query);
      const bool fired = rig_.faults->fired() > 0;
      rig_.faults->Set(std::nullopt);
      if (!result.ok()) {
        EXPECT_EQ(result.status().code(), StatusCode::kIoError);
        EXPECT_NE(result.status().message().find(".seg"), std::string::npos);
        ++failed;
      } else {
        EXPECT_EQ(text(*result), right);
      }
      if (!fired) break;
      rig_.Pass(60);  // a rollup that was blamed is rebuilt
    }
    EXPECT_EQ(text(*db().Aggregate(query)), right);
  }
  EXPECT_GT(failed, 20u);
  ReportTried(fmt::format("reading reads_failed={}", failed));
}

TEST_F(ReadingTest, ARollupThatCannotBeReadIsRebuiltAndRowsAnswerMeanwhile) {
  OpenOptions options = SmallOptions(true);
  options.cache_bytes_max = 0;
  rig_.machine.SetOptions(options);
  rig_.Open();
  IngestHours(0, 8);
  Flush();
  const auto before = db().Aggregate(Everything());
  ASSERT_GT(before->rows.rollups, 0u);
  for (uint64_t n = 0; n < 4; ++n) {
    const uint64_t corrupt = rig_.status().rollups_corrupt;
    rig_.faults->Set(Fault{FaultOp::kRead, n, false, EIO, false, ".sum"});
    const auto result = db().Aggregate(Everything());
    ASSERT_TRUE(result.ok()) << result.status().ToString();
    EXPECT_EQ(result->lines[0].quantity, before->lines[0].quantity);
    const bool fired = rig_.faults->fired() > 0;
    rig_.faults->Set(std::nullopt);
    if (fired) {
      EXPECT_EQ(rig_.status().rollups_corrupt, corrupt + 1);
      EXPECT_LT(result->rows.rollups, before->rows.rollups);
    }
    rig_.Pass(60);
    EXPECT_EQ(rig_.status().rollups, rig_.status().segments);
    EXPECT_EQ(db().Aggregate(Everything())->rows.rollups, before->rows.rollups);
  }
  EXPECT_GT(rig_.status().rollups_rebuilt, 1u);
}

TEST_F(ReadingTest, ARollupOnDiskThatIsDamagedOrAnothersIsRebuilt) {
  rig_.Open();
  IngestHours(0, 6);
  Flush();
  IngestHours(6, 6);
  Flush();
  const std::string total = db().Aggregate(Everything())->lines[0].quantity;
  ASSERT_TRUE(rig_.machine.Close().ok());
  const std::vector<std::string> files = rig_.Files(".sum");
  ASSERT_GE(files.size(), 2u);
  const Bytes first = rig_.Content(files[0]);
  const Bytes second = rig_.Content(files[1]);
  Bytes flipped = first;
  flipped[flipped.size() / 2] ^= std::byte{1};
  Bytes cut(first.begin(), first.end() - 9);
  const Bytes other = RollupOfOtherQuantities(6);
  ASSERT_NE(other, first);
  for (const Bytes& bytes : {second, other, flipped, cut, Bytes()}) {
    rig_.Put(files[0], bytes);
    rig_.Open();
    EXPECT_EQ(db().Aggregate(Everything())->lines[0].quantity, total);
    rig_.Pass(60);
    EXPECT_EQ(db().Aggregate(Everything())->lines[0].quantity, total);
    rig_.Pass(60);
    EXPECT_EQ(rig_.status().rollups, rig_.status().segments);
    EXPECT_EQ(rig_.status().rollups_rebuilt, 1u);
    rig_.ExpectWhole();
    ASSERT_TRUE(rig_.machine.Close().ok());
    EXPECT_EQ(rig_.Content(files[0]), first);
  }
  rig_.Open();
}

TEST_F(ReadingTest, AFlushWhoseRollupFailsGoesOnWithoutIt) {
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync, FaultOp::kRead}) {
    Rig rig;
    rig.Open();
    rig.faults->Set(Fault{op, 0, true, EIO, false, ".sum"});
    rig.Ingest(0, 30);
    rig.machine.RunUntilIdle();
    ASSERT_GT(rig.status().segments, 0u);
    EXPECT_EQ(rig.status().rollups, 0u);
    EXPECT_GT(rig.status().rollup_write_failures, 0u);
    EXPECT_TRUE(rig.status().flush.ok());
    rig.faults->Set(std::nullopt);
    rig.Pass(60);
    rig.Pass(60);
    EXPECT_EQ(rig.status().rollups, rig.status().segments);
    rig.ExpectWhole();
  }
}

TEST_F(ReadingTest, AReadIsBoundedInMemoryAndEndsWhenNobodyWaits) {
  OpenOptions options = SmallOptions(true);
  options.query_memory_bytes_max = 2'000;
  rig_.machine.SetOptions(options);
  rig_.Open();
  IngestHours(0, 20);
  Flush();
  EXPECT_TRUE(db().Aggregate(Everything()).ok());
  UsageQuery wide = Everything();
  wide.group_by = {Field::Parse("hour_start_ms")};
  for (const ReadPath path : kPaths) {
    wide.path = path;
    EXPECT_EQ(db().Aggregate(wide).status().reason(), "query_too_large");
  }
  UsageQuery distinct = Everything();
  distinct.metrics = {{Metric::Function::kUnique, std::nullopt}};
  EXPECT_EQ(db().Aggregate(distinct).status().reason(), "query_too_large");

  const auto cancelled = std::make_shared<const std::atomic<bool>>(true);
  for (const ReadPath path : kPaths) {
    UsageQuery query = Everything(path);
    query.cancelled = cancelled;
    EXPECT_EQ(db().Aggregate(query).status().reason(), "cancelled");
  }
  auto stream = db().ListEvents({.from_ms = 0, .to_ms = INT64_MAX, .cancelled = cancelled});
  EXPECT_EQ(stream.status().reason(), "cancelled");
  EXPECT_EQ(db().ListAccounts({.cancelled = cancelled}).status().reason(), "cancelled");
}

TEST_F(ReadingTest, WhatMakesNoSenseIsRefused) {
  rig_.Open();
  const auto reason = [&](auto&& edit) {
    UsageQuery query = Everything();
    edit(query);
    return std::string(db().Aggregate(query).status().reason());
  };
  EXPECT_EQ(reason([](UsageQuery& q) { q.time_zone = "Mars"; }), "invalid_time_zone");
  EXPECT_EQ(reason([](UsageQuery& q) { q.metrics = {{{}, Field::Parse("day")}}; }),
            "invalid_metric");
  EXPECT_EQ(reason([](UsageQuery& q) { q.order = {{GroupOrder::By::kKey}}; }), "invalid_order");
  EXPECT_EQ(reason([](UsageQuery& q) { q.order = {{GroupOrder::By::kMetric}}; }), "invalid_order");
  EXPECT_EQ(reason([](UsageQuery& q) { q.filters = {{Field::Parse("month"), {"1"}}}; }),
            "invalid_filter");
}

}  // namespace
}  // namespace tallystick
