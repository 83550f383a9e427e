#include "cli/read_options.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

ReadOptions Range() {
  ReadOptions options;
  options.from = "1";
  options.to = "2";
  return options;
}

std::string Body(const ReadOptions& options) {
  const auto request = QueryRequest(options);
  EXPECT_TRUE(request.ok()) << request.status().message();
  return request.ok() ? request->body.value_or("a GET") : "";
}

TEST(ReadOptions, UsageOfAnAccountOrOfAll) {
  ReadOptions options = Range();
  EXPECT_EQ(UsageRequest(options).target, "/v1/usage?from=1&to=2");
  options.account = "a/b";
  EXPECT_EQ(UsageRequest(options).target, "/v1/accounts/a%2Fb/usage?from=1&to=2");
  EXPECT_FALSE(UsageRequest(options).body.has_value());
}

TEST(ReadOptions, EveryOptionOfUsageIsAParameter) {
  ReadOptions options = Range();
  options.group_by = "day,meter_id";
  options.filters = {"meter_id=a=b", "dimensions.x="};
  options.order = "-quantity";
  options.group_limit = 5;
  options.time_zone = "Europe/Berlin";
  options.source = "raw";
  options.as_of_lsn = 7;
  options.min_lsn = 6;
  options.csv = true;
  const Request request = UsageRequest(options);
  EXPECT_EQ(request.target,
            "/v1/usage?as_of_lsn=7&min_lsn=6&from=1&to=2&meter_id=a%3Db&dimensions.x="
            "&group_by=day%2Cmeter_id&group_order=-quantity&group_limit=5"
            "&time_zone=Europe%2FBerlin&source=raw");
  EXPECT_TRUE(request.csv);
  options.as_of_lsn.reset();
  options.as_of = "2026-06-01T00:00:00+02:00";
  EXPECT_TRUE(UsageRequest(options).target.starts_with(
      "/v1/usage?as_of=2026-06-01T00%3A00%3A00%2B02%3A00&min_lsn=6&"));
}

TEST(ReadOptions, Top) {
  ReadOptions options = Range();
  EXPECT_EQ(TopRequest(options).target,
            "/v1/usage?from=1&to=2&group_by=account_id%2Cmeter_id&group_order=-quantity"
            "&group_limit=10");
  options.meter = "m";
  options.limit = 3;
  EXPECT_EQ(TopRequest(options).target,
            "/v1/usage?from=1&to=2&meter_id=m&group_by=account_id%2Cmeter_id"
            "&group_order=-quantity&group_limit=3");
}

TEST(ReadOptions, ListsArePagesForPeopleAndWholeAsCsv) {
  ReadOptions options = Range();
  options.account = "a";
  EXPECT_EQ(EventsRequest(options).target, "/v1/accounts/a/usage/events?from=1&to=2&limit=100");
  options.csv = true;
  EXPECT_EQ(EventsRequest(options).target, "/v1/accounts/a/usage/events?from=1&to=2");
  options.limit = 7;
  options.cursor = "c";
  EXPECT_EQ(EventsRequest(options).target,
            "/v1/accounts/a/usage/events?from=1&to=2&cursor=c&limit=7");
  options.csv = false;
  options.limit = 0;
  EXPECT_EQ(ConflictsRequest(options).target, "/v1/conflicts?cursor=c&account_id=a");
}

TEST(ReadOptions, OneEventExplainAndVerify) {
  ReadOptions options = Range();
  options.account = "a";
  options.event_id = "e 1";
  EXPECT_EQ(EventRequest(options).target, "/v1/events/e%201?account_id=a");
  EXPECT_EQ(VerifyRequest(options).target, "/v1/accounts/a/verify?from=1&to=2");
  EXPECT_EQ(ExplainRequest(options).target, "/v1/accounts/a/explain?from=1&to=2");
  options.analyze = true;
  EXPECT_EQ(ExplainRequest(options).target, "/v1/accounts/a/explain?from=1&to=2&analyze=true");
}

TEST(ReadOptions, TheSmallestQuery) {
  ReadOptions options = Range();
  options.account = "a\"b";
  EXPECT_EQ(Body(options), R"({"source":"usage_rollup_hourly","account_id":"a\"b","from":"1",)"
                           R"("to":"2","group_by":[]})");
  options.source = "raw";
  EXPECT_TRUE(Body(options).starts_with(R"({"source":"usage_events",)"));
}

