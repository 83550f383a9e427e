#include "server/line_table.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

using By = GroupOrder::By;

std::string Json(const LineTable& table, const UsageLine& line) {
  std::string out;
  table.AppendJson(out, line);
  return out;
}

std::string Csv(const LineTable& table, const UsageLine& line) {
  std::string out;
  table.AppendCsvHeader(out);
  table.AppendCsv(out, line);
  return out;
}

TEST(LineTable, LinesAreAlphabeticalAndTheirSumsKeepTheirNames) {
  const std::vector<Field> group_by = {Field::Parse("zone"), Field::Parse("count"),
                                       Field::Parse("account_id")};
  const LineTable table(UsageColumns(group_by));
  UsageLine line;
  line.keys = {"z\"", "c", ""};
  line.quantity = "3";
  line.usage = "4";
  line.corrections = "-1";
  line.retractions = "0";
  line.count = 2;
  EXPECT_EQ(Json(table, line),
            R"({"account_id":"","corrections":"-1","count":2,"dimensions.count":"c",)"
            R"("quantity":"3","retractions":"0","usage":"4","zone":"z\""})");
  EXPECT_EQ(Csv(table, line),
            "account_id,corrections,count,dimensions.count,quantity,retractions,usage,zone\r\n"
            "\"\",-1,2,c,3,0,4,\"z\"\"\"\r\n");
}

TEST(LineTable, MetricsPrintAsTheyAre) {
  const LineTable table({{.name = "unique", .value = By::kMetric, .index = 0, .number = true},
                         {.name = "least", .value = By::kMetric, .index = 1},
                         {.name = "a,b", .value = By::kMetric, .index = 2}});
  UsageLine line;
  line.metrics = {"17", std::nullopt, ""};
  EXPECT_EQ(Json(table, line), R"({"a,b":"","least":null,"unique":17})");
  EXPECT_EQ(Csv(table, line), "\"a,b\",least,unique\r\n\"\",,17\r\n");
}

TEST(LineTable, OrdersNameColumns) {
  const std::vector<Field> group_by = {Field::Parse("meter_id"), Field::Parse("region"),
                                       Field::Parse("usage")};
  const std::vector<LineColumn> columns = UsageColumns(group_by);
  const auto order = [&](std::string_view text) { return ParseGroupOrder(text, columns); };
  EXPECT_EQ(order("-quantity")->by, By::kQuantity);
  EXPECT_TRUE(order("-quantity")->descending);
  EXPECT_FALSE(order("count")->descending);
  EXPECT_EQ(order("usage")->by, By::kUsage);
  EXPECT_EQ(order("dimensions.usage")->by, By::kKey);
  EXPECT_EQ(order("dimensions.usage")->index, 2u);
  EXPECT_EQ(order("dimensions.region")->index, 1u) << "the long form of the same name";
  for (const char* text : {"", "-", "--quantity", "unit", "+count"}) {
    EXPECT_EQ(order(text).status().reason(), "invalid_order") << text;
  }
}

}  // namespace
}  // namespace tallystick
