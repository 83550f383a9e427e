#include "model/row.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "model/event_check.h"
#include "testing/golden.h"

namespace tallystick {
namespace {

const std::vector<Dimension> kDimensions = {{"region", "eu"}, {"cache", "hit"}};

EventView FullEvent() {
  EventView event;
  event.event_id = "e-1";
  event.account_id = "acme";
  event.product_id = "api";
  event.meter_id = "tokens";
  event.subscription_id = "sub";
  event.model_id = "";
  event.unit = "t";
  event.source = "gw";
  event.kind = EventKind::kCorrection;
  event.correction_ref = CorrectionRefView{.original_event_id = "e-0", .reason = "late"};
  event.timestamp_ms = 1'782'000'000'000;
  event.quantity = {-1250, 3};
  event.dimensions = kDimensions;
  return event;
}

EventView SmallEvent() {
  EventView event;
  event.event_id = "e";
  event.account_id = "a";
  event.product_id = "p";
  event.meter_id = "m";
  event.timestamp_ms = 1;
  return event;
}

Bytes Encoded(const EventView& event) {
  Bytes bytes;
  EncodeCanonical(event, bytes);
  return bytes;
}

bool Accepted(ByteSpan bytes) {
  RowView row;
  return DecodeCanonical(bytes, &row);
}

// What Encode makes of a decoded row.
Bytes Reencoded(const RowView& row) {
  EventView event;
  event.event_id = row.event_id;
  event.account_id = row.account_id;
  event.product_id = row.product_id;
  event.meter_id = row.meter_id;
  event.subscription_id = row.subscription_id;
  event.model_id = row.model_id;
  event.unit = row.unit;
  event.source = row.source;
  event.kind = row.kind;
  event.correction_ref = row.correction_ref;
  event.timestamp_ms = row.timestamp_ms;
  event.quantity = row.quantity;
  const Event owned = ToEvent(row, Lsn{1}, 0);
  std::vector<Dimension> dimensions;
  for (const auto& [key, value] : owned.dimensions) dimensions.push_back({key, value});
  event.dimensions = dimensions;
  return Encoded(event);
}

// Names each part of an encoding and shows its bytes.
class Annotator {
 public:
  explicit Annotator(ByteSpan bytes) : bytes_(bytes) {}
  void Part(size_t bytes, std::string_view what) {
    text_ += fmt::format("{:4}  {:<48}{}\n", at_, Hex(bytes_.subspan(at_, bytes)), what);
    at_ += bytes;
  }
  void Text(std::string_view name) {
    const size_t bytes = 1 + std::to_integer<size_t>(bytes_[at_]);  // all shorter than 128
    Part(bytes, fmt::format("{} \"{}\"", name, AsText(bytes_.subspan(at_ + 1, bytes - 1))));
  }
  std::string Finish() const {
    EXPECT_EQ(at_, bytes_.size());
    return text_;
  }

 private:
  static std::string Hex(ByteSpan bytes) {
    std::string hex;
    for (const std::byte byte : bytes) hex += fmt::format("{:02x} ", std::to_integer<int>(byte));
    return hex;
  }

