#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "segment/segment_fixture.h"
#include "segment/segment_format.h"
#include "testing/golden.h"

namespace tallystick {
namespace {

Bytes CanonicalOf(const RowView& row) {
  Bytes canonical;
  EncodeRow(row, canonical);
  return canonical;
}

// Everything that can be asked of a segment, held against its rows.
void ExpectHolds(TestSegment& segment, const TestRows& rows) {
  const WrittenSegment& written = segment.written();
  EXPECT_EQ(written.totals, rows.Totals());
  EXPECT_EQ(written.bytes, segment.Content().size());
  auto reader = segment.Open();
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  const SegmentInfo& info = (*reader)->info();
  EXPECT_EQ(info.database_id, segment.spec().database_id);
  EXPECT_EQ(info.number, segment.spec().number);
  EXPECT_EQ(info.first_lsn, rows.lsn(0));
  EXPECT_EQ(info.last_lsn, rows.lsn(rows.size() - 1));
  EXPECT_EQ(info.rows, rows.size());
  EXPECT_EQ(info.quarantined, rows.Totals().quarantined);
  EXPECT_EQ(info.bytes, written.bytes);
  EXPECT_EQ(info.footer_checksum, written.footer_checksum);

  const auto totals = CheckSegment(**reader, {});
  ASSERT_TRUE(totals.ok()) << totals.status().ToString();
  EXPECT_EQ(*totals, rows.Totals());

  const std::vector<uint32_t> order = rows.SortedOrder();
  ASSERT_EQ(written.row_of.size(), rows.size());
  SegmentCursor cursor(**reader, kAllSegmentColumns);
  for (uint32_t row = 0; row < rows.size(); ++row) {
    const uint32_t place = order[row];
    ASSERT_EQ(written.row_of[place], row);
    const Status status = cursor.Seek(row);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(cursor.lsn(), rows.lsn(place));
    EXPECT_EQ(cursor.disposition(), rows.record(place).disposition);
    EXPECT_EQ(cursor.timestamp_ms(), rows.row(place).timestamp_ms);
    ASSERT_TRUE(std::ranges::equal(CanonicalOf(cursor.row()), rows.record(place).canonical)) << row;
    EXPECT_EQ(*(*reader)->LsnOfRow(row), rows.lsn(place));
  }
}

void ExpectTables(TestSegment& segment, const TestRows& rows) {
  auto reader = segment.Open();
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  const std::vector<uint32_t> order = rows.SortedOrder();
  std::map<std::string, RowRange> accounts;
  std::map<EventHash, std::vector<uint32_t>> quarantined;
  std::vector<uint32_t> all_quarantined;
  for (uint32_t row = 0; row < order.size(); ++row) {
    const RowView view = rows.row(order[row]);
    const auto [at, added] = accounts.try_emplace(std::string(view.account_id), RowRange{row, row});
    at->second.end = row + 1;
    if (rows.record(order[row]).disposition != Disposition::kQuarantined) continue;
    quarantined[IdHash(segment.spec().scope, view.account_id, view.event_id)].push_back(row);
    all_quarantined.push_back(row);
  }
  for (const auto& [account, range] : accounts) {
    const auto found = (*reader)->RowsOfAccount(account);
    ASSERT_TRUE(found.ok()) << found.status().ToString();
    EXPECT_EQ(found->begin, range.begin);
    EXPECT_EQ(found->end, range.end);
  }
  for (const char* stranger : {"", "account", "account-0 ", "zzz"}) {
    EXPECT_TRUE((*reader)->RowsOfAccount(stranger)->empty());
  }
  EXPECT_EQ(*(*reader)->QuarantinedRows(std::nullopt), all_quarantined);
  for (const auto& [hash, listed] : quarantined) {
    EXPECT_EQ(*(*reader)->QuarantinedRows(hash), listed);
  }
  EXPECT_TRUE((*reader)->QuarantinedRows(EventHash{})->empty());

  EXPECT_EQ(*(*reader)->CommitTimes(), rows.commit_times());
  size_t frame = 0;
  for (uint32_t i = 0; i < rows.size(); ++i) {
    const auto& times = rows.commit_times();
    while (frame + 1 < times.size() && times[frame + 1].first_lsn <= rows.lsn(i)) ++frame;
    EXPECT_EQ(*(*reader)->CommitTimeMicros(rows.lsn(i)), times[frame].commit_time_us);
  }
}

void ExpectZones(TestSegment& segment, const TestRows& rows) {
  auto reader = segment.Open();
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  const std::vector<uint32_t> order = rows.SortedOrder();
  const uint32_t group_rows = segment.spec().group_rows;
  EXPECT_EQ((*reader)->group_count(), (rows.size() + group_rows - 1) / group_rows);
  int64_t min = INT64_MAX, max = 0;
  for (uint32_t group = 0; group < (*reader)->group_count(); ++group) {
    GroupZone zone{INT64_MAX, 0, {UINT64_MAX}, {0}};
    const uint32_t end = std::min((group + 1) * group_rows, rows.size());
    for (uint32_t row = group * group_rows; row < end; ++row) {
      const int64_t timestamp = rows.row(order[row]).timestamp_ms;
      zone.timestamp_min_ms = std::min(zone.timestamp_min_ms, timestamp);
      zone.timestamp_max_ms = std::max(zone.timestamp_max_ms, timestamp);
      zone.lsn_min = std::min(zone.lsn_min, rows.lsn(order[row]));
      zone.lsn_max = std::max(zone.lsn_max, rows.lsn(order[row]));
    }
    const auto found = (*reader)->Zone(group);
    ASSERT_TRUE(found.ok()) << found.status().ToString();
    EXPECT_EQ(found->timestamp_min_ms, zone.timestamp_min_ms);
    EXPECT_EQ(found->timestamp_max_ms, zone.timestamp_max_ms);
    EXPECT_EQ(found->lsn_min, zone.lsn_min);
    EXPECT_EQ(found->lsn_max, zone.lsn_max);
    min = std::min(min, zone.timestamp_min_ms);
    max = std::max(max, zone.timestamp_max_ms);
  }
  EXPECT_EQ((*reader)->info().timestamp_min_ms, min);
  EXPECT_EQ((*reader)->info().timestamp_max_ms, max);
}

void ExpectAll(TestSegment& segment, const TestRows& rows) {
  const auto written = segment.Write(rows);
  ASSERT_TRUE(written.ok()) << written.status().ToString();
  ExpectHolds(segment, rows);
  ExpectTables(segment, rows);
  ExpectZones(segment, rows);
}

RowShape AnyShape() {
  RowShape shape;
  shape.accounts = *rc::gen::element(1u, 2u, 5u, 1000u);
  shape.dimension_sets = *rc::gen::element(0u, 1u, 9u, UINT32_MAX);
  shape.ids = static_cast<RowShape::Ids>(*rc::gen::inRange(0, 4));
  shape.quantities = static_cast<RowShape::Quantities>(*rc::gen::inRange(0, 4));
  shape.edge_timestamps = *rc::gen::arbitrary<bool>();
  shape.empty_and_absent = *rc::gen::arbitrary<bool>();
  shape.corrections = *rc::gen::arbitrary<bool>();
  shape.quarantined = *rc::gen::arbitrary<bool>();
  return shape;
}

RC_GTEST_PROP(SegmentProperty, RowsComeOutAsTheyWentIn, ()) {
  const RowShape shape = AnyShape();
  const auto seed = *rc::gen::arbitrary<uint64_t>();
  const Lsn first_lsn{*rc::gen::element<uint64_t>(1, 1000, UINT64_MAX - 1000)};
  SegmentSpec spec{.database_id = TestDatabaseId(),
                   .number = {123},
                   .scope = *rc::gen::element(IdentityScope::kGlobal, IdentityScope::kAccount),
                   .group_rows = *rc::gen::element(1u, 2u, 7u, 64u, 8192u),
                   .dimension_sets_max = *rc::gen::element(0u, 3u, kSegmentDimensionSetsMax)};
  const TestRows rows(first_lsn, *rc::gen::inRange(1u, 200u), shape, seed);
  TestSegment segment(spec);
  ExpectAll(segment, rows);
  RC_ASSERT(!::testing::Test::HasFailure());
}

TEST(Segment, GroupsOfFullSize) {
  for (const uint32_t sets_max : {kSegmentDimensionSetsMax, 100u}) {
    RowShape shape{
        .accounts = 50, .dimension_sets = 1000, .corrections = true, .quarantined = true};
    const TestRows rows({77}, 3 * kSegmentGroupRows + 11, shape, 5);
    TestSegment segment(
        {.database_id = TestDatabaseId(), .number = {123}, .dimension_sets_max = sets_max});
    ExpectAll(segment, rows);
  }
}

// A segment small enough to damage each of its bytes.
void WriteSmall(TestSegment& segment) {
  const TestRows rows({5}, 23, {.corrections = true, .quarantined = true}, 9);
  ASSERT_TRUE(segment.Write(rows).ok());
  ASSERT_TRUE(segment.OpenAndCheck().ok());
}

constexpr SegmentSpec kSmall = {.number = {123}, .group_rows = 8};

TEST(SegmentDamage, EveryFlippedByteIsNoticedWithFileAndOffset) {
  TestSegment segment(kSmall);
  WriteSmall(segment);
  const Bytes good = segment.Content();
  for (size_t at = 0; at < good.size(); ++at) {
    Bytes bad = good;
    bad[at] ^= std::byte{0x20};
    segment.SetContent(bad);
    const Status status = segment.OpenAndCheck();
    ASSERT_EQ(status.code(), StatusCode::kCorruption) << "byte " << at;
    EXPECT_NE(status.message().find("000123.seg"), std::string::npos) << status.ToString();
  }
}

TEST(SegmentDamage, EveryCutIsRefusedAtOpen) {
  TestSegment segment(kSmall);
  WriteSmall(segment);
  const Bytes good = segment.Content();
  for (size_t bytes = 0; bytes < good.size(); ++bytes) {
    segment.SetContent(ByteSpan(good).first(bytes));
    EXPECT_FALSE(segment.Open().ok()) << bytes;
  }
}

TEST(SegmentDamage, ASegmentOfAnotherDatabaseNumberOrContentIsRefused) {
  TestSegment segment(kSmall);
  WriteSmall(segment);
  const SegmentSpec& spec = segment.spec();
  const uint64_t checksum = segment.written().footer_checksum;
  auto open = [&](const DatabaseId& id, FileNumber number, uint64_t footer) {
    return SegmentReader::Open(segment.fs(), TestSegment::kPath, {id, number, footer},
                               segment.cache());
  };
  EXPECT_TRUE(open(spec.database_id, spec.number, checksum).ok());
  EXPECT_TRUE(open(spec.database_id, spec.number, 0).ok());
  EXPECT_EQ(open(TestDatabaseId(9), spec.number, checksum).status().code(),
            StatusCode::kCorruption);
  EXPECT_EQ(open(spec.database_id, {124}, checksum).status().code(), StatusCode::kCorruption);
  EXPECT_EQ(open(spec.database_id, spec.number, checksum + 1).status().code(),
            StatusCode::kCorruption);
}

TEST(SegmentGolden, TheBytesAreThoseOfTheGolden) {
  TestSegment segment({.database_id = TestDatabaseId(), .number = {123}, .group_rows = 2});
  TestRows rows({1});
  const Dimension region{"region", "eu"};
  EventView event{.event_id = "0a1b2c3d-0000-4000-8000-000000000001",
                  .account_id = "acme",
                  .product_id = "inference",
                  .meter_id = "tokens",
                  .model_id = "large",
                  .unit = "t",
                  .source = "gw",
                  .timestamp_ms = 1'782'000'000'000,
                  .quantity = Quantity::FromInteger(1500),
                  .dimensions = {&region, 1}};
  rows.Add(event);
  event.event_id = "call-2";
  event.account_id = "zeta";
  event.quantity = Quantity::Normalized(125, 2);
  rows.Add(event);
  event.kind = EventKind::kCorrection;
  event.correction_ref = CorrectionRefView{"call-2", "wrong"};
  event.event_id = "call-3";
  event.dimensions = {};
  rows.Add(event, Disposition::kQuarantined);
  rows.AddCommitTime({{1}, 1'782'000'000'000'000});
  ASSERT_TRUE(segment.Write(rows).ok());
  const Bytes bytes = segment.Content();
  EXPECT_EQ(CompareGolden("testdata/segment.golden", HexDump(bytes.data(), bytes.size())), "");
}

}  // namespace
}  // namespace tallystick
