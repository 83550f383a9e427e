// Segments for tests: made-up rows of chosen shapes, written to a simulated file system, and what
// must be found in them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/check.h"
#include "model/identity.h"
#include "model/row.h"
#include "segment/segment_reader.h"
#include "segment/segment_writer.h"
#include "testing/sim_fs.h"

namespace tallystick {

inline DatabaseId TestDatabaseId(uint8_t salt = 0) {
  DatabaseId id;
  for (size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<uint8_t>(i + salt);
  return id;
}

// What kinds of rows there are.
struct RowShape {
  uint32_t accounts = 3;
  uint32_t dimension_sets = 5;  // 0: no row has any; UINT32_MAX: each row its own
  enum class Ids : uint8_t { kUuid, kUpperUuid, kText, kMixed } ids = Ids::kUuid;
  enum class Quantities : uint8_t {
    kSmall,
    kScaled,
    kWide,
    kMixed
  } quantities = Quantities::kSmall;
  bool edge_timestamps = false;
  bool empty_and_absent = false;
  bool corrections = false;
  bool quarantined = false;
};

// The rows of a segment in LSN order. Owns what the records point at.
class TestRows {
 public:
  explicit TestRows(Lsn first_lsn) : first_lsn_(first_lsn) {}
  TestRows(Lsn first_lsn, uint32_t rows, const RowShape& shape, uint64_t seed);
  TestRows(const TestRows&) = delete;
  TestRows& operator=(const TestRows&) = delete;

  void Add(const EventView& event, Disposition disposition = Disposition::kCounted);
  void AddCommitTime(const CommitTime& time) { commit_times_.push_back(time); }

  uint32_t size() const { return static_cast<uint32_t>(canonical_.size()); }
  RecordView record(uint32_t i) const { return {dispositions_[i], canonical_[i]}; }
  RowView row(uint32_t i) const {
    RowView row;
    TALLY_CHECK(DecodeCanonical(canonical_[i], &row));
    return row;
  }
  Lsn lsn(uint32_t i) const { return {first_lsn_.value + i}; }
  const std::vector<CommitTime>& commit_times() const { return commit_times_; }

  // `input` borrows from `records`.
  SegmentInput Input(std::vector<RecordView>* records) const;
  // Places in the order that the rows must have in the segment, sorted by their texts.
  std::vector<uint32_t> SortedOrder() const;
  SegmentTotals Totals() const;

 private:
  const Lsn first_lsn_;
  std::vector<Bytes> canonical_;
  std::vector<Disposition> dispositions_;
  std::vector<CommitTime> commit_times_;
};

inline void TestRows::Add(const EventView& event, Disposition disposition) {
  EncodeCanonical(event, canonical_.emplace_back());
  dispositions_.push_back(disposition);
}

inline SegmentInput TestRows::Input(std::vector<RecordView>* records) const {
  records->clear();
  for (uint32_t i = 0; i < size(); ++i) records->push_back(record(i));
  return {first_lsn_, *records, commit_times_};
}

inline std::vector<uint32_t> TestRows::SortedOrder() const {
  std::vector<uint32_t> order(size());
  for (uint32_t i = 0; i < size(); ++i) order[i] = i;
  const auto key = [](const RowView& row) {
    return std::tuple(row.account_id, row.product_id, row.meter_id, row.unit,
                      row.model_id.has_value(), row.model_id.value_or(""), row.timestamp_ms);
  };
  std::ranges::stable_sort(order, {}, [&](uint32_t i) { return key(row(i)); });
  return order;
}

inline SegmentTotals TestRows::Totals() const {
  SegmentTotals totals;
  totals.rows = size();
  for (uint32_t i = 0; i < size(); ++i) {
    if (dispositions_[i] == Disposition::kQuarantined) {
      ++totals.quarantined;
    } else {
      totals.quantity.Add(row(i).quantity);
    }
  }
  return totals;
}

// Draws rows of a shape.
class RowMaker {
 public:
  RowMaker(const RowShape& shape, uint64_t seed) : shape_(shape), random_(seed) {}

  void AddTo(TestRows& rows);

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  std::string Pick(const char* prefix, uint64_t bound) {
    return prefix + std::to_string(Below(bound));
  }
  std::string Id();
  Quantity MakeQuantity();
  int64_t Timestamp();
  void MakeDimensions();

  const RowShape shape_;
  std::mt19937_64 random_;
  std::vector<std::pair<std::string, std::string>> pairs_;
  uint64_t count_ = 0;
};

inline std::string RowMaker::Id() {
  static constexpr char kLower[] = "0123456789abcdef";
  static constexpr char kUpper[] = "0123456789ABCDEF";
  const auto uuid = [&](const char* digits) {
    std::string id;
    for (size_t i = 0; i < 36; ++i) {
      id += i == 8 || i == 13 || i == 18 || i == 23 ? '-' : digits[Below(16)];
    }
    return id;
  };
  switch (shape_.ids) {
    case RowShape::Ids::kUuid:
      return uuid(kLower);
    case RowShape::Ids::kUpperUuid:
      return uuid(kUpper);
    case RowShape::Ids::kText:
      return "event-" + std::to_string(count_) + std::string(Below(40), 'x');
    case RowShape::Ids::kMixed:
      break;
  }
  return Below(8) == 0 ? std::string(1 + Below(300), 'z') + std::to_string(count_) : uuid(kLower);
}

inline Quantity RowMaker::MakeQuantity() {
  const auto scale = static_cast<uint8_t>(Below(Quantity::kScaleMax + 1));
  constexpr int128 kMax = ~(int128{1} << 127);
  switch (shape_.quantities) {
    case RowShape::Quantities::kSmall:
      return Quantity::FromInteger(static_cast<int128>(Below(5000)));
    case RowShape::Quantities::kScaled:
      return Quantity::Normalized(static_cast<int64_t>(Below(1'000'000)) - 500'000, scale);
    case RowShape::Quantities::kWide:
      return Quantity::FromInteger(Below(2) == 0 ? kMax - Below(10) : -kMax - 1 + Below(10));
    case RowShape::Quantities::kMixed:
      break;
  }
  const auto shift = static_cast<unsigned>(Below(128));
  const auto bits = static_cast<uint128>(random_()) << 64 | random_();
  return Quantity::Normalized(static_cast<int128>(bits) >> shift, scale);
}

inline int64_t RowMaker::Timestamp() {
  if (shape_.edge_timestamps && Below(3) == 0) return Below(2) == 0 ? 1 : INT64_MAX;
  return 1'782'000'000'000 + static_cast<int64_t>(Below(100'000));
}

inline void RowMaker::MakeDimensions() {
  pairs_.clear();
  if (shape_.dimension_sets == 0) return;
  std::mt19937_64 of_set(Below(shape_.dimension_sets));
  const uint64_t count = of_set() % 17;
  for (uint64_t i = 0; i < count; ++i) {
    // Lengths of two bytes' varint too.
    const std::string value = of_set() % 8 == 0 ? std::string(200, 'v') : "";
    pairs_.emplace_back("key" + std::to_string(i * 3 + of_set() % 3),
                        value + std::to_string(of_set() % 4));
  }
}

inline void RowMaker::AddTo(TestRows& rows) {
  ++count_;
  const std::string id = Id();
  const std::string account = Pick("account-", shape_.accounts);
  const std::string product = Pick("product-", 2);
  const std::string meter = Pick("meter-", 3);
  const bool sparse = shape_.empty_and_absent;
  const std::string unit = sparse && Below(3) == 0 ? "" : Pick("unit-", 2);
  const std::string source = sparse && Below(3) == 0 ? "" : Pick("source-", 2);
  const std::string model = sparse && Below(3) == 0 ? "" : Pick("model-", 3);
  const std::string subscription = Pick("subscription-", 20);
  MakeDimensions();
  std::vector<Dimension> dimensions;
  for (const auto& [key, value] : pairs_) dimensions.push_back({key, value});
  EventView event{.event_id = id,
                  .account_id = account,
                  .product_id = product,
                  .meter_id = meter,
                  .unit = unit,
                  .source = source,
                  .timestamp_ms = Timestamp(),
                  .quantity = MakeQuantity(),
                  .dimensions = dimensions};
  if (!sparse || Below(2) == 0) event.model_id = model;
  if (!sparse || Below(2) == 0) event.subscription_id = subscription;
  const std::string original = id + "-before";
  if (shape_.corrections && Below(4) == 0) {
    event.kind = static_cast<EventKind>(Below(3));
    event.correction_ref = {original, Below(2) == 0 ? "" : "a reason"};
  }
  const bool quarantined = shape_.quarantined && Below(5) == 0;
  rows.Add(event, quarantined ? Disposition::kQuarantined : Disposition::kCounted);
}

inline TestRows::TestRows(Lsn first_lsn, uint32_t rows, const RowShape& shape, uint64_t seed)
    : TestRows(first_lsn) {
  RowMaker maker(shape, seed);
  for (uint32_t i = 0; i < rows; ++i) maker.AddTo(*this);
  std::mt19937_64 random(seed);
  int64_t time = 1'782'000'000'000'000;
  for (uint64_t at = first_lsn.value; at < first_lsn.value + rows; at += 1 + random() % 5) {
    AddCommitTime({{at}, time += 1 + static_cast<int64_t>(random() % 1000)});
  }
}

// A segment in a file system of its own.
class TestSegment {
 public:
  static constexpr char kPath[] = "000123.seg";

  explicit TestSegment(const SegmentSpec& spec = {.database_id = TestDatabaseId(), .number = {123}})
      : spec_(spec), cache_(uint64_t{1} << 20) {}

  Result<WrittenSegment> Write(const TestRows& rows) {
    std::vector<RecordView> records;
    auto written = WriteSegment(fs_, kPath, spec_, rows.Input(&records), nullptr);
    if (written.ok()) written_ = *written;
    return written;
  }
  Result<std::unique_ptr<SegmentReader>> Open() { return Open(written_.footer_checksum); }
  // `footer_checksum`: what the manifest says.
  Result<std::unique_ptr<SegmentReader>> Open(uint64_t footer_checksum) {
    cache_.Erase(spec_.number);
    return SegmentReader::Open(fs_, kPath, {spec_.database_id, spec_.number, footer_checksum},
                               cache_);
  }
  // What opening and checking make of the file.
  Status OpenAndCheck() { return OpenAndCheck(written_.footer_checksum); }
  Status OpenAndCheck(uint64_t footer_checksum) {
    auto reader = Open(footer_checksum);
    if (!reader.ok()) return reader.status();
    return CheckSegment(**reader, {}).status();
  }
  // The same of another content.
  Status CheckContent(ByteSpan content, uint64_t footer_checksum) {
    SetContent(content);
    return OpenAndCheck(footer_checksum);
  }
  Bytes Content() { return *fs_.Content(kPath); }
  void SetContent(ByteSpan content) { fs_.SetContent(kPath, content); }

  SimFs& fs() { return fs_; }
  BlockCache& cache() { return cache_; }
  const SegmentSpec& spec() const { return spec_; }
  const WrittenSegment& written() const { return written_; }

 private:
  const SegmentSpec spec_;
  SimFs fs_;
  BlockCache cache_;
  WrittenSegment written_;
};

}  // namespace tallystick
