#include "memtable/memtable.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <thread>

#include "model/batch_builder.h"

namespace tallystick {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Bytes Record(const std::string& event_id, const std::string& account_id,
             Disposition disposition = Disposition::kCounted) {
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, {});
  batch.Add({.event_id = event_id,
             .account_id = account_id,
             .product_id = "p",
             .meter_id = "m",
             .timestamp_ms = 1,
             .quantity = Quantity::FromInteger(1)});
  const ByteSpan records = BatchBuilder::Of(batch).records();
  Bytes record(records.begin(), records.end());
  record[4] = static_cast<std::byte>(disposition);
  return record;
}

void Append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

std::vector<uint64_t> LsnsOf(const Memtable& memtable, const std::string& account, Lsn visible) {
  std::vector<uint64_t> lsns;
  memtable.ForEachOfAccount(account, visible, [&](Lsn lsn, const RecordView& record) {
    EXPECT_EQ(CanonicalAccountId(record.canonical), account);
    lsns.push_back(lsn.value);
    return true;
  });
  return lsns;
}

std::vector<uint64_t> Quarantined(const Memtable& memtable, Lsn visible) {
  std::vector<uint64_t> lsns;
  memtable.ForEachQuarantined(visible, [&](Lsn lsn, const RecordView& record) {
    EXPECT_EQ(record.disposition, Disposition::kQuarantined);
    lsns.push_back(lsn.value);
  });
  return lsns;
}

constexpr Memtable::Capacity kCapacity{4096, 50, 10};

TEST(MemtableTest, EmptyHasNothing) {
  const Memtable memtable(kCapacity);
  EXPECT_TRUE(memtable.empty());
  EXPECT_EQ(memtable.end_lsn(), Lsn{0});
  EXPECT_THAT(LsnsOf(memtable, "a", Lsn{99}), IsEmpty());
  EXPECT_THAT(Quarantined(memtable, Lsn{99}), IsEmpty());
}

