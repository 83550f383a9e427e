// Against the files that usageDb 0.4.0 itself wrote (testdata/usagedb-0.4.0).
#include "usagedb/udbidx01.h"

#include <blake3.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>

#include "env/env.h"
#include "testing/fault_fs.h"
#include "testing/sim_fs.h"

namespace tallystick::udbidx01 {
namespace {

namespace json = boost::json;
const std::string kData = std::string(TALLY_SOURCE_DIR) + "/testdata/usagedb-0.4.0/";

// The quantities go beyond what the JSON library holds as a number: they are read as texts.
json::value ExpectedOf(const std::string& name) {
  std::ifstream in(kData + name + ".expected.json");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return json::parse(
      std::regex_replace(text, std::regex(R"("quantity": (-?[0-9]+))"), R"("quantity": "$1")"));
}

std::string_view TextOf(const json::value& value) { return value.as_string(); }

std::optional<std::string_view> OptionalText(const json::value& value) {
  if (value.is_null()) return std::nullopt;
  return TextOf(value);
}

// The canonical bytes of one of the expected events.
Bytes CanonicalOf(const json::value& json_event) {
  const json::object& object = json_event.as_object();
  EventView event;
  event.event_id = TextOf(object.at("event_id"));
  event.account_id = TextOf(object.at("account_id"));
  event.product_id = TextOf(object.at("product_id"));
  event.meter_id = TextOf(object.at("meter_id"));
  event.subscription_id = OptionalText(object.at("subscription_id"));
  event.model_id = OptionalText(object.at("model_id"));
  event.unit = TextOf(object.at("unit"));
  event.source = TextOf(object.at("source"));
  event.kind = *EventKindFromName(TextOf(object.at("kind")));
  if (const json::value& ref = object.at("correction_ref"); !ref.is_null()) {
    event.correction_ref =
        CorrectionRefView{TextOf(ref.at("original_event_id")), TextOf(ref.at("reason"))};
  }
  event.timestamp_ms = object.at("timestamp_ms").to_number<int64_t>();
  event.quantity = *Quantity::Parse(TextOf(object.at("quantity")));
  std::vector<Dimension> dimensions;
  for (const auto& [key, value] : object.at("dimensions").at("inner").as_object()) {
    dimensions.push_back({key, TextOf(value)});
  }
  event.dimensions = dimensions;
  Bytes canonical;
  EncodeCanonical(event, canonical);
  return canonical;
}

std::string HexOf(const EventHash& hash) { return ToHex(hash.bytes.data(), hash.bytes.size()); }

void CheckFolder(const std::string& name, size_t files_expected) {
  const json::value expected = ExpectedOf(name);
  std::map<std::string, std::string> payload_of;  // by id hash
  for (const json::value& event : expected.at("events").as_array()) {
    const Bytes canonical = CanonicalOf(event);
    RowView row;
    ASSERT_TRUE(DecodeCanonical(canonical, &row)) << TextOf(event.at("event_id"));
    const auto entry = EntryOf(row, 5'999);
    ASSERT_TRUE(entry.ok()) << entry.status().ToString();
    EXPECT_EQ(entry->ingested_at_ms, 5);
    EXPECT_EQ(HexOf(entry->id_hash), TextOf(event.at("id_hash")));
    EXPECT_EQ(HexOf(entry->payload_hash), TextOf(event.at("payload_hash"))) << row.event_id;
    payload_of[HexOf(entry->id_hash)] = TextOf(event.at("payload_hash"));
  }
  size_t files = 0;
  for (const auto& [file, rows] : expected.at("sidecar_rows").as_object()) {
    ++files;
    const std::string path = kData + name + "/" + std::string(file);
    FileSystem& fs = Env::Real().fs();
    const auto entries = ReadDedupeIndex(fs, path);
    ASSERT_TRUE(entries.ok()) << entries.status().ToString();
    ASSERT_TRUE(entries->has_value()) << path;
    EXPECT_EQ((*entries)->size(), rows.to_number<size_t>()) << path;
    for (const DedupeEntry& entry : **entries) {
      ASSERT_TRUE(payload_of.contains(HexOf(entry.id_hash))) << path;
      EXPECT_EQ(HexOf(entry.payload_hash), payload_of[HexOf(entry.id_hash)]);
      EXPECT_GT(entry.ingested_at_ms, 1'700'000'000'000);
    }
    EXPECT_EQ(EncodeDedupeIndex(**entries), *ReadWholeFile(fs, path, 1 << 20)) << path;
  }
  EXPECT_EQ(files, files_expected);
}

TEST(Udbidx01, EveryEntryThatUsageDbWroteIsReadAndComputed) {
  CheckFolder("small", 4);
  CheckFolder("tail", 5);
  CheckFolder("compacted", 19);
}

std::vector<DedupeEntry> Sample() {
  std::vector<DedupeEntry> entries(3);
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].id_hash.bytes.fill(static_cast<uint8_t>(i));
    entries[i].payload_hash.bytes.fill(static_cast<uint8_t>(0xf0 + i));
    entries[i].ingested_at_ms = static_cast<int64_t>(i) - 1;
  }
  return entries;
}

// Makes the checksum of changed bytes right again.
void Reseal(Bytes& bytes) {
  const size_t covered = bytes.size() - 8;
  blake3_hasher hasher;
  blake3_hasher_init(&hasher);
  blake3_hasher_update(&hasher, bytes.data(), covered);
  blake3_hasher_finalize(&hasher, reinterpret_cast<uint8_t*>(bytes.data() + covered), 8);
}

void ExpectComplaint(const Bytes& bytes, const std::string& what) {
  const Status status = DecodeDedupeIndex(bytes).status();
  EXPECT_EQ(status.code(), StatusCode::kCorruption) << what;
  EXPECT_NE(status.message().find(what), std::string::npos) << status.message();
}

TEST(Udbidx01, EveryFlippedByteAndEveryCutIsRefused) {
  Bytes bytes = EncodeDedupeIndex(Sample());
  EXPECT_EQ(*DecodeDedupeIndex(bytes), Sample());
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{0x10};
    EXPECT_EQ(DecodeDedupeIndex(bytes).status().code(), StatusCode::kCorruption) << i;
    bytes[i] ^= std::byte{0x10};
    EXPECT_FALSE(DecodeDedupeIndex(ByteSpan(bytes).first(i)).ok()) << i;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(DecodeDedupeIndex(bytes).ok());
}

TEST(Udbidx01, AnIndexWithoutEntriesIsOne) {
  const Bytes bytes = EncodeDedupeIndex({});
  EXPECT_EQ(bytes.size(), 28u);
  const auto entries = DecodeDedupeIndex(bytes);
  ASSERT_TRUE(entries.ok()) << entries.status().ToString();
  EXPECT_TRUE(entries->empty());
}

// Under a checksum that is right.
TEST(Udbidx01, CountsThatTheBytesDoNotHoldAreRefused) {
  const Bytes good = EncodeDedupeIndex(Sample());
  for (const uint32_t count : {0u, 2u, 4u, UINT32_MAX}) {
    Bytes bytes = good;
    StoreFixed<uint32_t>(bytes.data() + 8, count);
    Reseal(bytes);
    ExpectComplaint(bytes, "the count is " + std::to_string(count));
    StoreFixed<uint64_t>(bytes.data() + 12, count);
    Reseal(bytes);
    ExpectComplaint(bytes, "the count is " + std::to_string(count));
  }
  for (const uint64_t length : {uint64_t{2}, (uint64_t{1} << 32) + 3, UINT64_MAX}) {
    Bytes bytes = good;
    StoreFixed<uint64_t>(bytes.data() + 12, length);
    Reseal(bytes);
    ExpectComplaint(bytes, "the vector's length " + std::to_string(length));
  }
  Bytes bytes = good;
  bytes.resize(bytes.size() + 40);
  Reseal(bytes);
  ExpectComplaint(bytes, "the count is 3, but there are 160 bytes of entries");
}

TEST(Udbidx01, AFailedWriteLeavesNoFileAndAForeignOneStays) {
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync}) {
    SimFs fs;
    FaultFs faults(fs);
    faults.Set(Fault{.op = op});
    EXPECT_EQ(WriteDedupeIndex(faults, "a.idx", Sample()).code(), StatusCode::kIoError);
    EXPECT_FALSE(*fs.Exists("a.idx")) << FaultOpName(op);
    faults.Set(std::nullopt);
    ASSERT_TRUE(WriteDedupeIndex(faults, "a.idx", Sample()).ok());
    EXPECT_EQ(WriteDedupeIndex(faults, "a.idx", {}).reason(), "exists");
    EXPECT_EQ(**ReadDedupeIndex(fs, "a.idx"), Sample());
  }
}

