#include "query/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/identity.h"
#include "query/row_fixture.h"

namespace tallystick {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

VerifyReport Check(const View& view) {
  Result<VerifyReport> report = Verify(view, {});
  EXPECT_TRUE(report.ok());
  return report.ok() ? *report : VerifyReport{};
}

// Rows and keys as given, sound or not.
class Damaged {
 public:
  struct Row {
    Event event;
    Disposition disposition = Disposition::kCounted;
  };

  // Appends a memtable with these rows, each as a frame.
  Memtable& Add(Lsn first_lsn, const std::vector<Row>& rows) {
    auto memtable = std::make_shared<Memtable>(Memtable::Capacity{1 << 16, 64, 64});
    for (const Row& row : rows) {
      const EventView view{.event_id = row.event.event_id,
                           .account_id = row.event.account_id,
                           .product_id = row.event.product_id,
                           .meter_id = row.event.meter_id,
                           .unit = row.event.unit,
                           .source = row.event.source,
                           .timestamp_ms = row.event.timestamp_ms,
                           .quantity = row.event.quantity};
      Bytes record(kRecordHeaderBytes);
      EncodeCanonical(view, record);
      StoreFixed<uint32_t>(record.data(), record.size() - kRecordHeaderBytes);
      record[4] = static_cast<std::byte>(row.disposition);
      EXPECT_TRUE(memtable->AppendFrame(first_lsn, 1, record, 1));
      ++first_lsn.value;
    }
    view_.visible = {first_lsn.value - 1};
    list_.push_back(memtable);
    return *memtable;
  }

  VerifyReport Check() {
    auto version = std::make_shared<DataVersion>();
    version->memtables = list_;
    view_.version = std::move(version);
    return tallystick::Check(view_);
  }

  static EventHash Id(const std::string& event_id) {
    return IdHash(IdentityScope::kGlobal, "", event_id);
  }
  static uint64_t Payload(const Memtable& memtable, Lsn lsn) {
    return PayloadHash(memtable.Record(lsn).canonical);
  }
  View& view() { return view_; }