TEST(MemtableTest, RowsAreWhereTheirLsnSays) {
  Memtable memtable(kCapacity);
  Bytes frame = Record("one", "a");
  Append(frame, Record("two", "b", Disposition::kQuarantined));
  ASSERT_TRUE(memtable.AppendFrame(Lsn{100}, 5'000, frame, 2));
  ASSERT_TRUE(memtable.AppendFrame(Lsn{102}, 6'000, Record("three", "a"), 1));
  EXPECT_EQ(memtable.first_lsn(), Lsn{100});
  EXPECT_EQ(memtable.end_lsn(), Lsn{103});
  EXPECT_EQ(CanonicalEventId(memtable.Record(Lsn{100}).canonical), "one");
  EXPECT_EQ(CanonicalEventId(memtable.Record(Lsn{101}).canonical), "two");
  EXPECT_EQ(CanonicalEventId(memtable.Record(Lsn{102}).canonical), "three");
  EXPECT_EQ(memtable.Record(Lsn{101}).disposition, Disposition::kQuarantined);
  EXPECT_EQ(memtable.CommitTimeMicros(Lsn{100}), 5'000);
  EXPECT_EQ(memtable.CommitTimeMicros(Lsn{101}), 5'000);
  EXPECT_EQ(memtable.CommitTimeMicros(Lsn{102}), 6'000);
  EXPECT_THAT(LsnsOf(memtable, "a", Lsn{102}), ElementsAre(102, 100)) << "newest first";
  EXPECT_THAT(LsnsOf(memtable, "a", Lsn{101}), ElementsAre(100)) << "only the visible";
  EXPECT_THAT(LsnsOf(memtable, "", Lsn{102}), IsEmpty());
  EXPECT_THAT(Quarantined(memtable, Lsn{102}), ElementsAre(101));
  EXPECT_THAT(Quarantined(memtable, Lsn{100}), IsEmpty());
  EXPECT_DEATH(memtable.Record(Lsn{99}), "first_lsn");
  EXPECT_DEATH(memtable.Record(Lsn{103}), "end_lsn");
}

TEST(MemtableTest, AChainCanBeLeftEarly) {
  Memtable memtable(kCapacity);
  for (uint64_t lsn = 1; lsn <= 5; ++lsn) {
    ASSERT_TRUE(memtable.AppendFrame(Lsn{lsn}, 1, Record(std::to_string(lsn), "a"), 1));
  }
  int rows = 0;
  memtable.ForEachOfAccount("a", Lsn{5}, [&](Lsn, const RecordView&) { return ++rows < 2; });
  EXPECT_EQ(rows, 2);
}

TEST(MemtableTest, WhatDoesNotDecodeIsNotAppended) {
  Memtable memtable(kCapacity);
  ASSERT_TRUE(memtable.AppendFrame(Lsn{1}, 1, Record("one", "a"), 1));
  Bytes two = Record("two", "a");
  Append(two, Record("three", "a"));
  EXPECT_FALSE(memtable.AppendFrame(Lsn{2}, 2, two, 1)) << "more bytes than rows";
  EXPECT_FALSE(memtable.AppendFrame(Lsn{2}, 2, two, 3)) << "more rows than bytes";
  EXPECT_FALSE(memtable.AppendFrame(Lsn{2}, 2, ByteSpan(two).first(two.size() - 1), 2));
  Bytes unknown = Record("two", "a");
  unknown[4] = std::byte{2};
  EXPECT_FALSE(memtable.AppendFrame(Lsn{2}, 2, unknown, 1)) << "no such disposition";
  EXPECT_EQ(memtable.end_lsn(), Lsn{2});
  EXPECT_THAT(LsnsOf(memtable, "a", Lsn{9}), ElementsAre(1));
  ASSERT_TRUE(memtable.AppendFrame(Lsn{2}, 2, two, 2)) << "and it goes on";
  EXPECT_THAT(LsnsOf(memtable, "a", Lsn{9}), ElementsAre(3, 2, 1));
  EXPECT_EQ(CanonicalEventId(memtable.Record(Lsn{3}).canonical), "three");
}

TEST(MemtableTest, FitsUpToEachCapacityAndNoFurther) {
  const Bytes record = Record("1", "a");
  const Memtable::Capacity capacity{3 * record.size(), 3, 3};
  Memtable memtable(capacity);
  EXPECT_TRUE(memtable.Fits(3 * record.size(), 3));
  EXPECT_FALSE(memtable.Fits(3 * record.size() + 1, 3));
  EXPECT_FALSE(memtable.Fits(3 * record.size(), 4));
  for (uint64_t lsn = 1; lsn <= 3; ++lsn) {
    ASSERT_TRUE(memtable.Fits(record.size(), 1));
    ASSERT_TRUE(memtable.AppendFrame(Lsn{lsn}, 1, record, 1));
  }
  EXPECT_FALSE(memtable.Fits(0, 0)) << "no frame left";
  EXPECT_EQ(memtable.bytes(), Memtable::BytesFor(capacity));

  Memtable frames({3 * record.size(), 3, 1});
  ASSERT_TRUE(frames.AppendFrame(Lsn{1}, 1, record, 1));
  EXPECT_FALSE(frames.Fits(record.size(), 1));
  EXPECT_DEATH((void)frames.AppendFrame(Lsn{2}, 1, record, 1), "Fits");
}

TEST(MemtableTest, FramesMustBeAdjacent) {
  Memtable memtable(kCapacity);
  ASSERT_TRUE(memtable.AppendFrame(Lsn{7}, 1, Record("1", "a"), 1));
  EXPECT_DEATH((void)memtable.AppendFrame(Lsn{9}, 1, Record("2", "a"), 1), "first_lsn");
}

// 16 buckets for hundreds of accounts: every chain holds rows of many.
RC_GTEST_PROP(MemtableTest, ChainsHoldEveryRowOfTheirAccountOnce, ()) {
  const auto accounts = *rc::gen::inRange(1, 200);
  const auto rows = *rc::gen::inRange(1, 100);
  Memtable memtable({100'000, 100, 100});
  std::vector<std::string> account_of;
  while (static_cast<int>(account_of.size()) < rows) {
    const Lsn first{account_of.size() + 1};
    Bytes frame;
    uint32_t count = 0;
    do {
      account_of.push_back("account" + std::to_string(*rc::gen::inRange(0, accounts)));
      Append(frame, Record(std::to_string(account_of.size()), account_of.back()));
      ++count;
    } while (static_cast<int>(account_of.size()) < rows && *rc::gen::arbitrary<bool>());
    RC_ASSERT(memtable.AppendFrame(first, 1, frame, count));
  }
  const Lsn visible{*rc::gen::inRange<uint64_t>(0, account_of.size() + 1)};
  for (int account = 0; account < accounts; ++account) {
    const std::string name = "account" + std::to_string(account);
    std::vector<uint64_t> expected;
    for (uint64_t lsn = visible.value; lsn > 0; --lsn) {
      if (account_of[lsn - 1] == name) expected.push_back(lsn);
    }
    RC_ASSERT(LsnsOf(memtable, name, visible) == expected);
  }
}

TEST(MemtableTest, ReadersSeeWhatWasPublishedWhileTheWriterAppends) {
  constexpr uint64_t kRows = 12'000;
  constexpr uint64_t kAccounts = 40;
  Memtable memtable({kRows * 64, kRows, kRows});
  std::atomic<uint64_t> visible = 0;
  std::atomic<uint64_t> faults = 0;
  auto account_of = [](uint64_t lsn) { return "a" + std::to_string(lsn * 7 % kAccounts); };
  auto check = [&](bool good) { faults += good ? 0 : 1; };
  auto read = [&](uint64_t seed) {
    for (uint64_t round = seed;; ++round) {
      const Lsn seen{visible.load(std::memory_order_acquire)};
      const uint64_t residue = round % kAccounts;
      uint64_t rows = 0, before = seen.value + 1;
      memtable.ForEachOfAccount(
          "a" + std::to_string(residue * 7 % kAccounts), seen,
          [&](Lsn lsn, const RecordView& record) {
            check(lsn.value < before && lsn.value % kAccounts == residue);
            check(CanonicalEventId(record.canonical) == std::to_string(lsn.value));
            before = lsn.value;
            ++rows;
            return true;
          });
      check(rows == (seen.value + kAccounts - residue) / kAccounts - (residue == 0 ? 1 : 0));
      uint64_t quarantined = 0;
      memtable.ForEachQuarantined(seen, [&](Lsn lsn, const RecordView&) {
        check(lsn.value % 100 == 0);
        ++quarantined;
      });
      check(quarantined == seen.value / 100);
      if (seen.value > 0) {
        const Lsn lsn{round * 2654435761u % seen.value + 1};
        check(CanonicalEventId(memtable.Record(lsn).canonical) == std::to_string(lsn.value));
        check(memtable.CommitTimeMicros(lsn) == static_cast<int64_t>((lsn.value - 1) / 3));
      }
      if (seen.value == kRows) return;
    }
  };
  std::vector<std::thread> readers;
  for (uint64_t seed = 0; seed < 2; ++seed) readers.emplace_back(read, seed * 17);
  for (uint64_t first = 1; first <= kRows; first += 3) {
    Bytes frame;
    for (uint64_t lsn = first; lsn < first + 3; ++lsn) {
      const auto disposition = lsn % 100 == 0 ? Disposition::kQuarantined : Disposition::kCounted;
      Append(frame, Record(std::to_string(lsn), account_of(lsn), disposition));
    }
    const bool appended =
        memtable.AppendFrame(Lsn{first}, static_cast<int64_t>((first - 1) / 3), frame, 3);
    check(appended);
    visible.store(first + 2, std::memory_order_release);
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(faults.load(), 0u);
}

}  // namespace
}  // namespace tallystick