TEST(Udbidx01, AReadErrorIsAnErrorAndNotAMissingFile) {
  SimFs fs;
  ASSERT_TRUE(WriteDedupeIndex(fs, "a.idx", Sample()).ok());
  FaultFs faults(fs);
  for (const FaultOp op : {FaultOp::kOpen, FaultOp::kRead}) {
    faults.Set(Fault{.op = op});
    EXPECT_EQ(ReadDedupeIndex(faults, "a.idx").status().code(), StatusCode::kIoError);
  }
}

TEST(Udbidx01, TheIndexOfASegmentHasItsName) {
  EXPECT_EQ(IndexPath("a.b/raw_x.seg"), "a.b/raw_x.idx");
  EXPECT_EQ(IndexPath("raw_x.seg"), "raw_x.idx");
  EXPECT_EQ(IndexPath("a.b/raw_x"), "a.b/raw_x.idx");
  EXPECT_EQ(IndexPath("a/.hidden"), "a/.hidden.idx");
  EXPECT_EQ(IndexPath("a/x.y.seg"), "a/x.y.idx");
}

TEST(Udbidx01, AQuantityThatIsNotWholeIsRefusedByName) {
  EventView event;
  event.event_id = "half";
  event.account_id = event.product_id = event.meter_id = "a";
  event.timestamp_ms = 1;
  event.quantity = *Quantity::Parse("0.5");
  Bytes canonical;
  EncodeCanonical(event, canonical);
  RowView row;
  ASSERT_TRUE(DecodeCanonical(canonical, &row));
  const Status status = EntryOf(row, 0).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.reason(), "quantity_not_whole");
  EXPECT_NE(status.message().find("half"), std::string::npos);
}

}  // namespace
}  // namespace tallystick::udbidx01
