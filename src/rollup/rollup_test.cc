#define XXH_INLINE_ALL
#include "rollup/rollup.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <random>

#include "rollup/rollup_fixture.h"
#include "segment/segment_file.h"
#include "testing/fault_fs.h"
#include "testing/golden.h"

namespace tallystick {
namespace {

constexpr int128 kInt128Max = ~(int128{1} << 127);
constexpr int128 kInt128Min = -kInt128Max - 1;
constexpr int64_t kNoonMs = 1'782'000'000'000;  // an hour's start
static_assert(kNoonMs % kHourMs == 0);

TEST(HourStart, IsTheHourAtOrBeforeATime) {
  EXPECT_EQ(HourStartMs(0), 0);
  EXPECT_EQ(HourStartMs(1), 0);
  EXPECT_EQ(HourStartMs(kHourMs - 1), 0);
  EXPECT_EQ(HourStartMs(kHourMs), kHourMs);
  EXPECT_EQ(HourStartMs(-1), -kHourMs);
  EXPECT_EQ(HourStartMs(-kHourMs), -kHourMs);
  EXPECT_EQ(HourStartMs(-kHourMs - 1), -2 * kHourMs);
  EXPECT_EQ(HourStartMs(INT64_MAX), INT64_MAX / kHourMs * kHourMs);
  EXPECT_EQ(HourStartMs(INT64_MIN / kHourMs * kHourMs), INT64_MIN / kHourMs * kHourMs);
}

TEST_F(RollupTest, RowsOfEveryShapeAreAddedUpExactly) {
  using Quantities = RowShape::Quantities;
  for (const Quantities quantities :
       {Quantities::kSmall, Quantities::kScaled, Quantities::kWide, Quantities::kMixed}) {
    for (const bool odd : {false, true}) {
      const TestRows rows({7}, 6000,
                          {.accounts = 3,
                           .quantities = quantities,
                           .edge_timestamps = odd,
                           .empty_and_absent = odd,
                           .corrections = odd,
                           .quarantined = odd},
                          static_cast<uint64_t>(quantities));
      Write(rows);
      ExpectPlain(rows);
      ASSERT_TRUE(fs().Remove(TestSegment::kPath).ok());
      ASSERT_TRUE(fs().Remove(kRollupPath).ok());
    }
  }
}

// A few accounts have most of the rows: theirs and those of all pay, those of the small do not.
TEST_F(RollupTest, LargeAccountsAmongManySmallOnes) {
  std::mt19937_64 random(5);
  RollupRows rows;
  for (uint32_t i = 0; i < 12'000; ++i) {
    RollupRow row;
    const uint64_t draw = random() % 10;
    row.account =
        draw < 6 ? "large-" + std::to_string(draw % 2) : "small-" + std::to_string(random() % 900);
    row.meter = "m" + std::to_string(random() % 4);
    row.timestamp_ms = kNoonMs + static_cast<int64_t>(random() % (12 * kHourMs));
    row.quantity = Quantity::Normalized(static_cast<int64_t>(random() % 10'000), 2);
    AddRow(rows, row);
  }
  Write(rows);
  ExpectPlain(rows);
  EXPECT_EQ(rollup_.starts[1], 48u) << "of all accounts";
  EXPECT_EQ(rollup_.starts[2], 96u);
  EXPECT_EQ(rollup_.starts[3], 144u);
  EXPECT_EQ(rollup_.starts.back(), 144u) << "of no small one";
  EXPECT_GT(rollup_.starts.size(), 800u);
}

// One account has a line for each row, so that those of all do not pay; another one's do.
TEST_F(RollupTest, LinesOfOneAccountPayWhereThoseOfAllDoNot) {
  RollupRows rows;
  AddRows(rows, {.account = "a"}, 20);
  for (int64_t i = 0; i < 300; ++i) {
    AddRow(rows, {.account = "b", .timestamp_ms = kNoonMs + i * kHourMs});
  }
  AddRows(rows, {.account = "c"}, 20);
  Write(rows);
  ExpectPlain(rows);
  EXPECT_EQ(rollup_.starts, (std::vector<uint64_t>{0, 0, 1, 1, 2}));
}

TEST_F(RollupTest, WithoutAnyLineThereIsAFileThatSaysSo) {
  RollupRows rows;
  for (const char* account : {"a", "b", "c"}) AddRows(rows, {.account = account}, 1);
  Write(rows);
  ExpectPlain(rows);
  EXPECT_TRUE(rollup_.lines.empty());
  const auto reader = Open();
  EXPECT_EQ(reader->footer().entries, 4u);
  EXPECT_EQ(reader->footer().blocks(), 0u);
  EXPECT_EQ(reader->bytes(), Content().size());
}

TEST_F(RollupTest, AnAccountKeepsALineForEightRowsAndNotForFewer) {
  RollupRows rows;
  const auto hour = [](int64_t i) { return kNoonMs + i * kHourMs; };
  AddRows(rows, {.account = "at-1"}, 8);
  AddRows(rows, {.account = "below-1"}, 7);
  AddRows(rows, {.account = "at-3", .timestamp_ms = hour(0)}, 22);
  AddRow(rows, {.account = "at-3", .timestamp_ms = hour(1)});
  AddRow(rows, {.account = "at-3", .timestamp_ms = hour(2)});
  AddRows(rows, {.account = "above-3", .timestamp_ms = hour(0)}, 21);
  for (int64_t i = 1; i < 4; ++i) AddRow(rows, {.account = "above-3", .timestamp_ms = hour(i)});
  Write(rows);
  ExpectPlain(rows);
  // Of all: 4 lines in 63 rows. Then above-3, at-1, at-3, below-1.
  EXPECT_EQ(rollup_.starts, (std::vector<uint64_t>{0, 4, 4, 5, 8, 8}));
}

TEST_F(RollupTest, QuarantinedRowsDoNotHelpALineToPay) {
  RollupRows rows;
  AddRows(rows, {.account = "a"}, 7);
  AddRows(rows, {.account = "a", .disposition = Disposition::kQuarantined}, 9);
  Write(rows);
  ExpectPlain(rows);
  EXPECT_TRUE(rollup_.lines.empty());
}

TEST_F(RollupTest, LinesOfAllAccountsPayAtAnEighthOfTheRowsAndNotAbove) {
  for (const int64_t hours : {3, 4}) {
    RollupRows rows;
    for (int64_t i = 0; i < 24; ++i) {
      AddRow(rows, {.account = "account-" + std::to_string(i % 12),
                    .timestamp_ms = kNoonMs + i % hours * kHourMs});
    }
    AddRows(rows, {.disposition = Disposition::kQuarantined}, 8);
    Write(rows);
    ExpectPlain(rows);
    EXPECT_EQ(rollup_.lines.size(), hours == 3 ? 3u : 0u);
    ASSERT_TRUE(fs().Remove(TestSegment::kPath).ok());
    ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  }
}

// Its product and source are in the dictionaries, and nothing of it in any line.
TEST_F(RollupTest, AnAccountOfQuarantinedRowsOnlyHasNoLines) {
  RollupRows rows;
  AddRows(rows, {.account = "a"}, 8);
  AddRows(rows,
          {.account = "b",
           .product = "a-product",
           .source = "a-source",
           .quantity = Quantity::FromInteger(1000),
           .disposition = Disposition::kQuarantined},
          50);
  AddRows(rows, {.account = "c", .quantity = Quantity::FromInteger(2)}, 80);
  Write(rows);
  ExpectPlain(rows);
  EXPECT_EQ(rollup_.starts, (std::vector<uint64_t>{0, 1, 2, 2, 3}));
  EXPECT_EQ(rollup_.lines[0].sum.ToString(), "168");
  EXPECT_EQ(rollup_.lines[0].count, 88u);
  EXPECT_EQ(rollup_.lines[0].key.product, 1u);
}

TEST_F(RollupTest, ASegmentOfQuarantinedRowsOnlyHasNoLines) {
  RollupRows rows;
  AddRows(rows, {.disposition = Disposition::kQuarantined}, 50);
  Write(rows);
  ExpectPlain(rows);
  EXPECT_EQ(rollup_.starts, (std::vector<uint64_t>{0, 0, 0}));
}

TEST_F(RollupTest, HoursBeginAtTheirFirstMillisecond) {
  RollupRows rows;
  for (const int64_t time :
       {int64_t{1}, kHourMs - 1, kHourMs, 2 * kHourMs - 1, kNoonMs - 1, kNoonMs, kNoonMs + 1,
        INT64_MAX / kHourMs * kHourMs - 1, INT64_MAX / kHourMs * kHourMs, INT64_MAX}) {
    AddRows(rows, {.timestamp_ms = time}, 8);
  }
  Write(rows);
  ExpectPlain(rows);
  ASSERT_EQ(rollup_.starts[1], 6u);
  EXPECT_EQ(rollup_.lines[0].key.hour_start_ms, 0);
  EXPECT_EQ(rollup_.lines[0].count, 16u);
}

// A line holds rows of several row groups, accounts begin in the middle of one, scales change from
// one to the next.
TEST_F(RollupTest, LinesGoOnAcrossRowGroups) {
  RollupRows rows;
  for (const char* account : {"a", "b", "c"}) {
    for (int64_t i = 0; i < 150; ++i) {
      AddRow(rows, {.account = account,
                    .timestamp_ms = kNoonMs + i,
                    .quantity = Quantity::Normalized(i * 7 + 1, i < 80 ? 0 : 3)});
    }
  }
  Write(rows);
  ExpectPlain(rows);
  EXPECT_EQ(rollup_.lines.size(), 4u);
}

TEST_F(RollupTest, SumsAtTheLimitsAreExact) {
  struct Case {
    std::string what;
    std::vector<Quantity> quantities;  // the sum is theirs
    bool wide;
  };
  const std::vector<Case> cases = {
      {"the largest integers", {{kInt128Max, 0}, {kInt128Max, 0}}, true},
      {"the least integers", {{kInt128Min, 0}, {kInt128Min, 0}}, true},
      {"the largest at scale 12", {{kInt128Max, 12}, {kInt128Max, 12}}, true},
      {"the least at scale 12", {{kInt128Min, 12}, {kInt128Min, 12}}, true},
      {"both, which is -1", {{kInt128Max, 0}, {kInt128Min, 0}}, false},
      {"both at scale 12", {{kInt128Max, 12}, {kInt128Min, 12}}, false},
      {"a large integer and the least fraction", {{kInt128Max, 0}, {1, 12}}, true},
      {"64 bits", {{INT64_MAX, 0}}, false},
      {"64 bits at scale 12", {{INT64_MAX, 12}}, false},
      {"the least 64 bits at scale 12", {{INT64_MIN, 12}}, false},
      {"one above 64 bits", {{INT64_MAX, 12}, {1, 12}}, true},
      {"one below 64 bits", {{INT64_MIN, 12}, {-1, 12}}, true},
      {"64 bits at a scale of one, not of both", {{INT64_MAX, 0}, {1, 12}}, true},
      {"nothing", {{5, 3}, {-5, 3}}, false},
  };
  for (const Case& one : cases) {
    RollupRows rows;
    ExactSum sum;
    for (const Quantity& quantity : one.quantities) {
      AddRow(rows, {.quantity = Quantity::Normalized(quantity.mantissa, quantity.scale)});
      sum.Add(quantity);
    }
    AddRows(rows, {.quantity = {}}, 8);
    Write(rows);
    ExpectPlain(rows);
    ASSERT_EQ(rollup_.lines.size(), 2u);
    EXPECT_EQ(rollup_.lines[0].sum, sum) << one.what;
    const auto reader = Open();
    RollupColumns columns(*reader);
    ASSERT_TRUE(columns.Enter(0, 0, 2).ok());
    const auto quantities = columns.Quantities();
    EXPECT_EQ(!quantities->wide.empty(), one.wide) << one.what;
    EXPECT_EQ(quantities->mantissas.empty(), one.wide) << one.what;
    ASSERT_TRUE(fs().Remove(TestSegment::kPath).ok());
    ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  }
}

// Any few keys, any number of rows of each.
RC_GTEST_FIXTURE_PROP(RollupTest, AnyRowsAreAddedUpAsThePlainModelDoes, ()) {
  RollupRows rows;
  const auto groups = *rc::gen::inRange(1, 12);
  for (int g = 0; g < groups; ++g) {
    const auto pick = [](const char* prefix, int bound) {
      return prefix + std::to_string(*rc::gen::inRange(0, bound));
    };
    RollupRow row{.account = pick("a", 4),
                  .product = pick("p", 2),
                  .meter = pick("m", 2),
                  .unit = pick("u", 2),
                  .source = pick("s", 2),
                  .kind = static_cast<EventKind>(*rc::gen::inRange(0, 3))};
    if (*rc::gen::arbitrary<bool>()) row.model = pick("l", 2);
    row.timestamp_ms = kNoonMs + *rc::gen::inRange<int64_t>(-2 * kHourMs, 2 * kHourMs);
    row.disposition = *rc::gen::weightedElement<Disposition>(
        {{5, Disposition::kCounted}, {1, Disposition::kQuarantined}});
    const auto count = *rc::gen::inRange(1, 40);
    for (int i = 0; i < count; ++i) {
      const auto high = *rc::gen::element<int64_t>(0, 0, -1, INT64_MAX, INT64_MIN);
      const auto bits = static_cast<uint128>(high) << 64 | *rc::gen::arbitrary<uint64_t>();
      row.quantity = Quantity::Normalized(static_cast<int128>(bits),
                                          static_cast<uint8_t>(*rc::gen::inRange(0, 13)));
      AddRow(rows, row);
    }
  }
  Write(rows);
  ExpectPlain(rows);
  RC_ASSERT(!HasFailure());
}

// --- what rows cannot have, but the format can ---

TEST_F(RollupTest, HoursBeforeTheEpochAndLargeCodesAreKept) {
  Rollup rollup;
  rollup.starts = {0, 3};
  for (const int64_t hour : {INT64_MIN / kHourMs, int64_t{-1}, INT64_MAX / kHourMs}) {
    RollupLine& line = rollup.lines.emplace_back();
    line.key = {.product = UINT32_MAX, .kind = 2, .hour_start_ms = hour * kHourMs};
    line.sum.Add(Quantity{-1, 12});
    line.count = 1'000'000;
  }
  WriteMadeUp(std::move(rollup));
  ExpectReadBack();
  const auto reader = Open();
  RollupColumns columns(*reader);
  ASSERT_TRUE(columns.Enter(0, 0, 2).ok());
  const ColumnZone zone = columns.zone(SegmentColumn::kTimestamp);
  EXPECT_EQ(static_cast<int64_t>(zone.min), INT64_MIN / kHourMs * kHourMs);
  EXPECT_EQ(static_cast<int64_t>(zone.max), -kHourMs);
}

// As when a query still holds the file that was rebuilt under its name.
TEST_F(RollupTest, BlocksOfAnotherContentUnderTheNameAreNotTakenFromTheCache) {
  BlockCache cache(1 << 20);
  const auto count_of_first = [&] {
    const auto reader = RollupReader::Open(fs(), kRollupPath, info_, cache);
    EXPECT_TRUE(reader.ok());
    RollupColumns columns(**reader);
    EXPECT_TRUE(columns.Enter(0, 0, 3).ok());
    return (*columns.Counts())[0];
  };
  Rollup rollup = MadeUpRollup(1, 3);
  WriteMadeUp(rollup);
  EXPECT_EQ(count_of_first(), 8u);
  ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  rollup.rows_per_line_min = 4;
  rollup.lines[0].count = 9;
  WriteMadeUp(rollup);
  EXPECT_EQ(count_of_first(), 9u);
}

// Some 2^32 rows are needed for a sum beyond 192 bits.
TEST_F(RollupTest, SumsOf256BitsAreKept) {
  for (const std::array<uint64_t, 4>& limbs :
       std::vector<std::array<uint64_t, 4>>{{5, 0, 0, 1},
                                            {5, 0, 1, 0},
                                            {5, uint64_t{1} << 63, 0, 0},
                                            {5, 0, UINT64_MAX, UINT64_MAX},
                                            {5, UINT64_MAX, UINT64_MAX, UINT64_MAX - 1},
                                            {0, 0, 0, uint64_t{1} << 63}}) {
    Rollup rollup = MadeUpRollup(1, 2);
    rollup.lines[1].sum = ExactSum::FromLimbs(limbs);
    WriteMadeUp(std::move(rollup));
    ExpectReadBack();
    ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  }
}

// Lines begin .. end of a block, against the lines that were written.
void ExpectColumns(RollupColumns& columns, const std::vector<RollupLine>& all, uint64_t block,
                   uint32_t begin, uint32_t end) {
  const Status status = columns.Enter(block, begin, end);
  ASSERT_TRUE(status.ok()) << status.ToString();
  ASSERT_EQ(columns.rows(), end - begin);
  const std::span lines =
      std::span(all).subspan(block * kLinesPerBlock + begin, uint64_t{end} - begin);
  const auto expect = [&](SegmentColumn column, auto&& value_of) {
    const auto values = columns.Integers(column);
    ASSERT_TRUE(values.ok());
    ASSERT_EQ(values->size(), lines.size());
    uint64_t min = value_of(lines[0].key), max = min;
    for (size_t i = 0; i < lines.size(); ++i) {
      const uint64_t value = value_of(lines[i].key);
      ASSERT_EQ((*values)[i], value) << i;
      min = std::min(min, value);
      max = std::max(max, value);
    }
    EXPECT_EQ(columns.zone(column).min, min);
    EXPECT_EQ(columns.zone(column).max, max);
  };
  expect(SegmentColumn::kProductId, [](const RollupKey& key) { return key.product; });
  expect(SegmentColumn::kMeterId, [](const RollupKey& key) { return key.meter; });
  expect(SegmentColumn::kUnit, [](const RollupKey& key) { return key.unit; });
  expect(SegmentColumn::kModelId, [](const RollupKey& key) { return key.model; });
  expect(SegmentColumn::kSource, [](const RollupKey& key) { return key.source; });
  expect(SegmentColumn::kKind, [](const RollupKey& key) { return key.kind; });
  expect(SegmentColumn::kTimestamp,
         [](const RollupKey& key) { return static_cast<uint64_t>(key.hour_start_ms); });
  const auto counts = columns.Counts();
  const auto quantities = columns.Quantities();
  ASSERT_TRUE(counts.ok() && quantities.ok());
  ASSERT_EQ(counts->size(), lines.size());
  ASSERT_EQ(quantities->mantissas.size() + quantities->wide.size(), lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    ASSERT_EQ((*counts)[i], lines[i].count) << i;
    ExactSum sum;
    if (quantities->wide.empty()) {
      const int64_t mantissa = quantities->mantissas[i];
      ASSERT_TRUE(quantities->min <= mantissa && mantissa <= quantities->max) << i;
      sum.Add(Quantity{mantissa, quantities->scale});
    } else {
      sum = quantities->wide[i];
    }
    ASSERT_EQ(sum, lines[i].sum) << i;
  }
}

// Blocks of either form of sums, of many and of constant codes; one source goes from one to
// another.
TEST_F(RollupTest, ColumnsGiveAnyPartOfAnyBlock) {
  Rollup rollup = MadeUpRollup(1, 2 * kLinesPerBlock + 77);
  std::mt19937_64 random(3);
  for (size_t i = kLinesPerBlock; i < rollup.lines.size(); ++i) {
    RollupLine& line = rollup.lines[i];
    line.key.product = 1 + static_cast<uint32_t>(i / 100);
    line.key.meter = static_cast<uint32_t>(random());
    line.key.unit = static_cast<uint32_t>(random() % 5);
    line.key.source = static_cast<uint32_t>(random() % 300);
    line.key.kind = static_cast<uint32_t>(random() % 3);
    line.count = 1 + random() % 1'000'000;
  }
  for (size_t i = 0; i < 77; ++i) {
    rollup.lines[2 * kLinesPerBlock + i].sum.Add(Quantity{kInt128Max - static_cast<int64_t>(i), 0});
  }
  std::ranges::sort(rollup.lines, {}, &RollupLine::key);
  WriteMadeUp(rollup);
  ExpectReadBack();
  const auto reader = Open();
  RollupColumns columns(*reader);
  ASSERT_EQ(reader->footer().blocks(), 3u);
  for (const uint64_t block : {1, 0, 2}) {
    const uint32_t lines = reader->footer().lines_of(block);
    EXPECT_EQ(lines, block == 2 ? 77u : kLinesPerBlock);
    ExpectColumns(columns, rollup.lines, block, 0, lines);
    ExpectColumns(columns, rollup.lines, block, lines - 1, lines);
    for (int i = 0; i < 50; ++i) {
      const auto begin = static_cast<uint32_t>(random() % lines);
      const auto end = begin + 1 + static_cast<uint32_t>(random() % (lines - begin));
      ExpectColumns(columns, rollup.lines, random() % 3 == 0 ? 0 : block, begin, end);
    }
  }
}

TEST_F(RollupTest, EveryNumberOfLinesAroundABlockIsReadBack) {
  for (const uint64_t lines : {1, 2, 1023, 1024, 1025, 2048, 2049}) {
    WriteMadeUp(MadeUpRollup(1, lines));
    ExpectReadBack();
    EXPECT_EQ(Open()->footer().blocks(), (lines + 1023) / 1024);
    ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  }
}

TEST_F(RollupTest, AnEntryMayBeginAndEndInTheMiddleOfABlock) {
  WriteMadeUp(MadeUpRollup(9, 300));
  ExpectReadBack();
}

// Of rows, with several blocks: lines of 2 accounts and of all.
TEST_F(RollupTest, ManyLinesOfRows) {
  RollupRows rows;
  for (int64_t hour = 0; hour < 900; ++hour) {
    for (const char* account : {"a", "b"}) {
      AddRows(rows,
              {.account = account,
               .timestamp_ms = kNoonMs + hour * kHourMs + hour,
               .quantity = Quantity::Normalized(hour, 4)},
              8);
    }
  }
  Write(rows);
  ExpectPlain(rows);
  EXPECT_EQ(rollup_.lines.size(), 2700u);
}

// --- what is read when ---

TEST_F(RollupTest, OpenReadsTheFooterAndABlockIsReadOnce) {
  WriteMadeUp(MadeUpRollup(3, 1000));
  const uint64_t before = fs().bytes_read();
  const auto reader = Open();
  EXPECT_EQ(fs().bytes_read() - before, kRollupFooterBytes);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(reader->LinesOf(1).ok());
    EXPECT_EQ(fs().bytes_read() - before, kRollupFooterBytes + reader->footer().index.bytes);
  }
  RollupColumns columns(*reader);
  ASSERT_TRUE(columns.Enter(1, 0, 5).ok());
  const uint64_t read = fs().bytes_read();
  ASSERT_TRUE(columns.Enter(1, 5, 1024).ok());
  EXPECT_EQ(fs().bytes_read(), read);
  EXPECT_EQ(cache_->Read().misses, 2u);
}

TEST_F(RollupTest, AMissingFileIsNotFound) {
  BlockCache cache(1 << 20);
  EXPECT_EQ(RollupReader::Open(fs(), kRollupPath, info_, cache).status().code(),
            StatusCode::kNotFound);
  EXPECT_EQ(RollupReader::OpenAlone(fs(), kRollupPath, cache).status().code(),
            StatusCode::kNotFound);
}

TEST_F(RollupTest, AFileThatIsThereIsNotOverwritten) {
  WriteMadeUp(MadeUpRollup(1, 1));
  EXPECT_EQ(WriteRollup(fs(), kRollupPath, info_, rollup_, nullptr).reason(), "exists");
}

TEST_F(RollupTest, TheNameIsThatOfTheSegment) { EXPECT_EQ(RollupFileName({123}), "000123.sum"); }

TEST_F(RollupTest, AFailedWriteIsAnErrorAndItsRestDoesNotOpen) {
  WriteMadeUp(MadeUpRollup(40, 5000));
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync}) {
    const uint64_t fired = ForEachFault(Fault{.op = op}, [&](const Fault& fault) {
      SimFs machine;
      FaultFs faults(machine);
      faults.Set(fault);
      const Status status = WriteRollup(faults, kRollupPath, info_, rollup_, nullptr);
      EXPECT_EQ(status.code(), faults.fired() > 0 ? StatusCode::kIoError : StatusCode::kOk);
      BlockCache cache(1 << 20);
      if (faults.fired() > 0 && op != FaultOp::kSync) {
        EXPECT_FALSE(RollupReader::Open(machine, kRollupPath, info_, cache).ok()) << fault.at;
      }
      return faults.fired() > 0;
    });
    EXPECT_GE(fired, op == FaultOp::kWrite ? 2u : 1u) << FaultOpName(op);
  }
}

TEST_F(RollupTest, ShortWritesAndReadsAreContinued) {
  WriteMadeUp(MadeUpRollup(3, 1000));
  const Bytes whole = Content();
  SimFs machine;
  FaultFs faults(machine);
  faults.Set(Fault{.op = FaultOp::kShortWrite, .for_ever = true});
  ASSERT_TRUE(WriteRollup(faults, kRollupPath, info_, rollup_, nullptr).ok());
  EXPECT_GT(faults.fired(), 0u);
  EXPECT_EQ(*machine.Content(kRollupPath), whole);
  faults.Set(Fault{.op = FaultOp::kShortRead, .for_ever = true});
  BlockCache cache(1 << 20);
  const auto reader = RollupReader::Open(faults, kRollupPath, info_, cache);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  EXPECT_TRUE(CheckRollup(**reader, rollup_).ok());
  EXPECT_GT(faults.fired(), 0u);
}

// --- lines go through, and are not kept ---

// Tells what has been read of the segment when something comes.
class Watching final : public RollupSink {
 public:
  explicit Watching(const SimFs& fs) : fs_(fs), before_(fs.bytes_read()) {}