 private:
  MemtableList list_;
  View view_;
};

TEST(VerifyTest, SoundRowsHaveNoFault) {
  for (const auto scope : {IdentityScope::kGlobal, IdentityScope::kAccount}) {
    RowFixture rows(scope, 37, 5000);
    uint64_t conflicts = 0;
    for (uint64_t frame = 0; frame < 40; ++frame) {
      std::vector<Event> events;
      for (uint64_t i = 0; i < 25; ++i) events.push_back(EventFromSeed(frame * 25 + i));
      rows.Ingest(events);
    }
    for (const StoredRow& row : rows.stored()) conflicts += row.quarantined ? 1 : 0;
    ASSERT_GT(conflicts, 100u);
    ASSERT_GT(rows.memtables(), 10u);
    const VerifyReport report = Check(rows.view());
    EXPECT_THAT(report.faults, IsEmpty());
    EXPECT_EQ(report.rows, rows.stored().size());
    EXPECT_EQ(report.conflicts, conflicts);
    EXPECT_EQ(report.accounts, 4u);
    EXPECT_EQ(report.lsn.value, rows.stored().size());
    // In the middle of a frame, with keys and rows behind it.
    EXPECT_THAT(Check(rows.view(Lsn{rows.stored().size() / 2})).faults, IsEmpty());
  }
}

TEST(VerifyTest, NothingIsSound) {
  const VerifyReport report = Check(RowFixture().view());
  EXPECT_THAT(report.faults, IsEmpty());
  EXPECT_EQ(report.rows, 0u);
}

TEST(VerifyTest, TheLastMillisecondThatNoRangeReachesIsNoFault) {
  RowFixture rows;
  rows.Ingest({MakeEvent("1", "acme", 1, INT64_MAX), MakeEvent("2")});
  EXPECT_THAT(Check(rows.view()).faults, IsEmpty());
}

TEST(VerifyTest, NamesARowWithoutItsKey) {
  Damaged rows;
  Memtable& memtable = rows.Add(Lsn{1}, {{MakeEvent("one")}, {MakeEvent("two")}});
  memtable.keys().Insert(Damaged::Id("two"), Damaged::Payload(memtable, Lsn{2}), Lsn{2});
  EXPECT_THAT(rows.Check().faults, ElementsAre("LSN 1 (event 'one'): its key leads to nothing",
                                               "there are 1 keys for 2 rows in memory"));
}

TEST(VerifyTest, NamesAKeyThatLeadsToAnotherRow) {
  Damaged rows;
  Memtable& memtable = rows.Add(Lsn{1}, {{MakeEvent("one")}, {MakeEvent("two")}});
  memtable.keys().Insert(Damaged::Id("one"), Damaged::Payload(memtable, Lsn{1}), Lsn{2});
  memtable.keys().Insert(Damaged::Id("two"), Damaged::Payload(memtable, Lsn{2}), Lsn{2});
  EXPECT_THAT(rows.Check().faults,
              ElementsAre("LSN 1 (event 'one'): its key leads to another row too"));
}

TEST(VerifyTest, NamesAWrongPayloadHash) {
  Damaged rows;
  Memtable& memtable = rows.Add(Lsn{1}, {{MakeEvent("one")}});
  memtable.keys().Insert(Damaged::Id("one"), Damaged::Payload(memtable, Lsn{1}) + 1, Lsn{1});
  EXPECT_THAT(rows.Check().faults,
              ElementsAre("LSN 1 (event 'one'): its key has another payload hash"));
}

TEST(VerifyTest, CountsKeysWithoutRows) {
  Damaged rows;
  Memtable& memtable = rows.Add(Lsn{1}, {{MakeEvent("one")}});
  memtable.keys().Insert(Damaged::Id("one"), Damaged::Payload(memtable, Lsn{1}), Lsn{1});
  memtable.keys().Insert(Damaged::Id("ghost"), 7, Lsn{1});
  memtable.keys().Insert(Damaged::Id("being committed"), 7, Lsn{2});
  EXPECT_THAT(rows.Check().faults, ElementsAre("there are 2 keys for 1 rows in memory"));
}

TEST(VerifyTest, NamesAnEventThatIsCountedTwice) {
  Damaged rows;
  for (const Lsn lsn : {Lsn{1}, Lsn{2}}) {
    Memtable& memtable = rows.Add(lsn, {{MakeEvent("one")}});
    memtable.keys().Insert(Damaged::Id("one"), Damaged::Payload(memtable, lsn), lsn);
  }
  EXPECT_THAT(rows.Check().faults,
              UnorderedElementsAre("LSN 1 (event 'one'): its key leads to another row too",
                                   "LSN 2 (event 'one'): its key leads to another row too"));
}

TEST(VerifyTest, NamesAConflictWithoutAnOriginal) {
  Damaged rows;
  Memtable& memtable = rows.Add(Lsn{1}, {{MakeEvent("one"), Disposition::kQuarantined}});
  const ByteSpan canonical = memtable.Record(Lsn{1}).canonical;
  memtable.keys().Insert(ConflictKey(Damaged::Id("one"), canonical), PayloadHash(canonical),
                         Lsn{1});
  EXPECT_THAT(rows.Check().faults,
              ElementsAre("LSN 1 (event 'one'): a conflict without an original"));
}

TEST(VerifyTest, NamesHolesInTheLsnLine) {
  Damaged rows;
  auto add = [&](Lsn lsn, const std::string& id) {
    Memtable& memtable = rows.Add(lsn, {{MakeEvent(id)}});
    memtable.keys().Insert(Damaged::Id(id), Damaged::Payload(memtable, lsn), lsn);
  };
  add(Lsn{1}, "one");
  add(Lsn{3}, "three");
  EXPECT_THAT(rows.Check().faults, Contains("LSN 1 is followed by 3"));
  rows.view().visible = {4};
  EXPECT_THAT(rows.Check().faults, Contains("the rows end at LSN 3, the visible LSN is 4"));
}

TEST(VerifyTest, TellsItsProgress) {
  RowFixture rows(IdentityScope::kGlobal, 70'000, 16 << 20);
  for (int frame = 0; frame < 2; ++frame) {
    std::vector<Event> events;
    for (int i = 0; i < 60'000; ++i) {
      events.push_back(MakeEvent(std::to_string(frame) + "-" + std::to_string(i)));
    }
    rows.Ingest(events);
  }
  std::vector<std::pair<uint64_t, uint64_t>> told;
  const auto report =
      Verify(rows.view(), [&](uint64_t done, uint64_t all) { told.emplace_back(done, all); });
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->faults, IsEmpty());
  EXPECT_THAT(told, ElementsAre(std::pair(100'000ul, 120'000ul)));
}

}  // namespace
}  // namespace tallystick
