#include "dedupe/sidecar_inspect.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <map>
#include <vector>

#include "dedupe/sidecar_fixture.h"
#include "usagedb/udbidx01.h"

namespace tallystick {
namespace {

namespace json = boost::json;

class SidecarInspectTest : public SidecarTest {
 protected:
  static constexpr char kUsageDbs[] = "raw_1.idx";

  std::string Inspect(const std::string& path, bool as_json) {
    std::string out;
    const Status status = InspectSidecar(fs_, path, as_json, &out);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return out;
  }
  // What a damaged file's inspection answers, in both forms.
  void ExpectDamaged(const std::string& path) {
    for (const bool as_json : {false, true}) {
      std::string out;
      EXPECT_EQ(InspectSidecar(fs_, path, as_json, &out).code(), StatusCode::kCorruption);
      EXPECT_EQ(out.find("every byte verifies"), std::string::npos) << out;
    }
  }
};

TEST_F(SidecarInspectTest, EveryEntryOfOursIsListed) {
  Write(150);
  const json::value told = json::parse(Inspect(kSidecarPath, true));
  EXPECT_EQ(told.at("format").as_string(), "TALLYIDX");
  EXPECT_EQ(told.at("number").to_number<uint64_t>(), 7u);
  EXPECT_EQ(told.at("rows").to_number<uint64_t>(), 150u);
  EXPECT_EQ(told.at("verdict").as_string(), "every byte verifies");
  std::map<uint64_t, SidecarEntry> by_row;
  for (const SidecarEntry& entry : entries_) by_row[entry.row] = entry;
  const json::array& entries = told.at("entries").as_array();
  ASSERT_EQ(entries.size(), 150u);
  const std::string text = Inspect(kSidecarPath, false);
  for (const json::value& entry : entries) {
    const uint64_t row = entry.at("row").to_number<uint64_t>();
    const SidecarEntry& expected = by_row.at(row);
    const std::string key = ToHex(expected.key.bytes.data(), 16);
    const std::string payload_hash = ToHex(&expected.payload_hash, 8);
    EXPECT_EQ(entry.at("key").as_string(), key);
    EXPECT_EQ(entry.at("payload_hash").as_string(), payload_hash);
    EXPECT_NE(text.find(fmt::format("  {} {} {}\n", key, payload_hash, row)), std::string::npos);
    by_row.erase(row);
  }
  EXPECT_TRUE(by_row.empty());
}

TEST_F(SidecarInspectTest, EveryEntryOfUsageDbsIsListed) {
  udbidx01::DedupeEntry entry;
  entry.id_hash = KeyNumber(1);
  entry.payload_hash = KeyNumber(2);
  entry.ingested_at_ms = INT64_MIN;
  ASSERT_TRUE(udbidx01::WriteDedupeIndex(fs_, kUsageDbs, std::vector{entry, entry}).ok());
  const json::value told = json::parse(Inspect(kUsageDbs, true));
  EXPECT_EQ(told.at("format").as_string(), "UDBIDX01");
  ASSERT_EQ(told.at("entries").as_array().size(), 2u);
  const std::string id_hash = ToHex(entry.id_hash.bytes.data(), 16);
  const std::string payload_hash = ToHex(entry.payload_hash.bytes.data(), 16);
  for (const json::value& one : told.at("entries").as_array()) {
    EXPECT_EQ(one.at("id_hash").as_string(), id_hash);
    EXPECT_EQ(one.at("payload_hash").as_string(), payload_hash);
    EXPECT_EQ(one.at("ingested_at_ms").to_number<int64_t>(), INT64_MIN);
  }
  EXPECT_NE(
      Inspect(kUsageDbs, false).find(fmt::format("  {} {} {}\n", id_hash, payload_hash, INT64_MIN)),
      std::string::npos);
}

TEST_F(SidecarInspectTest, ADamagedFileIsTold) {
  Write(150);
  ASSERT_TRUE(udbidx01::WriteDedupeIndex(fs_, kUsageDbs, {}).ok());
  for (const std::string& path : {std::string(kSidecarPath), std::string(kUsageDbs)}) {
    const Bytes good = *fs_.Content(path);
    // Steps that hit header, pages, directory, filter and footer.
    for (size_t at = 0; at < good.size(); at += 7) {
      Bytes bad = good;
      bad[at] ^= std::byte{1};
      fs_.SetContent(path, bad);
      ExpectDamaged(path);
    }
    fs_.SetContent(path, ByteSpan(good).first(good.size() - 1));
    ExpectDamaged(path);
    fs_.SetContent(path, ByteSpan(good).first(5));
    ExpectDamaged(path);
  }
}

TEST_F(SidecarInspectTest, AMissingFileIsNotFound) {
  std::string out;
  EXPECT_EQ(InspectSidecar(fs_, "no.idx", false, &out).code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace tallystick