  ByteSpan bytes_;
  size_t at_ = 0;
  std::string text_;
};

TEST(RowTest, BytesAreThoseOfTheGolden) {
  Bytes record(kRecordHeaderBytes);
  EncodeCanonical(FullEvent(), record);
  StoreFixed<uint32_t>(record.data(), static_cast<uint32_t>(record.size() - kRecordHeaderBytes));
  record[4] = static_cast<std::byte>(Disposition::kQuarantined);

  Annotator annotator(record);
  annotator.Part(4, "record: bytes of the canonical encoding");
  annotator.Part(1, "record: disposition, 1 quarantined");
  annotator.Part(1, "kind, 1 Correction");
  annotator.Part(1, "quantity scale");
  annotator.Part(1, "mantissa bytes");
  annotator.Part(1, "flags: subscription_id, model_id, correction_ref");
  annotator.Part(8, "timestamp_ms 1782000000000");
  annotator.Part(1, "mantissa -125: the quantity is -1.25");
  for (const char* name : {"event_id", "account_id", "product_id", "meter_id", "unit", "source",
                           "subscription_id", "model_id", "original_event_id", "reason"}) {
    annotator.Text(name);
  }
  annotator.Part(1, "dimensions");
  for (const char* name : {"key", "value", "key", "value"}) annotator.Text(name);
  EXPECT_EQ(CompareGolden("testdata/v1/row.golden", annotator.Finish()), "");
}

TEST(RowTest, EverythingComesBack) {
  const Bytes bytes = Encoded(FullEvent());
  RowView row;
  ASSERT_TRUE(DecodeCanonical(bytes, &row));
  Event expected;
  expected.event_id = "e-1";
  expected.account_id = "acme";
  expected.product_id = "api";
  expected.meter_id = "tokens";
  expected.subscription_id = "sub";
  expected.model_id = "";
  expected.unit = "t";
  expected.source = "gw";
  expected.kind = EventKind::kCorrection;
  expected.correction_ref = CorrectionRef{.original_event_id = "e-0", .reason = "late"};
  expected.timestamp_ms = 1'782'000'000'000;
  expected.quantity = {-125, 2};
  expected.dimensions = {{"cache", "hit"}, {"region", "eu"}};
  expected.ingested_at_ms = 1'795'000'000'123;
  expected.lsn = Lsn{7};
  EXPECT_EQ(ToEvent(row, Lsn{7}, 1'795'000'000'123'999), expected);
  EXPECT_EQ(row.Dimension("cache"), "hit");
  EXPECT_EQ(row.Dimension("region"), "eu");
  EXPECT_EQ(row.Dimension("a"), std::nullopt);
  EXPECT_EQ(row.Dimension("d"), std::nullopt);
  EXPECT_EQ(row.Dimension("z"), std::nullopt);
  EXPECT_EQ(CanonicalEventId(bytes), "e-1");
  EXPECT_EQ(CanonicalAccountId(bytes), "acme");
}

TEST(RowTest, AReusedRowKeepsNothingOfTheLastOne) {
  RowView row;
  const Bytes full = Encoded(FullEvent());
  ASSERT_TRUE(DecodeCanonical(full, &row));
  const Bytes small = Encoded(SmallEvent());
  ASSERT_TRUE(DecodeCanonical(small, &row));
  EXPECT_FALSE(row.subscription_id || row.model_id || row.correction_ref);
  EXPECT_EQ(row.dimension_count, 0u);
  EXPECT_EQ(row.kind, EventKind::kUsage);
}

TEST(RowTest, TheSmallestRecordIsTheStatedOne) {
  EXPECT_EQ(Encoded(SmallEvent()).size() + kRecordHeaderBytes, kRecordBytesMin);
}

TEST(RowTest, OneEventHasOneEncoding) {
  EventView event = FullEvent();
  const Bytes bytes = Encoded(event);
  event.quantity = {-125, 2};
  const std::vector<Dimension> other_order = {{"cache", "hit"}, {"region", "eu"}};
  event.dimensions = other_order;
  EXPECT_EQ(Encoded(event), bytes);
}

TEST(RowTest, AbsentAndEmptyAreTwoThings) {
  EventView event = FullEvent();
  const Bytes empty = Encoded(event);
  event.model_id.reset();
  EXPECT_NE(Encoded(event), empty);
}

TEST(RowTest, MantissasAreAsShortAsTheyCanBe) {
  const auto bytes_of = [](int128 mantissa) {
    EventView event = SmallEvent();
    event.quantity = {mantissa, 0};
    const Bytes bytes = Encoded(event);
    RowView row;
    EXPECT_TRUE(DecodeCanonical(bytes, &row));
    EXPECT_EQ(row.quantity, event.quantity);
    return std::to_integer<size_t>(bytes[2]);
  };
  EXPECT_EQ(bytes_of(0), 0u);
  for (size_t bytes = 1; bytes <= 16; ++bytes) {
    // The largest and the smallest value of `bytes` bytes.
    const auto largest = static_cast<int128>((uint128{1} << (8 * bytes - 1)) - 1);
    EXPECT_EQ(bytes_of(largest), bytes);
    EXPECT_EQ(bytes_of(-largest - 1), bytes);
    if (bytes == 16) break;
    EXPECT_EQ(bytes_of(largest + 1), bytes + 1);
    EXPECT_EQ(bytes_of(-largest - 2), bytes + 1);
  }
}

// Bytes that hold the same event in another way, or none at all, are refused.
TEST(RowTest, OnlyCanonicalBytesAreAccepted) {
  const Bytes good = Encoded(FullEvent());
  ASSERT_TRUE(Accepted(good));
  const auto with = [&](size_t at, int value) {
    Bytes bytes = good;
    bytes[at] = static_cast<std::byte>(value);
    return bytes;
  };
  EXPECT_FALSE(Accepted(with(0, 3))) << "kind";
  EXPECT_FALSE(Accepted(with(1, 13))) << "scale";
  EXPECT_FALSE(Accepted(with(2, 17))) << "mantissa bytes";
  EXPECT_FALSE(Accepted(with(3, 15))) << "an unknown flag";
  EXPECT_FALSE(Accepted(with(3, 3))) << "a correction without its reference";
  EXPECT_FALSE(Accepted(with(11, 0x80))) << "a time below zero";
  EXPECT_FALSE(Accepted(with(12, 10))) << "a quantity with trailing zeros";
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(Accepted(longer)) << "trailing bytes";
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(Accepted(ByteSpan(good).first(size))) << "cut at " << size;
  }
}

TEST(RowTest, LongFormsAreRefused) {
  EventView event = SmallEvent();
  event.quantity = {5, 0};
  Bytes bytes = Encoded(event);
  Bytes wide = bytes;  // the mantissa in two bytes
  wide[2] = std::byte{2};
  wide.insert(wide.begin() + 13, std::byte{0});
  EXPECT_FALSE(Accepted(wide));
  Bytes zero = Encoded(SmallEvent());  // zero in one byte
  zero[2] = std::byte{1};
  zero.insert(zero.begin() + 12, std::byte{0});
  EXPECT_FALSE(Accepted(zero));
  Bytes scaled = Encoded(SmallEvent());  // zero with a scale
  scaled[1] = std::byte{1};
  EXPECT_FALSE(Accepted(scaled));
  Bytes varint = bytes;  // the length of the event id in two bytes
  varint[13] = std::byte{0x81};
  varint.insert(varint.begin() + 14, std::byte{0});
  EXPECT_FALSE(Accepted(varint));
}

TEST(RowTest, NoIdIsEmpty) {
  for (std::string_view EventView::* id : {&EventView::event_id, &EventView::account_id,
                                           &EventView::product_id, &EventView::meter_id}) {
    EventView event = SmallEvent();
    event.*id = "";
    event.unit = "tokens";  // so that it is not too short
    EXPECT_FALSE(Accepted(Encoded(event)));
  }
}

TEST(RowTest, DimensionsAscendStrictly) {
  const std::vector<Dimension> dimensions = {{"a", "1"}, {"b", "2"}};
  EventView event = SmallEvent();
  event.dimensions = dimensions;
  Bytes bytes = Encoded(event);
  const size_t first_key = bytes.size() - 7;
  ASSERT_EQ(bytes[first_key], std::byte{'a'});
  for (const char key : {'b', 'c'}) {
    bytes[first_key] = static_cast<std::byte>(key);
    EXPECT_FALSE(Accepted(bytes)) << key;
  }
  // Keys are compared as bytes, not as signed characters.
  const std::vector<Dimension> high = {{"\xc3\xbc", "1"}, {"z", "2"}};
  event.dimensions = high;
  bytes = Encoded(event);
  RowView row;
  ASSERT_TRUE(DecodeCanonical(bytes, &row));
  EXPECT_EQ(row.Dimension("\xc3\xbc"), "1");
  EXPECT_EQ(ToEvent(row, Lsn{1}, 0).dimensions.front().first, "z");
}

TEST(RowTest, AHugeCountOfDimensionsCostsNothing) {
  Bytes bytes = Encoded(SmallEvent());
  bytes.pop_back();
  std::byte count[kVarint64BytesMax];
  const std::byte* end = StoreVarint(count, std::numeric_limits<uint64_t>::max());
  bytes.insert(bytes.end(), static_cast<const std::byte*>(count), end);
  EXPECT_FALSE(Accepted(bytes));
}

// An import keeps what it finds: limits of ingest are not limits of the format.
TEST(RowTest, TheFormatKnowsNoUtf8AndNoLimits) {
  EventView event = SmallEvent();
  const std::string binary = "\xff\x01" + std::string(70'000, '\x80');
  event.event_id = binary;
  EXPECT_TRUE(Accepted(Encoded(event)));
}

TEST(RowTest, RecordsAreReadOneAfterAnother) {
  Bytes bytes;
  for (const int disposition : {0, 1}) {
    const Bytes canonical = Encoded(FullEvent());
    PutFixed(bytes, static_cast<uint32_t>(canonical.size()));
    PutFixed(bytes, static_cast<uint8_t>(disposition));
    bytes.insert(bytes.end(), canonical.begin(), canonical.end());
  }
  Decoder decoder(bytes);
  RecordView record;
  ASSERT_TRUE(DecodeRecord(decoder, &record));
  EXPECT_EQ(record.disposition, Disposition::kCounted);
  ASSERT_TRUE(DecodeRecord(decoder, &record));
  EXPECT_EQ(record.disposition, Disposition::kQuarantined);
  EXPECT_EQ(CanonicalEventId(record.canonical), "e-1");
  EXPECT_EQ(decoder.remaining(), 0u);
  EXPECT_FALSE(DecodeRecord(decoder, &record));

  bytes[4] = std::byte{2};
  Decoder unknown(bytes);
  EXPECT_FALSE(DecodeRecord(unknown, &record)) << "an unknown disposition";
  bytes[4] = std::byte{0};
  Decoder cut(ByteSpan(bytes).first(bytes.size() / 2 - 1));
  EXPECT_FALSE(DecodeRecord(cut, &record)) << "a cut record";
  const Bytes zeros(64);
  Decoder empty(zeros);
  EXPECT_FALSE(DecodeRecord(empty, &record)) << "shorter than any row";
}

std::string AnyText(size_t bytes_min) {
  std::string text = *rc::gen::arbitrary<std::string>();
  if (*rc::gen::inRange(0, 10) == 0) text.append(200, 'x');
  while (text.size() < bytes_min) text += 'x';
  return text;
}

RC_GTEST_PROP(RowProperty, DecodingIsTheInverse, ()) {
  std::vector<std::string> texts;
  for (int i = 0; i < 10; ++i) texts.push_back(AnyText(1));
  std::vector<std::pair<std::string, std::string>> pairs(*rc::gen::inRange<size_t>(0, 17));
  for (size_t i = 0; i < pairs.size(); ++i) {
    pairs[i] = {AnyText(0) + std::to_string(i), AnyText(0)};
  }
  std::vector<Dimension> dimensions;
  for (const auto& [key, value] : pairs) dimensions.push_back({key, value});
  EventView event;
  event.event_id = texts[0];
  event.account_id = texts[1];
  event.product_id = texts[2];
  event.meter_id = texts[3];
  event.unit = texts[4];
  event.source = texts[5];
  if (*rc::gen::arbitrary<bool>()) event.subscription_id = texts[6];
  if (*rc::gen::arbitrary<bool>()) event.model_id = texts[7];
  event.kind = static_cast<EventKind>(*rc::gen::inRange(0, 3));
  if (event.kind != EventKind::kUsage || *rc::gen::arbitrary<bool>()) {
    event.correction_ref = CorrectionRefView{.original_event_id = texts[8], .reason = texts[9]};
  }
  event.timestamp_ms = *rc::gen::inRange<int64_t>(1, std::numeric_limits<int64_t>::max());
  const int shift = *rc::gen::inRange(0, 128);
  const auto high = *rc::gen::arbitrary<uint64_t>();
  event.quantity = {
      static_cast<int128>(uint128{high} << 64 | *rc::gen::arbitrary<uint64_t>()) >> shift,
      static_cast<uint8_t>(*rc::gen::inRange(0, 13))};
  event.dimensions = dimensions;

  const Bytes bytes = Encoded(event);
  RowView row;
  RC_ASSERT(DecodeCanonical(bytes, &row));
  RC_ASSERT(row.event_id == event.event_id);
  RC_ASSERT(row.subscription_id == event.subscription_id);
  RC_ASSERT(row.timestamp_ms == event.timestamp_ms);
  RC_ASSERT(row.dimension_count == dimensions.size());
  for (const Dimension& dimension : dimensions) {
    RC_ASSERT(row.Dimension(dimension.key) == dimension.value);
  }
  RC_ASSERT(Reencoded(row) == bytes);
  Bytes of_row;
  EncodeRow(row, of_row);
  RC_ASSERT(of_row == bytes);
}

}  // namespace
}  // namespace tallystick
