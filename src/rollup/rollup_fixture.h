// Rollups for tests: segments of chosen rows, and what must stand in their rollups, added up row by
// row.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rollup/whole_rollup_fixture.h"
#include "segment/segment_fixture.h"

namespace tallystick {

// One row, as far as a rollup cares.
struct RollupRow {
  std::string account = "a";
  std::string product = "p";
  std::string meter = "m";
  std::string unit = "u";
  std::optional<std::string> model;
  std::string source = "s";
  EventKind kind = EventKind::kUsage;
  int64_t timestamp_ms = 1'782'000'000'000;
  Quantity quantity = Quantity::FromInteger(1);
  Disposition disposition = Disposition::kCounted;
};

// Rows from LSN 1 on, of one commit.
class RollupRows : public TestRows {
 public:
  RollupRows() : TestRows({1}) { AddCommitTime({{1}, 1'782'000'000'000'000}); }
};

inline void AddRow(TestRows& rows, const RollupRow& row) {
  const std::string id = "event-" + std::to_string(rows.size());
  EventView event{.event_id = id,
                  .account_id = row.account,
                  .product_id = row.product,
                  .meter_id = row.meter,
                  .unit = row.unit,
                  .source = row.source,
                  .kind = row.kind,
                  .timestamp_ms = row.timestamp_ms,
                  .quantity = row.quantity};
  if (row.model.has_value()) event.model_id = *row.model;
  if (row.kind != EventKind::kUsage) event.correction_ref = {"before", "a reason"};
  rows.Add(event, row.disposition);
}

// `count` rows that differ in nothing but their ids.
inline void AddRows(TestRows& rows, const RollupRow& row, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) AddRow(rows, row);
}

// The plain model.
inline Rollup PlainRollup(const TestRows& rows) {
  // A code is the place among all texts of the column, those of quarantined rows too.
  enum { kAccount, kProduct, kMeter, kUnit, kModel, kSource, kColumns };
  std::array<std::map<std::string, uint32_t>, kColumns> codes;
  const auto texts_of = [](const RowView& row) {
    return std::array{
        row.account_id, row.product_id, row.meter_id, row.unit, row.model_id.value_or(""),
        row.source};
  };
  for (uint32_t i = 0; i < rows.size(); ++i) {
    const RowView row = rows.row(i);
    for (size_t c = 0; c < kColumns; ++c) {
      if (c != kModel || row.model_id.has_value()) codes[c][std::string(texts_of(row)[c])] = 0;
    }
  }
  for (size_t c = 0; c < kColumns; ++c) {
    uint32_t next = c == kModel ? 1 : 0;  // 0: absent
    for (auto& [text, code] : codes[c]) code = next++;
  }
  struct Entry {
    std::map<RollupKey, RollupLine> lines;
    uint64_t rows = 0;
  };
  std::vector<Entry> entries(1 + codes[kAccount].size());
  for (uint32_t i = 0; i < rows.size(); ++i) {
    if (rows.record(i).disposition == Disposition::kQuarantined) continue;
    const RowView row = rows.row(i);
    const auto code = [&](size_t c) { return codes[c].at(std::string(texts_of(row)[c])); };
    const std::chrono::sys_time<std::chrono::milliseconds> time(
        std::chrono::milliseconds(row.timestamp_ms));
    const std::chrono::milliseconds hour =
        std::chrono::floor<std::chrono::hours>(time).time_since_epoch();
    const RollupKey key{.product = code(kProduct),
                        .meter = code(kMeter),
                        .unit = code(kUnit),
                        .model = row.model_id.has_value() ? code(kModel) : 0,
                        .source = code(kSource),
                        .kind = static_cast<uint32_t>(row.kind),
                        .hour_start_ms = hour.count()};
    for (const size_t e : {size_t{0}, size_t{1} + code(kAccount)}) {
      RollupLine& line = entries[e].lines[key];
      line.key = key;
      line.sum.Add(row.quantity);
      ++line.count;
      ++entries[e].rows;
    }
  }
  Rollup rollup;
  rollup.starts.push_back(0);
  for (const Entry& entry : entries) {
    if (entry.lines.size() * 8 <= entry.rows) {
      for (const auto& [key, line] : entry.lines) rollup.lines.push_back(line);
    }
    rollup.starts.push_back(rollup.lines.size());
  }
  return rollup;
}

// For messages, and to compare.
inline std::string TextOf(const Rollup& rollup) {
  std::string text = "starts";
  for (const uint64_t start : rollup.starts) text += ' ' + std::to_string(start);
  for (const RollupLine& line : rollup.lines) {
    text += '\n';
    for (const int64_t part :
         std::array<int64_t, 7>{line.key.product, line.key.meter, line.key.unit, line.key.model,
                                line.key.source, line.key.kind, line.key.hour_start_ms}) {
      text += std::to_string(part) + ' ';
    }
    text += line.sum.ToString() + " in " + std::to_string(line.count);
  }
  return text;
}

inline constexpr char kRollupPath[] = "000123.sum";

// A rollup in a file system of its own.
class RollupTest : public testing::Test {
 protected:
  // The segment of these rows, and its rollup beside it.
  void Write(const TestRows& rows) {
    ASSERT_TRUE(segment_.Write(rows).ok());
    auto reader = segment_.Open();
    ASSERT_TRUE(reader.ok());
    info_ = (*reader)->info();
    auto built = BuildRollup(**reader, kRowsPerLineMin);
    ASSERT_TRUE(built.ok()) << built.status().ToString();
    WriteLines(*std::move(built));
  }
  // A rollup that no rows stand behind.
  void WriteMadeUp(Rollup rollup) {
    info_ = {.database_id = TestDatabaseId(),
             .number = {123},
             .first_lsn = {1001},
             .last_lsn = {1'001'000},
             .rows = 1'000'000,
             .footer_checksum = 0x1122334455667788};
    WriteLines(std::move(rollup));
  }
  void WriteLines(Rollup rollup) {
    rollup_ = std::move(rollup);
    const Status status = WriteRollup(fs(), kRollupPath, info_, rollup_, nullptr);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  std::unique_ptr<RollupReader> Open() {
    cache_ = std::make_unique<BlockCache>(uint64_t{1} << 20);
    auto reader = RollupReader::Open(fs(), kRollupPath, info_, *cache_);
    EXPECT_TRUE(reader.ok()) << reader.status().ToString();
    return reader.ok() ? *std::move(reader) : nullptr;
  }
  // Open and check: the first complaint.
  Status VerifyAll() {
    cache_ = std::make_unique<BlockCache>(uint64_t{1} << 20);
    auto reader = RollupReader::Open(fs(), kRollupPath, info_, *cache_);
    return reader.ok() ? CheckRollup(**reader, rollup_) : reader.status();
  }
  // What was built, what was written and the plain model's are the same.
  void ExpectPlain(const TestRows& rows) {
    EXPECT_EQ(TextOf(rollup_), TextOf(PlainRollup(rows)));
    ExpectReadBack();
  }
  void ExpectReadBack() {
    const auto reader = Open();
    const auto stored = ReadRollup(*reader);
    ASSERT_TRUE(stored.ok()) << stored.status().ToString();
    EXPECT_EQ(stored->starts, rollup_.starts);
    EXPECT_EQ(stored->lines, rollup_.lines);
    const Status checked = CheckRollup(*reader, rollup_);
    EXPECT_TRUE(checked.ok()) << checked.ToString();
    EXPECT_EQ(cache_->Read().misses, 0u) << "the check goes past the cache";
    for (uint64_t entry = 0; entry < reader->footer().entries; ++entry) {
      const auto lines = reader->LinesOf(entry);
      ASSERT_TRUE(lines.ok());
      EXPECT_EQ(lines->begin, rollup_.starts[entry]);
      EXPECT_EQ(lines->end, rollup_.starts[entry + 1]);
      EXPECT_EQ(lines->empty(), lines->begin == lines->end);
    }
  }
  SimFs& fs() { return segment_.fs(); }
  Bytes Content() { return *fs().Content(kRollupPath); }

  TestSegment segment_{{.database_id = TestDatabaseId(), .number = {123}, .group_rows = 64}};
  SegmentInfo info_;
  Rollup rollup_;
  std::unique_ptr<BlockCache> cache_;
};

// `entries` entries of `lines` lines each, which differ in hour; sums are small.
inline Rollup MadeUpRollup(uint64_t entries, uint64_t lines) {
  Rollup rollup;
  rollup.starts.push_back(0);
  for (uint64_t entry = 0; entry < entries; ++entry) {
    for (uint64_t i = 0; i < lines; ++i) {
      RollupLine& line = rollup.lines.emplace_back();
      line.key.product = static_cast<uint32_t>(entry);
      line.key.model = 3;
      line.key.hour_start_ms = static_cast<int64_t>(i) * kHourMs;
      line.sum.Add(Quantity::Normalized(static_cast<int64_t>(i * 37 % 101), 3));
      line.count = 8 + i;
    }
    rollup.starts.push_back(rollup.lines.size());
  }
  return rollup;
}

}  // namespace tallystick
