#include "usagedb/manifest.h"

#include <gtest/gtest.h>

#include "env/env.h"
#include "usagedb/directory.h"
#include "usagedb/wal_line.h"

namespace tallystick::usagedb {
namespace {

const std::string kData = std::string(TALLY_SOURCE_DIR) + "/testdata/usagedb-0.4.0/";

std::string Read(const std::string& path) {
  const auto bytes = ReadWholeFile(Env::Real().fs(), kData + path, 1 << 20);
  EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
  return bytes.ok() ? std::string(AsText(*bytes)) : "";
}

TEST(UsageDbManifest, WhatUsageDbWroteIsReadAndWouldBeWrittenAlike) {
  const std::string text = Read("tail/manifest/manifest-000002.json");
  const auto manifest = ParseManifest(text);
  ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
  EXPECT_EQ(manifest->raw_segments.size(), 5u);
  EXPECT_EQ(PrintManifest(*manifest), text);
}

TEST(UsageDbManifest, NumbersAreReadInFull) {
  const auto manifest = ParseManifest(Read("small/manifest/manifest-000003.json"));
  ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
  ASSERT_EQ(manifest->raw_segments.size(), 4u);
  EXPECT_EQ(manifest->bucket_count, 64u);
  EXPECT_EQ(manifest->last_sealed_wal_id, 1u);
  const SegmentMeta& edge = manifest->raw_segments[1];
  EXPECT_EQ(edge.checksum, 12379478137708304192u);
  EXPECT_EQ(edge.quantity_sum, int128{-1});
  EXPECT_EQ(edge.bucket, BucketOf(*edge.min_account_id, 64));
  ASSERT_EQ(manifest->closed_periods.size(), 1u);
  const ClosedPeriod& closed = manifest->closed_periods[0];
  EXPECT_EQ(Quantity::FromInteger(*closed.frozen_quantity).ToString(),
            "90000027670116110564327480");
  EXPECT_EQ(closed.frozen_event_count, 17u);
  for (const SegmentMeta& meta : manifest->raw_segments) {
    EXPECT_EQ(meta.bucket, BucketOf(*meta.min_account_id, 64)) << meta.segment_id;
  }
}

TEST(UsageDbManifest, RollupsAndReplacementsAreRead) {
  const auto manifest = ParseManifest(Read("compacted/manifest/manifest-000021.json"));
  ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
  EXPECT_EQ(manifest->rollup_segments.size(), 1u);
  EXPECT_TRUE(manifest->rollup_segments[0].is_rollup);
}

TEST(UsageDbManifest, WhatOldVersionsDidNotWriteHasADefault) {
  const auto manifest = ParseManifest(
      R"({"db_version":0,"bucket_count":8,"raw_segments":[],"rollup_segments":[],)"
      R"("compacted_replacements":[],"watermarks":{"hourly_rollup_ms":5},"more":[{"x":1}]})");
  ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
  EXPECT_EQ(manifest->last_sealed_wal_id, 0u);
  EXPECT_EQ(manifest->hourly_rollup_ms, 5);
}

TEST(UsageDbManifest, EveryCutIsRefusedAndNoFlippedByteCrashes) {
  std::string text = Read("small/manifest/manifest-000003.json");
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(ParseManifest(std::string_view(text).substr(0, i)).ok()) << i;
    for (const char bits : {'\x01', '\x10', '\x80'}) {
      text[i] ^= bits;
      ParseManifest(text).ok();
      text[i] ^= bits;
    }
  }
}

void ExpectFault(std::string text, const std::string& from, const std::string& to,
                 const std::string& what) {
  text.replace(text.find(from), from.size(), to);
  const Status status = ParseManifest(text).status();
  EXPECT_EQ(status.code(), StatusCode::kCorruption) << to;
  EXPECT_NE(status.message().find(what), std::string::npos) << status.message();
}

TEST(UsageDbManifest, FaultsAreNamed) {
  const std::string text = Read("tail/manifest/manifest-000002.json");
  ExpectFault(text, "\"raw_segments\"", "\"raw_sements\"", "has no field raw_segments");
  ExpectFault(text, "\"db_version\": 0", "\"db_version\": 1", "db_version 1 is not known");
  ExpectFault(text, "\"bucket_count\": 64", "\"bucket_count\": 0", "bucket_count is 0");
  ExpectFault(text, "\"row_count\": 40", "\"row_count\": 4e1", "field row_count is no integer");
  ExpectFault(text, "\"row_count\": 40", "\"row_count\": 1, \"row_count\": 40", "there twice");
  ExpectFault(text, "\"raw_d", "\"../raw_d", "no name of a file");
  ExpectFault(text, "\"Raw\"", "\"Rollup\"", "of the wrong kind");
  ExpectFault(text, "\"checksum\": ", "\"checksum\": 99999999999999999999",
              "no integer of 64 bits");
}

TEST(UsageDbWal, EveryLineThatUsageDbWroteIsReadAndWouldBeWrittenAlike) {
  auto reader = LogReader::Open(Env::Real().fs(), kData + "tail/wal/wal-000002.log");
  ASSERT_TRUE(reader.ok());
  WalLineParser parser;
  uint64_t lines = 0;
  while (true) {
    const auto line = reader->Next();
    ASSERT_TRUE(line.ok());
    if (!line->has_value()) break;
    EXPECT_EQ((*line)->number, ++lines);
    const auto row = parser.Parse((*line)->text);
    ASSERT_TRUE(row.ok()) << row.status().ToString();
    std::string again;
    AppendWalLine(again, *row);
    EXPECT_EQ(again, (*line)->text);
  }
  EXPECT_GT(lines, 100u);
}

constexpr char kLine[] =
    R"({"event_id":"e\u0001\"1","kind":"Correction","correction_ref":{"original_event_id":"o",)"
    R"("reason":""},"account_id":"acme","subscription_id":null,"product_id":"api",)"
    R"("meter_id":"tok","timestamp_ms":1782000000000,)"
    R"("quantity":-170141183460469231731687303715884105728,)"
    R"("unit":"","source":"","model_id":"m","dimensions":{"inner":{"a":"1","b":"2"}},)"
    R"("ingested_at_ms":7})";

TEST(UsageDbWal, ALineIsReadAsUsageDbReadsIt) {
  WalLineParser parser;
  const auto row = parser.Parse(kLine);
  ASSERT_TRUE(row.ok()) << row.status().ToString();
  EXPECT_EQ(row->event.event_id, "e\x01\"1");
  EXPECT_EQ(row->event.quantity.ToString(), "-170141183460469231731687303715884105728");
  std::string again;
  AppendWalLine(again, *row);
  EXPECT_EQ(again, kLine);
  // Of a repeated dimension the last one counts, and unknown fields do not.
  std::string text(kLine);
  text.replace(text.find(R"({"a":"1","b":"2"})"), 17, R"({"b":"0","a":"1","b":"2"},"x":[1])");
  const auto repeated = parser.Parse(text);
  ASSERT_TRUE(repeated.ok()) << repeated.status().ToString();
  again.clear();
  AppendWalLine(again, *repeated);
  EXPECT_EQ(again, kLine);
}

TEST(UsageDbWal, WhatIsNoEventIsRefused) {
  WalLineParser parser;
  const std::string line(kLine);
  for (size_t i = 0; i < line.size(); ++i) EXPECT_FALSE(parser.Parse(line.substr(0, i)).ok()) << i;
  EXPECT_FALSE(parser.Parse(line + "x").ok());
  EXPECT_FALSE(parser.Parse(line.substr(0, 100) + line).ok());  // glued to a torn one
  EXPECT_FALSE(parser.Parse("[]").ok());
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"quantity\":-1", "\"quantity\":-1.0e1"},
           {"\"quantity\":-1", "\"quantity\":-91"},
           {"\"kind\":\"C", "\"kind\":\"c"},
           {"\"timestamp_ms\":1782000000000", "\"timestamp_ms\":\"1\""},
           {"\"reason\":\"\"", "\"reason\":null"},
           {"\"inner\"", "\"outer\""},
           {"\"event_id\"", "\"eventid\""}}) {
    std::string text = line;
    text.replace(text.find(from), from.size(), to);
    EXPECT_FALSE(parser.Parse(text).ok()) << to;
  }
}

}  // namespace
}  // namespace tallystick::usagedb
