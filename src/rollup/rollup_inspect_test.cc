#include "rollup/rollup_inspect.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <vector>

#include "rollup/rollup_fixture.h"

namespace tallystick {
namespace {

namespace json = boost::json;

class RollupInspectTest : public RollupTest {
 protected:
  std::string Inspect(bool as_json) {
    std::string out;
    const Status status = InspectRollup(fs(), kRollupPath, as_json, &out);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return out;
  }
};

TEST_F(RollupInspectTest, EveryLineIsListedInItsBlock) {
  Rollup made = MadeUpRollup(3, 700);
  made.lines[5].key.kind = 1;
  made.lines[6].key = {1, 2, 3, 4, 5, 2, -kHourMs};
  made.starts = {0, 6, 6, 700, 1400, 2100};
  std::ranges::sort(made.lines.begin() + 6, made.lines.begin() + 700, {}, &RollupLine::key);
  WriteMadeUp(made);
  const json::value told = json::parse(Inspect(true));
  const std::string text = Inspect(false);
  EXPECT_EQ(told.at("number").to_number<uint64_t>(), 123u);
  EXPECT_EQ(told.at("database_id").as_string(), TestDatabaseId().ToHex());
  EXPECT_EQ(told.at("first_lsn").to_number<uint64_t>(), 1001u);
  EXPECT_EQ(told.at("last_lsn").to_number<uint64_t>(), 1'001'000u);
  EXPECT_EQ(told.at("rows").to_number<uint64_t>(), 1'000'000u);
  EXPECT_EQ(told.at("footer_checksum").as_string(), "1122334455667788");
  EXPECT_EQ(told.at("lines").to_number<uint64_t>(), 2100u);
  EXPECT_EQ(told.at("entries").to_number<uint64_t>(), 5u);
  EXPECT_EQ(told.at("bytes").to_number<uint64_t>(), Content().size());
  EXPECT_EQ(told.at("verdict").as_string(), "every byte verifies");
  EXPECT_EQ(told.at("starts"), json::parse("[0,6,6,700,1400,2100]"));
  const auto reader = Open();
  ASSERT_EQ(told.at("blocks").as_array().size(), 3u);
  size_t i = 0;
  for (uint64_t b = 0; b < 3; ++b) {
    const json::value& block = told.at("blocks").at(b);
    const uint64_t offset = OffsetOf(*reader, b);
    EXPECT_EQ(block.at("offset").to_number<uint64_t>(), offset);
    EXPECT_NE(text.find(fmt::format("\n  block {} at offset {}: ", b, offset)), std::string::npos);
    ASSERT_EQ(block.at("lines").as_array().size(), b == 2 ? 52u : 1024u);
    for (const json::value& line : block.at("lines").as_array()) {
      const auto number = [&](const char* name) { return line.at(name).to_number<int64_t>(); };
      const RollupLine& expected = made.lines[i];
      const RollupKey& key = expected.key;
      const std::string_view kind = EventKindName(static_cast<EventKind>(key.kind));
      const RollupKey listed{.product = static_cast<uint32_t>(number("product")),
                             .meter = static_cast<uint32_t>(number("meter")),
                             .unit = static_cast<uint32_t>(number("unit")),
                             .model = static_cast<uint32_t>(number("model")),
                             .source = static_cast<uint32_t>(number("source")),
                             .kind = key.kind,
                             .hour_start_ms = number("hour_start_ms")};
      ASSERT_EQ(listed, key) << i;
      ASSERT_EQ(line.at("kind").as_string(), kind) << i;
      ASSERT_EQ(line.at("sum").as_string(), expected.sum.ToString()) << i;
      ASSERT_EQ(static_cast<uint64_t>(number("count")), expected.count) << i;
      const std::string printed = fmt::format(
          "\n  {} {} {} {} {} {} {} {} {} {}\n", i, key.product, key.meter, key.unit, key.model,
          key.source, kind, key.hour_start_ms, expected.sum.ToString(), expected.count);
      ASSERT_NE(text.find(printed), std::string::npos) << printed;
      ++i;
    }
  }
  EXPECT_EQ(i, made.lines.size());
  for (const char* part : {"rollup of segment 123 of database", "LSN 1001 to 1001000, 1000000 rows",
                           "2100 lines in 3 blocks, of 4 accounts and of all together",
                           "\n  all accounts: lines 0 to 5\n", "\n  account 1: lines 6 to 699\n",
                           "\n  account 3: lines 1400 to 2099\n", "\n  1 of these have no lines\n",
                           "\n  every byte verifies\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << text.substr(0, 1000);
  }
}

TEST_F(RollupInspectTest, AFileWithoutLinesIsWhole) {
  RollupRows rows;
  AddRow(rows, {});
  Write(rows);
  const json::value told = json::parse(Inspect(true));
  EXPECT_TRUE(told.at("blocks").as_array().empty());
  EXPECT_EQ(told.at("starts"), json::parse("[0,0,0]"));
  EXPECT_NE(Inspect(false).find("every byte verifies"), std::string::npos);
}

TEST_F(RollupInspectTest, ADamagedFileIsTold) {
  WriteMadeUp(MadeUpRollup(2, 10));
  const Bytes good = Content();
  for (size_t at = 0; at < good.size(); ++at) {
    Bytes bad = good;
    bad[at] ^= std::byte{1};
    fs().SetContent(kRollupPath, bad);
    for (const bool as_json : {false, true}) {
      std::string out;
      EXPECT_EQ(InspectRollup(fs(), kRollupPath, as_json, &out).code(), StatusCode::kCorruption);
      EXPECT_EQ(out.find("every byte verifies"), std::string::npos) << out;
      if (as_json && !out.empty()) {
        EXPECT_EQ(json::parse(out).at("verdict").as_string(), "damaged");
      }
      // Only of a damaged footer there is nothing to say.
      EXPECT_EQ(out.empty(), at >= good.size() - kRollupFooterBytes) << at;
    }
  }
}

TEST_F(RollupInspectTest, AMissingFileIsNotFound) {
  std::string out;
  EXPECT_EQ(InspectRollup(fs(), "no.sum", false, &out).code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace tallystick
