// Segments that usageDb 0.4.0 wrote (testdata/usagedb-0.4.0), and our own under a right checksum.
#include "usagedb/segment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "env/env.h"
#include "usagedb/event_hash.h"
#include "usagedb/manifest.h"
#include "usagedb/udbidx01.h"

namespace tallystick::usagedb {
namespace {

const std::string kData = std::string(TALLY_SOURCE_DIR) + "/testdata/usagedb-0.4.0/";

Bytes Read(const std::string& path) {
  auto bytes = ReadWholeFile(Env::Real().fs(), path, 1 << 20);
  EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
  return bytes.ok() ? *bytes : Bytes();
}

std::vector<std::string> RealSegments() {
  std::vector<std::string> paths;
  for (const std::string folder : {"small", "tail", "compacted"}) {
    const auto names = Env::Real().fs().List(kData + folder);
    EXPECT_TRUE(names.ok());
    for (const std::string& name : *names) {
      if (name.ends_with(".seg")) paths.push_back(kData + folder + "/" + name);
    }
  }
  EXPECT_EQ(paths.size(), 4u + 5u + 19u);
  return paths;
}

std::vector<Row> RowsOf(const SegmentRows& segment) {
  std::vector<Row> rows;
  for (uint32_t i = 0; i < segment.size(); ++i) rows.push_back(segment.Get(i));
  return rows;
}

void ExpectSameColumns(const std::vector<ColumnPayload>& a, const std::vector<ColumnPayload>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_EQ(a[i].encoding, b[i].encoding) << a[i].name;
    EXPECT_EQ(a[i].data, b[i].data) << a[i].name;
  }
}

TEST(UsageDbSegment, WhatUsageDbWroteIsReadAndWouldBeWrittenAlike) {
  for (const std::string& path : RealSegments()) {
    const Bytes file = Read(path);
    uint64_t checksum = 0;
    uint32_t rows = 0;
    const auto columns = UnpackSegment(file, &checksum, &rows);
    ASSERT_TRUE(columns.ok()) << columns.status().ToString();
    const auto segment = DecodeSegment(file);
    ASSERT_TRUE(segment.ok()) << path << segment.status().ToString();
    EXPECT_EQ(segment->rows.size(), rows);
    ExpectSameColumns(*columns, EncodeColumns(RowsOf(segment->rows)));
    // And the sidecar, byte for byte.
    std::vector<udbidx01::DedupeEntry> entries;
    Bytes scratch;
    for (const Row& row : RowsOf(segment->rows)) {
      entries.push_back(
          {HashOfId(row.event.event_id), HashOfPayload(row.event, &scratch), row.ingested_at_ms});
    }
    EXPECT_EQ(udbidx01::EncodeDedupeIndex(entries), Read(udbidx01::IndexPath(path)));
    EXPECT_TRUE(std::ranges::is_sorted(RowsOf(segment->rows), InSegmentOrder)) << path;
  }
}

constexpr int128 kLargest = static_cast<int128>(~uint128{0} >> 1);

std::vector<Row> Sample() {
  static const std::vector<Dimension> dimensions = {{"", ""}, {"region", "eu"}, {"zone", "ä\n"}};
  Row plain;
  plain.event = {.event_id = "e1",
                 .account_id = "acme",
                 .product_id = "api",
                 .meter_id = "tok",
                 .unit = "",
                 .source = "",
                 .timestamp_ms = 1,
                 .quantity = Quantity::FromInteger(kLargest)};
  Row full = plain;
  full.event.event_id = "e2";
  full.event.subscription_id = "";
  full.event.model_id = "m";
  full.event.kind = EventKind::kRetraction;
  full.event.correction_ref = {"e1", "why"};
  full.event.timestamp_ms = INT64_MAX;
  full.event.quantity = Quantity::FromInteger(-kLargest - 1);
  full.event.dimensions = dimensions;
  full.ingested_at_ms = INT64_MIN;
  Row third = full;
  third.event.event_id = "e3";
  third.event.kind = EventKind::kUsage;
  third.event.timestamp_ms = INT64_MIN;
  third.event.quantity = {};
  third.ingested_at_ms = INT64_MAX;
  return {plain, full, third};
}

Bytes Encode(const std::vector<Row>& rows) { return EncodeSegment(rows)->file; }

void ExpectSameEvent(const Row& a, const Row& b) {
  Bytes scratch;
  EXPECT_EQ(HashOfPayload(a.event, &scratch), HashOfPayload(b.event, &scratch));
  EXPECT_EQ(a.ingested_at_ms, b.ingested_at_ms);
}

TEST(UsageDbSegment, TheLargestAndTheSmallestComeBack) {
  const std::vector<Row> rows = Sample();
  const auto segment = DecodeSegment(Encode(rows));
  ASSERT_TRUE(segment.ok()) << segment.status().ToString();
  ASSERT_EQ(segment->rows.size(), rows.size());
  for (uint32_t i = 0; i < rows.size(); ++i) ExpectSameEvent(segment->rows.Get(i), rows[i]);
  EXPECT_EQ(DecodeSegment(Encode({}))->rows.size(), 0u);
}

TEST(UsageDbSegment, EveryFlippedByteAndEveryCutIsRefused) {
  Bytes file = Encode(Sample());
  for (size_t i = 0; i < file.size(); ++i) {
    file[i] ^= std::byte{0x04};
    EXPECT_EQ(DecodeSegment(file).status().code(), StatusCode::kCorruption) << i;
    file[i] ^= std::byte{0x04};
    EXPECT_FALSE(DecodeSegment(ByteSpan(file).first(i)).ok()) << i;
  }
}

// A file of columns as given, with a right checksum.
struct RawColumn {
  std::string name;
  uint8_t encoding = 0;
  uint8_t codec = 0;
  Bytes data;
};

Bytes FileOf(const std::vector<RawColumn>& columns, uint32_t rows) {
  Bytes out;
  for (const char c : kSegmentMagic) PutFixed(out, c);
  PutFixed<uint8_t>(out, 1);
  PutFixed<uint32_t>(out, rows);
  PutFixed<uint16_t>(out, static_cast<uint16_t>(columns.size()));
  for (const RawColumn& column : columns) {
    PutFixed<uint16_t>(out, static_cast<uint16_t>(column.name.size()));
    for (const char c : column.name) PutFixed(out, c);
    PutFixed<uint8_t>(out, column.encoding);
    PutFixed<uint8_t>(out, column.codec);
    PutFixed<uint32_t>(out, static_cast<uint32_t>(column.data.size()));
    out.insert(out.end(), column.data.begin(), column.data.end());
  }
  PutFixed<uint64_t>(out, Checksum(out));
  for (const char c : kSegmentEndMagic) PutFixed(out, c);
  return out;
}

std::vector<RawColumn> RawColumns() {
  std::vector<RawColumn> out;
  for (const ColumnPayload& column : EncodeColumns(Sample())) {
    out.push_back({column.name, static_cast<uint8_t>(column.encoding), 0, column.data});
  }
  return out;
}

void ExpectRefused(const std::vector<RawColumn>& columns, const std::string& what) {
  const Status status = DecodeSegment(FileOf(columns, 3)).status();
  EXPECT_EQ(status.code(), StatusCode::kCorruption) << what;
  EXPECT_NE(status.message().find(what), std::string::npos) << status.message();
}

TEST(UsageDbSegment, ColumnsMayComeUncompressedAndInAnyOrder) {
  auto columns = RawColumns();
  std::ranges::reverse(columns);
  const auto segment = DecodeSegment(FileOf(columns, 3));
  ASSERT_TRUE(segment.ok()) << segment.status().ToString();
  for (uint32_t i = 0; i < 3; ++i) ExpectSameEvent(segment->rows.Get(i), Sample()[i]);
}

TEST(UsageDbSegment, EveryColumnMayBePlain) {
  auto columns = RawColumns();
  const auto plain = [&](size_t index, Bytes data) {
    columns[index] = {columns[index].name, 0, 0, data};
  };
  const std::vector<Row> rows = Sample();
  Bytes kinds, accounts, models, times, quantities;
  for (Bytes* out : {&kinds, &accounts, &models, &times, &quantities}) PutFixed<uint64_t>(*out, 3);
  for (const Row& row : rows) {
    PutFixed<uint8_t>(kinds, static_cast<uint8_t>(row.event.kind));
    PutFixed<uint64_t>(accounts, row.event.account_id.size());
    for (const char c : row.event.account_id) PutFixed(accounts, c);
    PutFixed<uint8_t>(models, row.event.model_id.has_value());
    if (row.event.model_id.has_value()) {
      PutFixed<uint64_t>(models, row.event.model_id->size());
      for (const char c : *row.event.model_id) PutFixed(models, c);
    }
    PutFixed<int64_t>(times, row.event.timestamp_ms);
    PutFixed<int128>(quantities, row.event.quantity.mantissa);
  }
  plain(1, kinds);
  plain(3, accounts);
  plain(7, times);
  plain(8, quantities);
  plain(11, models);
  const auto segment = DecodeSegment(FileOf(columns, 3));
  ASSERT_TRUE(segment.ok()) << segment.status().ToString();
  for (uint32_t i = 0; i < 3; ++i) ExpectSameEvent(segment->rows.Get(i), rows[i]);
}

TEST(UsageDbSegment, WhatDoesNotFitTogetherIsRefusedByName) {
  auto columns = RawColumns();
  columns[3].codec = 2;
  ExpectRefused(columns, "account_id: codec 2 (lz4) is not supported");
  columns[3].codec = 9;
  ExpectRefused(columns, "codec 9 is not known");
  columns = RawColumns();
  columns[0].name = "event-id";
  ExpectRefused(columns, "column event-id: is not known");
  columns = RawColumns();
  columns.pop_back();
  ExpectRefused(columns, "it has 13 columns");
  columns = RawColumns();
  columns.back() = columns[2];
  ExpectRefused(columns, "column correction_ref: is there twice");
  columns = RawColumns();
  columns[8].encoding = 4;
  ExpectRefused(columns, "column quantity: encoding 4");
  EXPECT_FALSE(DecodeSegment(FileOf(RawColumns(), 4)).ok());
  EXPECT_FALSE(DecodeSegment(FileOf(RawColumns(), UINT32_MAX)).ok());
}

// Columns of few bytes that unpack to many.
TEST(UsageDbSegment, WhatUnpacksToTooMuchIsRefusedBeforeItIs) {
  constexpr uint64_t kBudget = 1 << 20;
  const auto fault = [](const Bytes& file, uint64_t budget) {
    return std::string(DecodeSegment(file, budget).status().message());
  };
  const std::string large(16 << 20, 'a');
  Row bomb = Sample()[0];
  bomb.event.unit = large;
  const Bytes file = Encode({bomb});
  EXPECT_LT(file.size(), 10'000u);
  EXPECT_NE(fault(file, kBudget).find("column unit: unpacks to more than"), std::string::npos);
  EXPECT_TRUE(DecodeSegment(file, 17 << 20).ok());
  // None is too large, but all together are.
  uint64_t all = 0;
  for (const RawColumn& column : RawColumns()) all += column.data.size();
  EXPECT_TRUE(DecodeSegment(FileOf(RawColumns(), 3), all).ok());
  EXPECT_NE(fault(FileOf(RawColumns(), 3), all - 1).find("has more than"), std::string::npos);
  EXPECT_TRUE(DecodeSegment(Encode(Sample()), all).ok());
  EXPECT_NE(fault(Encode(Sample()), all - 1).find("unpacks to more than"), std::string::npos);
  // By number and name before anything is unpacked.
  auto columns = RawColumns();
  for (RawColumn& column : columns) column.codec = 1;  // no frames of zstd
  columns[0].name = "bomb";
  ExpectRefused(columns, "column bomb: is not known");
  columns.resize(65'535, columns[1]);
  ExpectRefused(columns, "it has 65535 columns");
}

// Under a right checksum a wrong byte may be another value, but never a crash.
TEST(UsageDbSegment, EveryByteOfEveryColumnMayBeAnything) {
  const auto columns = RawColumns();
  for (size_t c = 0; c < columns.size(); ++c) {
    for (size_t i = 0; i < columns[c].data.size(); ++i) {
      for (const uint8_t bits : {0x01, 0x80, 0xff}) {
        auto changed = columns;
        changed[c].data[i] ^= std::byte{bits};
        const auto segment = DecodeSegment(FileOf(changed, 3));
        if (!segment.ok()) continue;
        for (uint32_t row = 0; row < segment->rows.size(); ++row) segment->rows.Get(row);
      }
    }
    auto cut = columns;
    while (!cut[c].data.empty()) {
      cut[c].data.pop_back();
      EXPECT_FALSE(DecodeSegment(FileOf(cut, 3)).ok()) << columns[c].name;
    }
    auto longer = columns;
    longer[c].data.push_back(std::byte{0});
    EXPECT_FALSE(DecodeSegment(FileOf(longer, 3)).ok()) << columns[c].name;
  }
}

}  // namespace
}  // namespace tallystick::usagedb