  std::vector<uint64_t> read_at_ends;  // of entries
  uint64_t lines_left = UINT64_MAX;    // before an error

  Status Add(const RollupLine&) override {
    return lines_left-- == 0 ? Status::NoSpace("no more") : Status::Ok();
  }
  Status EndEntry() override {
    read_at_ends.push_back(fs_.bytes_read() - before_);
    return Status::Ok();
  }

 private:
  const SimFs& fs_;
  const uint64_t before_;
};

class StreamingTest : public RollupTest {
 protected:
  static constexpr uint64_t kAccounts = 20;  // with a row group each

  void SetUp() override {
    RollupRows rows;
    for (uint64_t i = 0; i < kAccounts; ++i) {
      AddRows(rows, {.account = fmt::format("a{:02}", i)}, 64);
    }
    ASSERT_TRUE(segment_.Write(rows).ok());
    reader_ = *segment_.Open();
    ASSERT_EQ(reader_->group_count(), kAccounts);
  }

  std::unique_ptr<SegmentReader> reader_;
};

TEST_F(StreamingTest, AnAccountsLinesComeBeforeTheNextOneIsRead) {
  Watching sink(fs());
  ASSERT_TRUE(BuildRollup(*reader_, kRowsPerLineMin, {}, sink).ok());
  const std::vector<uint64_t>& read = sink.read_at_ends;
  ASSERT_EQ(read.size(), 1 + kAccounts);
  EXPECT_EQ(read.back(), 2 * read[0]) << "the second pass reads what the first one did";
  for (size_t i = 2; i < kAccounts; ++i) EXPECT_GT(read[i], read[i - 1]) << i;
}

TEST_F(StreamingTest, AnErrorOfTheSinkEndsTheBuilding) {
  for (uint64_t lines = 0; lines < 1 + kAccounts; ++lines) {
    Watching sink(fs());
    sink.lines_left = lines;
    EXPECT_EQ(BuildRollup(*reader_, kRowsPerLineMin, {}, sink).code(), StatusCode::kNoSpace);
    EXPECT_EQ(sink.read_at_ends.size(), lines) << "each entry has one line";
  }
}

// Those of accounts, which are fewer each, stay.
TEST_F(StreamingTest, AnEntryOfTooManyLinesHasNone) {
  RollupRows rows;
  const auto hour = [](int64_t i) { return kNoonMs + i * kHourMs; };
  for (int64_t i = 0; i < 10; ++i) {
    AddRows(rows, {.account = i < 5 ? "a" : "b", .timestamp_ms = hour(i)}, 8);
  }
  TestSegment segment;
  ASSERT_TRUE(segment.Write(rows).ok());
  const auto lines = [&](uint64_t lines_max) {
    Watching sink(fs());
    EXPECT_TRUE(BuildRollup(**segment.Open(), kRowsPerLineMin, {}, sink, lines_max).ok());
    EXPECT_EQ(sink.read_at_ends.size(), 3u);
    return UINT64_MAX - sink.lines_left;
  };
  EXPECT_EQ(lines(10), 20u);
  EXPECT_EQ(lines(9), 10u) << "of all accounts there are ten";
  EXPECT_EQ(lines(5), 10u);
  EXPECT_EQ(lines(4), 0u);
}

TEST_F(StreamingTest, ItIsGivenUpBeforeAnyRowGroup) {
  uint64_t asked = 0, until = UINT64_MAX;
  const std::function<bool()> stopped = [&] { return asked++ >= until; };
  Watching all(fs());
  ASSERT_TRUE(BuildRollup(*reader_, kRowsPerLineMin, stopped, all).ok());
  EXPECT_EQ(asked, 2 * kAccounts);
  for (until = 0; until < 2 * kAccounts; ++until) {
    asked = 0;
    Watching sink(fs());
    const Status status = BuildRollup(*reader_, kRowsPerLineMin, stopped, sink);
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_EQ(status.reason(), "cancelled");
    EXPECT_EQ(asked, until + 1);
    EXPECT_LT(sink.read_at_ends.size(), 1 + kAccounts);
  }
}

TEST_F(StreamingTest, BuildingLeavesTheCacheAlone) {
  const BlockCache::Readings before = segment_.cache().Read();
  ASSERT_TRUE(BuildRollup(*reader_, kRowsPerLineMin).ok());
  const BlockCache::Readings after = segment_.cache().Read();
  EXPECT_EQ(after.misses, before.misses);
  EXPECT_EQ(after.hits, before.hits);
  EXPECT_EQ(after.bytes, before.bytes);
}

TEST_F(RollupTest, BlocksAreWrittenBeforeTheLastLineComes) {
  const Rollup rollup = MadeUpRollup(450, 1000);
  WriteMadeUp(rollup);
  const Bytes whole = Content();
  ASSERT_GT(whole.size(), (1u << 20) + (1u << 19));
  ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  const auto writer =
      RollupWriter::Create(fs(), kRollupPath, info_, kRowsPerLineMin, /*governor=*/nullptr);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(Feed(rollup, **writer).ok());
  EXPECT_GT(Content().size(), 1u << 20);
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(Content(), whole);
}

// --- digests ---

RollupDigest DigestOfLines(const Rollup& rollup) {
  RollupDigest digest;
  for (size_t entry = 0; entry + 1 < rollup.starts.size(); ++entry) {
    for (uint64_t i = rollup.starts[entry]; i < rollup.starts[entry + 1]; ++i) {
      digest.Add(rollup.lines[i]);
    }
    digest.EndEntry();
  }
  return digest;
}

TEST_F(RollupTest, ADigestIsThatOfTheLinesWhoeverGoesThroughThem) {
  const Rollup rollup = MadeUpRollup(5, 700);
  WriteMadeUp(rollup);
  const auto writer = RollupWriter::Create(fs(), "other", info_, kRowsPerLineMin, nullptr);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(Feed(rollup, **writer).ok());
  EXPECT_EQ((*writer)->digest(), DigestOfLines(rollup));
  uint64_t asked = 0;
  const auto reader = Open();
  const auto stored = DigestOf(*reader, [&] { return ++asked > 4; });
  ASSERT_TRUE(stored.ok()) << stored.status().ToString();
  EXPECT_EQ(*stored, DigestOfLines(rollup));
  EXPECT_EQ(asked, 4u) << "once for each block";
  EXPECT_EQ(DigestOf(*reader, [] { return true; }).status().reason(), "cancelled");
}

TEST_F(RollupTest, ADigestChangesWithAnyPartOfAnyLine) {
  const Rollup rollup = MadeUpRollup(3, 4);
  const std::vector<std::function<void(Rollup&)>> changes = {
      [](Rollup& r) { ++r.lines[5].key.product; },
      [](Rollup& r) { ++r.lines[5].key.kind; },
      [](Rollup& r) { r.lines[11].key.hour_start_ms += kHourMs; },
      [](Rollup& r) { ++r.lines[5].count; },
      [](Rollup& r) { r.lines[5].sum.Add(Quantity{1, 12}); },
      [](Rollup& r) { std::swap(r.lines[5], r.lines[6]); },
      [](Rollup& r) { r.starts[2] = 7; },
      [](Rollup& r) { r.starts.push_back(r.lines.size()); },
      [](Rollup& r) { r.lines.pop_back(), --r.starts.back(); }};
  for (size_t i = 0; i < changes.size(); ++i) {
    Rollup other = rollup;
    changes[i](other);
    EXPECT_NE(DigestOfLines(other), DigestOfLines(rollup)) << i;
  }
}

TEST_F(RollupTest, LinesOfAllAccountsMustComeToTheSegmentsTotals) {
  RollupRows rows;
  AddRows(rows, {.quantity = Quantity::FromInteger(3)}, 20);
  AddRows(rows, {.account = "b", .disposition = Disposition::kQuarantined}, 9);
  Write(rows);
  const auto segment = *segment_.Open();
  EXPECT_TRUE(DigestOfLines(rollup_).CheckTotals(*segment).ok());
  Rollup other = rollup_;
  ++other.lines[0].count;
  const Status status = DigestOfLines(other).CheckTotals(*segment);
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_NE(status.message().find("000123.seg: the lines of all accounts come to 60 in 21 events, "
                                  "its footer says 60 in 20"),
            std::string::npos)
      << status.message();
  other = rollup_;
  other.lines[0].sum.Add(Quantity{1, 12});
  EXPECT_FALSE(DigestOfLines(other).CheckTotals(*segment).ok());
  other = rollup_;
  ++other.lines[1].count;  // of an account
  EXPECT_TRUE(DigestOfLines(other).CheckTotals(*segment).ok());
  EXPECT_TRUE(DigestOfLines({.starts = {0, 0}, .lines = {}}).CheckTotals(*segment).ok());
}

// --- segments that contradict themselves ---

// Makes another value of a column of which a row group has only one, under a right checksum.
void ForgeConstant(TestSegment& segment, uint32_t group, SegmentColumn column, uint64_t value) {
  const auto reader = segment.Open();
  ASSERT_TRUE(reader.ok());
  const SegmentFile& file = (*reader)->file();
  GroupEntry entry = *file.Group(group);
  ASSERT_EQ(entry.at(column).block_bytes, 0u);
  entry.columns[ColumnIndex(column)] = {value, value, 0};
  Bytes line;
  AppendGroupEntry(entry, line);
  const BlockRef page = file.footer().DirectoryPage(0);
  Bytes content = segment.Content();
  Bytes block(content.begin() + static_cast<ptrdiff_t>(page.offset),
              content.begin() + static_cast<ptrdiff_t>(page.offset + page.bytes));
  const auto codec = static_cast<BlockCodec>(block[block.size() - kBlockTrailerBytes]);
  block.resize(block.size() - kBlockTrailerBytes);
  std::ranges::copy(line, block.begin() + static_cast<ptrdiff_t>(group * kGroupEntryBytes));
  SealBlock(SegmentSeed(file.info().database_id, file.info().number), page.offset, codec, 0, block);
  std::ranges::copy(block, content.begin() + static_cast<ptrdiff_t>(page.offset));
  segment.SetContent(content);
}

TEST_F(RollupTest, AccountsThatAreNotInOrderAreRefused) {
  RollupRows rows;
  AddRows(rows, {.account = "a"}, 64);
  AddRows(rows, {.account = "b"}, 64);
  ASSERT_TRUE(segment_.Write(rows).ok());
  const Bytes good = segment_.Content();
  const auto build = [&] { return BuildRollup(**segment_.Open(), kRowsPerLineMin).status(); };
  EXPECT_TRUE(build().ok());
  ForgeConstant(segment_, 0, SegmentColumn::kAccountId, 2);
  EXPECT_EQ(build().code(), StatusCode::kCorruption);
  EXPECT_NE(build().message().find("000123.seg: row 64 has account 1 behind account 2"),
            std::string::npos)
      << build().message();
  segment_.SetContent(good);
  ForgeConstant(segment_, 1, SegmentColumn::kAccountId, 128);
  EXPECT_EQ(build().code(), StatusCode::kCorruption);
}

// Rows have none; what a segment says is added up all the same.
TEST_F(RollupTest, TimesBeforeTheEpochAreOfTheHourThatTheyAreIn) {
  RollupRows rows;
  AddRows(rows, {}, 64);
  AddRows(rows, {.timestamp_ms = kNoonMs + kHourMs}, 64);
  ASSERT_TRUE(segment_.Write(rows).ok());
  ForgeConstant(segment_, 0, SegmentColumn::kTimestamp, static_cast<uint64_t>(-kHourMs));
  ForgeConstant(segment_, 1, SegmentColumn::kTimestamp, static_cast<uint64_t>(int64_t{-1}));
  const auto built = BuildRollup(**segment_.Open(), kRowsPerLineMin);
  ASSERT_TRUE(built.ok());
  ASSERT_EQ(built->lines.size(), 2u);
  EXPECT_EQ(built->lines[1].key.hour_start_ms, -kHourMs);
  EXPECT_EQ(built->lines[1].count, 128u);
}

TEST_F(RollupTest, TheBytesAreThoseOfTheGolden) {
  RollupRows rows;
  AddRows(rows,
          {.account = "acme",
           .product = "inference",
           .meter = "tokens",
           .model = "large",
           .quantity = Quantity::Normalized(125, 2)},
          9);
  AddRows(rows,
          {.account = "acme",
           .product = "inference",
           .meter = "tokens",
           .kind = EventKind::kCorrection,
           .timestamp_ms = kNoonMs + kHourMs,
           .quantity = Quantity::FromInteger(-3)},
          9);
  AddRow(rows, {.account = "zeta"});
  Write(rows);
  // All accounts have three lines in 19 rows: too many. A file of wide sums besides.
  const Bytes narrow = Content();
  ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  rollup_.lines[0].sum.Add(Quantity{kInt128Max, 0});
  WriteLines(rollup_);
  const Bytes wide = Content();
  EXPECT_EQ(CompareGolden("testdata/v1/rollup.golden", HexDump(narrow.data(), narrow.size()) +
                                                           HexDump(wide.data(), wide.size())),
            "");
}

// Segments of many shapes: whoever builds and writes in another way must come to the same bytes.
// (Without the footer, since that has a checksum of the segment, whose packed blocks depend on the
// library that packs.)
TEST_F(RollupTest, TheFilesOfManySegmentsAreThoseOfTheGolden) {
  std::string text;
  const auto write = [&](const std::string& what, const TestRows& rows) {
    Write(rows);
    const Bytes file = Content();
    const size_t bytes = file.size() - kRollupFooterBytes;
    text +=
        fmt::format("{}: {} entries, {} lines, {} bytes, {:016x}\n", what, Open()->footer().entries,
                    Open()->footer().lines, bytes, XXH3_64bits(file.data(), bytes));
    ASSERT_TRUE(fs().Remove(TestSegment::kPath).ok());
    ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  };
  using Quantities = RowShape::Quantities;
  for (const uint32_t accounts : {1, 3, 50, 5000}) {
    for (const Quantities quantities :
         {Quantities::kSmall, Quantities::kScaled, Quantities::kWide, Quantities::kMixed}) {
      const bool odd = (accounts + static_cast<uint32_t>(quantities)) % 2 == 0;
      const TestRows rows({7}, 3000 + 777 * static_cast<uint32_t>(quantities),
                          {.accounts = accounts,
                           .quantities = quantities,
                           .edge_timestamps = odd,
                           .empty_and_absent = odd,
                           .corrections = odd,
                           .quarantined = odd},
                          accounts);
      write(fmt::format("{} accounts, quantities {}", accounts, static_cast<int>(quantities)),
            rows);
    }
  }
  // Thousands of lines, of which an hour's rows are not neighbours.
  for (const uint64_t seed : {1, 2, 3}) {
    std::mt19937_64 random(seed);
    RollupRows rows;
    for (uint32_t i = 0; i < 20'000; ++i) {
      AddRow(rows, {.account = "a" + std::to_string(random() % (3 * seed)),
                    .meter = "m" + std::to_string(random() % 2),
                    .source = "s" + std::to_string(random() % 3),
                    .kind = random() % 9 == 0 ? EventKind::kCorrection : EventKind::kUsage,
                    .timestamp_ms = kNoonMs + static_cast<int64_t>(random() % (200 * kHourMs)),
                    .quantity = Quantity::Normalized(static_cast<int64_t>(random() % 1000), 2),
                    .disposition =
                        random() % 50 == 0 ? Disposition::kQuarantined : Disposition::kCounted});
    }
    write(fmt::format("200 hours, seed {}", seed), rows);
  }
  EXPECT_EQ(CompareGolden("testdata/v1/rollups.golden", text), "");
}

}  // namespace
}  // namespace tallystick