TEST(ReadOptions, EveryOptionOfAQueryIsInItsBody) {
  ReadOptions options = Range();
  options.account = "a";
  options.group_by = "day, meter_id";
  options.filters = {"meter_id=x", "kind=Usage", "meter_id=y=z"};
  options.metrics = {"total=sum", "regions=unique:dimensions.region"};
  options.order = "-total,day";
  options.group_limit = 5;
  options.time_zone = "Europe/Berlin";
  options.as_of_lsn = 7;
  options.min_lsn = 6;
  EXPECT_EQ(Body(options),
            R"({"source":"usage_rollup_hourly","account_id":"a","from":"1","to":"2",)"
            R"("group_by":["day","meter_id"],)"
            R"("filters":{"meter_id":["x","y=z"],"kind":["Usage"]},)"
            R"("metrics":{"total":"sum","regions":{"fn":"unique","of":"dimensions.region"}},)"
            R"("group_order":["-total","day"],"group_limit":5,"time_zone":"Europe/Berlin",)"
            R"("as_of_lsn":7,"min_lsn":6})");
  options.as_of_lsn.reset();
  options.as_of = "9";
  EXPECT_NE(Body(options).find(R"("as_of":"9")"), std::string::npos);
}

TEST(ReadOptions, TwoMetricsOfOneNameAreAMistake) {
  ReadOptions options = Range();
  options.metrics = {"n=sum", "n=count"};
  const auto request = QueryRequest(options);
  ASSERT_FALSE(request.ok());
  EXPECT_EQ(request.status().reason(), "duplicate_metric");
}

TEST(ReadOptions, AFileIsSentAsItIs) {
  ReadOptions options;
  options.csv = true;
  const Request request = QueryRequest(options, "{ \"a\" : 1 }\n");
  EXPECT_EQ(request.target, "/v1/query/json");
  EXPECT_EQ(request.body, "{ \"a\" : 1 }\n");
  EXPECT_TRUE(request.csv);
}

TEST(ReadOptions, ChecksOfFiltersAndMetrics) {
  for (const char* good : {"meter_id=", "product_id=x", "model_id=a=b", "dimensions.a=b"}) {
    EXPECT_EQ(CheckEventFilter(good), "") << good;
    EXPECT_EQ(CheckUsageFilter(good), "") << good;
    EXPECT_EQ(CheckQueryFilter(good), "") << good;
  }
  for (const char* bad : {"", "meter_id", "dimensions.=x", "=x", "account_id"}) {
    EXPECT_NE(CheckEventFilter(bad), "") << bad;
    EXPECT_NE(CheckUsageFilter(bad), "") << bad;
  }
  EXPECT_NE(CheckEventFilter("account_id=a"), "");
  EXPECT_EQ(CheckUsageFilter("account_id=a"), "");
  EXPECT_NE(CheckUsageFilter("colour=red"), "");
  EXPECT_EQ(CheckQueryFilter("colour=red"), "");
  EXPECT_NE(CheckQueryFilter("=red"), "");
  for (const char* good : {"n=sum", "n=unique:dimensions.a", "n=x"}) {
    EXPECT_EQ(CheckMetric(good), "") << good;
  }
  for (const char* bad : {"", "n", "n=", "=sum", "n=:x", "n=unique:"}) {
    EXPECT_NE(CheckMetric(bad), "") << bad;
  }
}

TEST(ReadOptions, LineKeysAreAsTheAnswerPrintsThem) {
  EXPECT_EQ(LineKey("meter_id"), "meter_id");
  EXPECT_EQ(LineKey("region"), "region");
  EXPECT_EQ(LineKey("dimensions.region"), "region");
  EXPECT_EQ(LineKey("dimensions.day"), "dimensions.day");
  EXPECT_EQ(LineKey("quantity"), "dimensions.quantity");
}

TEST(ReadOptions, APlotHasOneBucket) {
  ReadOptions options;
  EXPECT_EQ(*ChoosePlotBucket(&options), "day");
  EXPECT_EQ(options.group_by, "day");
  options.group_by = "meter_id";
  EXPECT_EQ(*ChoosePlotBucket(&options), "day");
  EXPECT_EQ(options.group_by, "meter_id,day");
  options.group_by = "meter_id, month ,month";
  EXPECT_EQ(*ChoosePlotBucket(&options), "month");
  EXPECT_EQ(options.group_by, "meter_id, month ,month");
  options.group_by = "day,hour_start_ms";
  EXPECT_EQ(ChoosePlotBucket(&options).status().reason(), "invalid_plot");
}

}  // namespace
}  // namespace tallystick
