#include "model/batch_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "model/identity.h"

namespace tallystick {
namespace {

EventView EventOf(std::string_view id) {
  EventView event;
  event.event_id = id;
  event.account_id = "acme";
  event.product_id = "api";
  event.meter_id = "tokens";
  event.timestamp_ms = 1'782'000'000'000;
  event.quantity = {15, 1};
  return event;
}

const Rejection kUnknownField = {"unknown_field", "color", "color is not known"};

// The ids of the records, read as a log's reader would.
std::vector<std::string> IdsInRecords(const BatchBuilder& builder) {
  std::vector<std::string> ids;
  Decoder decoder(builder.records());
  RecordView record;
  while (decoder.remaining() > 0 && DecodeRecord(decoder, &record)) {
    EXPECT_EQ(record.disposition, Disposition::kCounted);
    RowView row;
    EXPECT_TRUE(DecodeCanonical(record.canonical, &row));
    ids.emplace_back(row.event_id);
  }
  EXPECT_TRUE(decoder.ok() && decoder.remaining() == 0);
  return ids;
}

TEST(BatchBuilderTest, WithFormatOnlyNoOptionCountsAndACopyIsTheSame) {
  EventLimits limits;
  limits.id_bytes_max = 1;
  limits.format_only = true;
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, limits);
  batch.Add(EventOf("a\tlonger id"));
  EXPECT_EQ(BatchBuilder::Of(batch).entries()[0].rejection, BatchBuilder::kNoRejection);
  Batch copy = BatchBuilder::Copy(batch);
  EXPECT_EQ(copy.event_id(0), "a\tlonger id");
  EXPECT_EQ(copy.encoded_bytes(), batch.encoded_bytes());
  copy.Add(EventOf("b"));
  EXPECT_EQ(batch.size(), 1u);
}

TEST(BatchBuilderTest, OneBadEventKeepsItsPlaceAndHurtsNoOther) {
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, {});
  batch.Add(EventOf("e1"));
  EventView bad = EventOf("e2");
  bad.timestamp_ms = 0;
  batch.Add(bad);
  batch.AddRejected("e3", {"invalid_json", "", "not readable"});
  batch.Add(EventOf("e4"));
  const BatchBuilder& builder = BatchBuilder::Of(batch);

  ASSERT_EQ(batch.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(batch.event_id(i), "e" + std::to_string(i + 1));
  EXPECT_EQ(IdsInRecords(builder), (std::vector<std::string>{"e1", "e4"}));
  EXPECT_EQ(batch.encoded_bytes(), builder.records().size());
  EXPECT_TRUE(builder.entries()[1].rejected());
  EXPECT_EQ(builder.rejections()[builder.entries()[1].rejection].code, "invalid_timestamp");
  EXPECT_TRUE(builder.entries()[2].rejected());
  EXPECT_EQ(builder.rejections()[builder.entries()[2].rejection].code, "invalid_json");
  EXPECT_EQ(builder.entries()[3].rejection, BatchBuilder::kNoRejection);
}

TEST(BatchBuilderTest, EntriesCarryTheHashesOfTheirRecords) {
  for (const IdentityScope scope : {IdentityScope::kGlobal, IdentityScope::kAccount}) {
    Batch batch = BatchBuilder::Make(scope, {});
    batch.Add(EventOf("e1"));
    batch.Add(EventOf("e2"));
    const BatchBuilder& builder = BatchBuilder::Of(batch);
    for (size_t i = 0; i < 2; ++i) {
      const BatchBuilder::Entry& entry = builder.entries()[i];
      EXPECT_EQ(entry.id_hash, IdHash(scope, "acme", batch.event_id(i)));
      EXPECT_EQ(entry.payload_hash, PayloadHash(builder.canonical(entry)));
      EXPECT_EQ(entry.timestamp_ms, 1'782'000'000'000);
      Bytes canonical;
      EncodeCanonical(EventOf(batch.event_id(i)), canonical);
      EXPECT_TRUE(std::ranges::equal(builder.canonical(entry), canonical));
    }
  }
}

TEST(BatchBuilderTest, ADeferredRejectionKeepsTheRecord) {
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, {.id_bytes_max = 8});
  batch.Add(EventOf("e1"), kUnknownField);
  batch.Add(EventOf("a long event id"));
  batch.Add(EventOf("another long event id"), kUnknownField);
  const BatchBuilder& builder = BatchBuilder::Of(batch);
  EXPECT_EQ(IdsInRecords(builder).size(), 3u);
  const std::vector<std::string> codes = {"unknown_field", "too_long", "unknown_field"};
  for (size_t i = 0; i < 3; ++i) {
    const BatchBuilder::Entry& entry = builder.entries()[i];
    EXPECT_FALSE(entry.rejected());
    ASSERT_NE(entry.rejection, BatchBuilder::kNoRejection);
    EXPECT_EQ(builder.rejections()[entry.rejection].code, codes[i]);
  }
  EXPECT_EQ(batch.event_id(1), "a long event id");
}

TEST(BatchBuilderTest, ABadShapeIsNotDeferred) {
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, {});
  batch.Add(EventOf(""), kUnknownField);
  const BatchBuilder& builder = BatchBuilder::Of(batch);
  ASSERT_TRUE(builder.entries()[0].rejected());
  EXPECT_EQ(builder.rejections()[0].code, "missing_field");
  EXPECT_EQ(batch.event_id(0), "");
}

TEST(BatchBuilderTest, AnEmptyBatchIsEmpty) {
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, {});
  EXPECT_EQ(batch.size(), 0u);
  EXPECT_EQ(batch.encoded_bytes(), 0u);
}

TEST(EventKindTest, NamesAreExact) {
  for (const EventKind kind : {EventKind::kUsage, EventKind::kCorrection, EventKind::kRetraction}) {
    EXPECT_EQ(EventKindFromName(EventKindName(kind)), kind);
  }
  EXPECT_EQ(EventKindFromName("usage"), std::nullopt);
  EXPECT_EQ(EventKindFromName(""), std::nullopt);
}

}  // namespace
}  // namespace tallystick
