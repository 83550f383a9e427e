#include "server/query_json.h"

#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace tallystick {
namespace {

// A query that can be read, with `more` behind its keys.
std::string Text(std::string_view more = "") {
  return fmt::format(
      R"({{"source":"usage_events","account_id":"acme","from":"2026-06-01T00:00:00Z","to":20,)"
      R"("group_by":["meter_id"]{}{}}})",
      more.empty() ? "" : ",", more);
}

QueryJson Parsed(std::string_view text) {
  auto query = ParseQueryJson(text);
  EXPECT_TRUE(query.ok()) << query.status().ToString();
  return query.ok() ? std::move(*query) : QueryJson();
}

std::string Refusal(std::string_view text) {
  const auto query = ParseQueryJson(text);
  return query.ok() ? "ok" : query.status().ToString();
}

std::string Reason(std::string_view text) {
  const auto query = ParseQueryJson(text);
  return query.ok() ? "ok" : std::string(query.status().reason());
}

TEST(QueryJson, EveryKeyIsRead) {
  const QueryJson out =
      Parsed(R"({"as_of":"5","filters":{"kind":["Usage","Correction"],"region":[]},"from":1,)"
             R"("group_limit":3,"group_order":["-total","meter_id"],"metrics":{"total":"SUM",)"
             R"("n":"Count","models":{"of":"model_id","fn":"unique"},"least":"min"},"min_lsn":7,)"
             R"("source":"anything","account_id":"a\u00e4","to":"2026-06-01T00:00:00Z",)"
             R"("time_zone":"Europe/Berlin","group_by":["meter_id","day","meter_id"]})");
  const UsageQuery& query = out.query;
  EXPECT_EQ(query.account_id, "a\xC3\xA4");
  EXPECT_EQ(query.from_ms, 1);
  EXPECT_EQ(query.to_ms, 1780272000000);
  EXPECT_EQ(query.time_zone, "Europe/Berlin");
  EXPECT_EQ(query.path, ReadPath::kAuto);
  EXPECT_TRUE(out.by_hour);
  EXPECT_EQ(out.point.as_of_ms, 5);
  EXPECT_EQ(out.point.min_lsn.value, 7u);
  EXPECT_FALSE(out.point.as_of_lsn);
  ASSERT_EQ(query.group_by.size(), 2u);
  EXPECT_EQ(query.group_by[1].kind, Field::Kind::kDay);
  ASSERT_EQ(query.filters.size(), 2u);
  EXPECT_EQ(query.filters[0].values, (std::vector<std::string>{"Usage", "Correction"}));
  EXPECT_EQ(query.filters[1].field.dimension, "region");
  EXPECT_TRUE(query.filters[1].values.empty());
  EXPECT_EQ(query.group_limit, 3u);
  ASSERT_EQ(query.metrics.size(), 2u);
  EXPECT_EQ(query.metrics[0].function, Metric::Function::kUnique);
  EXPECT_EQ(query.metrics[0].of->kind, Field::Kind::kModelId);
  EXPECT_EQ(query.metrics[1].function, Metric::Function::kMin);
  EXPECT_FALSE(query.metrics[1].of);
  ASSERT_EQ(query.order.size(), 2u);
  EXPECT_EQ(query.order[0].by, GroupOrder::By::kQuantity);
  EXPECT_TRUE(query.order[0].descending);
  EXPECT_EQ(query.order[1].by, GroupOrder::By::kKey);
  EXPECT_EQ(query.order[1].index, 0u);
}

TEST(QueryJson, UsageEventsAreRows) {
  EXPECT_EQ(Parsed(Text()).query.path, ReadPath::kRows);
  EXPECT_FALSE(Parsed(Text()).by_hour);
  EXPECT_EQ(Parsed(Text(R"("as_of_lsn":0)")).point.as_of_lsn, Lsn{0});
}

TEST(QueryJson, EachColumnHasItsPlace) {
  const auto columns = [](std::string_view metrics) {
    std::string names;
    for (const LineColumn& column : Parsed(Text(metrics)).columns) {
      names += fmt::format("{}={},{} ", column.name, static_cast<int>(column.value), column.index);
    }
    return names;
  };
  EXPECT_EQ(columns(""), "meter_id=0,0 ");
  EXPECT_EQ(columns(R"("metrics":{"u":"sum_usage","c":"sum_corrections","r":"sum_retractions"})"),
            "meter_id=0,0 u=2,0 c=3,0 r=4,0 ");
  EXPECT_EQ(columns(R"("metrics":{"a":"max","b":{"fn":"min","of":"dimensions.x"}})"),
            "meter_id=0,0 a=6,0 b=6,1 ");
  EXPECT_EQ(columns(R"("metrics":{"meter_id":{"fn":"sum","of":"quantity"}})"), "meter_id=1,0 ")
      << "a metric covers the key of its name";
  EXPECT_TRUE(
      Parsed(R"({"source":"","account_id":"","from":0,"to":0,"group_by":[]})").columns.empty());
}

TEST(QueryJson, WhatIsNotOursIsIgnored) {
  EXPECT_EQ(Reason(Text(R"("limit":5,"order":[{"x":null}],"select":{"a":[1.5e3]},"limit":"x")")),
            "ok");
  EXPECT_EQ(Reason(Text(R"("metrics":null,"filters":null,"as_of":null,"min_lsn":null,)"
                        R"("group_limit":null,"group_order":null,"time_zone":null)")),
            "ok");
}

TEST(QueryJson, WrongShapesNameTheirKey) {
  const std::pair<std::string, const char*> wrong[] = {
      {"[]", "the body must be an object"},
      {"\"x\"", "the body must be an object"},
      {R"({"account_id":"a","from":1,"to":2,"group_by":[]})", "`source` is missing"},
      {R"({"source":"a","from":1,"to":2,"group_by":[]})", "`account_id` is missing"},
      {R"({"source":"a","account_id":"a","to":2,"group_by":[]})", "`from` is missing"},
      {R"({"source":"a","account_id":"a","from":2,"group_by":[]})", "`to` is missing"},
      {R"({"source":"a","account_id":"a","from":2,"to":2})", "`group_by` is missing"},
      {R"({"source":"a","account_id":null,"from":1,"to":2,"group_by":[]})",
       "`account_id` must be a string"},
      {Text(R"("from":5)"), "`from` occurs twice"},
      {Text(R"("as_of_lsn":-1)"), "`as_of_lsn` must be an integer from 0"},
      {Text(R"("as_of_lsn":1.0)"), "`as_of_lsn` must be an integer from 0"},
      {Text(R"("as_of_lsn":"1")"), "`as_of_lsn` must be an integer from 0"},
      {Text(R"("min_lsn":[1])"), "`min_lsn` must be an integer from 0"},
      {Text(R"("group_limit":0)"), "`group_limit` must be an integer from 1"},
      {Text(R"("time_zone":1)"), "`time_zone` must be a string"},
      {Text(R"("filters":[])"), "`filters` must be an object"},
      {Text(R"("filters":{"kind":"Usage"})"), "`filters.kind` must be an array of strings"},
      {Text(R"("filters":{"kind":["Usage",null]})"), "`filters.kind[1]` must be a string"},
      {Text(R"("filters":{"kind":[],"kind":[]})"), "`filters.kind` occurs twice"},
      {Text(R"("metrics":"sum")"), "`metrics` must be an object"},
      {Text(R"("metrics":{"m":1})"), "`metrics.m` must be a function's name"},
      {Text(R"("metrics":{"m":{"of":"unit"}})"), "`metrics.m.fn` is missing"},
      {Text(R"("metrics":{"m":{"fn":"min","by":1}})"), "`metrics.m.by` is unknown"},
      {Text(R"("metrics":{"m":{"fn":"min","of":[]}})"), "`metrics.m.of` must be a string"},
      {Text(R"("group_order":"total")"), "`group_order` must be an array of strings"},
      {Text(R"("group_order":[{}])"), "`group_order[0]` must be a string"},
      {Text(R"("as_of":1.5)"), "`as_of` must be a time"},
      {R"({"source":"a","account_id":"a","from":1,"to":2,"group_by":[],"group_limit":1})",
       "`group_limit` needs `group_by` or `metrics`"},
  };
  for (const auto& [text, message] : wrong) {
    const std::string refusal = Refusal(text);
    EXPECT_TRUE(refusal.starts_with("invalid_shape: ")) << text << refusal;
    EXPECT_NE(refusal.find(message), std::string::npos) << text << refusal;
  }
}

TEST(QueryJson, WrongValuesNameTheirKey) {
  const std::pair<std::string, const char*> wrong[] = {
      {Text(R"("as_of":"yesterday")"), "invalid_time: `as_of`: `yesterday` is no time"},
      {R"({"source":"a","account_id":"a","from":"","to":2,"group_by":[]})", "invalid_time: `from`"},
      {Text(R"("as_of":1,"as_of_lsn":1)"), "invalid_parameter: only one of"},
      {Text(R"("metrics":{"m":"median"})"),
       "invalid_metric: `metrics.m`: there is no function `median`"},
      {Text(R"("metrics":{"m":"unique"})"), "invalid_metric: `metrics.m`: `unique` needs `of`"},
      {Text(R"("metrics":{"m":{"fn":"max","of":"day"}})"),
       "invalid_metric: `metrics.m`: `day` is a time bucket"},
      {Text(R"("metrics":{"m":{"fn":"unique","of":"event_id"}})"),
       "invalid_metric: `metrics.m`: `event_id` cannot be measured; a dimension of this name is "
       "`dimensions.event_id`"},
      {Text(R"("metrics":{"m":{"fn":"sum","of":"unit"}})"),
       "invalid_metric: `metrics.m`: `sum` is of the quantity, not of `unit`"},
      {Text(R"("group_order":["-nothing"])"), "invalid_order: `group_order`: `nothing` is no"},
      {Text(R"("group_order":["quantity"])"), "invalid_order: "},
  };
  for (const auto& [text, message] : wrong) {
    EXPECT_TRUE(Refusal(text).starts_with(message)) << text << Refusal(text);
  }
}

TEST(QueryJson, FieldsAreCounted) {
  const auto many = [](int count, std::string_view each) {
    std::string out;
    for (int i = 0; i < count; ++i) {
      out += fmt::format("{}{}", i == 0 ? "" : ",", fmt::format(fmt::runtime(each), i));
    }
    return out;
  };
  for (const char* form : {R"("filters":{{{}}})", R"("metrics":{{{}}})"}) {
    const char* each = form[1] == 'f' ? R"("x{}":[])" : R"("x{}":"sum")";
    EXPECT_EQ(Reason(Text(fmt::format(fmt::runtime(form), many(64, each)))), "ok");
    EXPECT_EQ(Reason(Text(fmt::format(fmt::runtime(form), many(65, each)))), "invalid_parameter");
  }
  const auto grouped = [&](int count) {
    return fmt::format(R"({{"source":"a","account_id":"a","from":1,"to":2,"group_by":[{}]}})",
                       many(count, R"("x{}")"));
  };
  EXPECT_EQ(Reason(grouped(64)), "ok");
  EXPECT_EQ(Reason(grouped(65)), "invalid_parameter");
  EXPECT_EQ(Reason(Text(fmt::format(R"("group_order":[{}])", many(65, R"("meter_id")")))),
            "invalid_parameter");
}

TEST(QueryJson, WhatIsNoJsonIsRefusedWhereverItStands) {
  const std::string good = Text(R"("x":[1,{"y":"z"}])");
  EXPECT_EQ(Reason(good), "ok");
  for (size_t cut = 0; cut < good.size(); ++cut) {
    EXPECT_EQ(Reason(good.substr(0, cut)), "invalid_json") << cut;
  }
  for (const char* more :
       {R"("x":01)", R"("x":tru)", R"("from":nul)", R"("min_lsn":1x)", R"("as_of":1x)",
        R"("metrics":{"m":{"fn":"min","by":01}})", R"("filters":[01])", "\"x\":\"\xff\"",
        R"("x":"\ud800")", R"("group_by":["\ud800"])"}) {
    EXPECT_EQ(Reason(Text(more)), "invalid_json") << more;
  }
  EXPECT_EQ(Reason(good + "x"), "invalid_json");
  EXPECT_EQ(Reason(Text("\"x\":" + std::string(100, '[') + std::string(100, ']'))), "invalid_json");
}

}  // namespace
}  // namespace tallystick
