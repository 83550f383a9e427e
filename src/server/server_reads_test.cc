// Reads over HTTP: sums, lists, queries as JSON, CSV, waiting for an LSN, and being given up.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "server/query_json.h"
#include "server/server_fixture.h"

namespace tallystick {
namespace {

class ServerReadsTest : public ServerTest {
 protected:
  static std::string With(std::string event, std::string_view fields) {
    event.insert(event.size() - 1, fmt::format(",{}", fields));
    return event;
  }

  static TestAnswer GetCsv(TestClient& client, std::string_view target) {
    client.Send(fmt::format("GET {} HTTP/1.1\r\naccept: text/csv\r\n\r\n", target));
    return client.Read();
  }

  // The answer to a query of acme's, all of time.
  static TestAnswer Query(TestClient& client, std::string_view more,
                          std::string_view source = "usage_events", std::string_view headers = "") {
    return client.Post(
        fmt::format(R"({{"source":"{}","account_id":"acme","from":0,"to":9000000000000,{}}})",
                    source, more),
        "/v1/query/json", headers);
  }

  static std::string Data(const TestAnswer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_TRUE(answer.body.starts_with("{\"data\":["));
    const size_t end = answer.body.rfind("],\"");
    return answer.body.substr(8, end - 7);
  }

  static std::string Lines(const TestAnswer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    const size_t from = answer.body.find("\"lines\":") + 8;
    return answer.body.substr(from, answer.body.find(",\"lsn\"") - from);
  }
};

// --- sums ---

TEST_F(ServerReadsTest, UsageOfAllAccounts) {
  TestClient client = Client();
  client.Post(Body({EventText("a", "1"), EventText("b", "2"), EventText("c", "4", "other")}));
  TestAnswer answer = client.Get(fmt::format("/v1/usage?{}&group_by=account_id", kRange));
  EXPECT_EQ(Lines(answer),
            R"([{"account_id":"acme","corrections":"0","count":2,"quantity":"3","retractions":"0",)"
            R"("usage":"3"},{"account_id":"other","corrections":"0","count":1,"quantity":"4",)"
            R"("retractions":"0","usage":"4"}])");
  answer = client.Get(fmt::format("/v1/usage?{}&account_id=other&as_of_lsn=3", kRange));
  EXPECT_NE(answer.body.find(R"("quantity":"4")"), std::string::npos) << answer.body;
  EXPECT_EQ(answer.body.find("\"groups\""), std::string::npos);
  EXPECT_EQ(Code(client.Get("/v1/usage?to=1")), "missing_parameter");
}

TEST_F(ServerReadsTest, ParametersOfSums) {
  TestClient client = Client();
  client.Post(Body({EventText("a")}));
  const auto get = [&](std::string_view more) {
    return client.Get(fmt::format("/v1/accounts/acme/usage?{}&{}", kRange, more));
  };
  EXPECT_TRUE(get("group_limit=1").body.starts_with("{\"groups\":"));
  EXPECT_EQ(get("group_by=meter_id&group_order=-quantity,%20meter_id").status, 200);
  EXPECT_EQ(Code(get("group_by=meter_id&group_order=unit")), "invalid_order");
  EXPECT_EQ(Code(get("group_limit=0")), "invalid_parameter");
  EXPECT_EQ(Code(get("as_of=1&as_of_lsn=1")), "invalid_parameter");
  EXPECT_EQ(Code(get("as_of=yesterday")), "invalid_time");
  EXPECT_EQ(Code(get("min_lsn=x")), "invalid_parameter");
  EXPECT_EQ(Code(get("time_zone=UTC&time_zone=UTC")), "duplicate_parameter");
  EXPECT_EQ(Code(get("as_of=2100-01-01T00:00:00Z")), "as_of_in_future");
  EXPECT_EQ(get("as_of=2020-01-01T00:00:00Z&source=raw").status, 200);
  EXPECT_EQ(Code(get("time_zone=Mars")), "invalid_time_zone");
}

TEST_F(ServerReadsTest, ExplainNamesCorrectionsAndTheirOriginals) {
  TestClient client = Client();
  const auto correction = [](std::string_view id, std::string_view original) {
    return With(EventText(id, "-1"),
                fmt::format(R"("kind":"Correction","correction_ref":{{"original_event_id":"{}",)"
                            R"("reason":""}})",
                            original));
  };
  client.Post(Body({EventText("a", "5"), correction("b", "a"), correction("c", "gone")}));
  const TestAnswer answer =
      client.Get(fmt::format("/v1/accounts/acme/explain?{}&analyze=true", kRange));
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto explained = boost::json::parse(answer.body).as_object();
  EXPECT_EQ(explained.at("account_id"), "acme");
  const auto& corrections = explained.at("corrections").as_array();
  ASSERT_EQ(corrections.size(), 2u);
  EXPECT_EQ(corrections[0].at("event_id"), "b");
  EXPECT_EQ(corrections[0].at("original").at("lsn"), 1);
  EXPECT_FALSE(corrections[0].as_object().contains("unresolved"));
  EXPECT_TRUE(corrections[1].at("original").is_null());
  EXPECT_EQ(corrections[1].at("unresolved"), true);
  EXPECT_EQ(explained.at("lines").at(0).at("quantity"), "3");
  EXPECT_EQ(explained.at("lines").at(0).at("corrections"), "-2");
  EXPECT_TRUE(explained.contains("memory_bytes"));
  EXPECT_EQ(explained.at("lsn"), 3);
  EXPECT_EQ(Code(client.Get(fmt::format("/v1/accounts/acme/explain?{}&analyze=2", kRange))),
            "invalid_parameter");
}

TEST_F(ServerReadsTest, VerifyAnswersAsUsageDb) {
  TestClient client = Client();
  client.Post(Body({EventText("a", "5")}));
  const TestAnswer answer =
      client.Get("/v1/accounts/acme/verify?from=1&to=1782000000001&min_lsn=1&as_of_lsn=1");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto verified = boost::json::parse(answer.body).as_object();
  EXPECT_EQ(verified.at("account_id"), "acme");
  EXPECT_EQ(verified.at("matches"), true);
  EXPECT_EQ(verified.at("drift"), "0");
  EXPECT_TRUE(verified.at("faults").as_array().empty());
  EXPECT_EQ(verified.at("period_sealed"), true);
  EXPECT_EQ(verified.at("lsn"), 1);
  EXPECT_EQ(Code(client.Get("/v1/accounts/acme/verify?from=1")), "missing_parameter");
}

TEST_F(ServerReadsTest, AccountsAreListed) {
  TestClient client = Client();
  client.Post(
      Body({EventText("a", "1", "x1"), EventText("b", "1", "x\\\"2"), EventText("c", "1", "y")}));
  EXPECT_EQ(client.Get("/v1/accounts?prefix=x").body,
            R"({"accounts":[{"account_id":"x\"2"},{"account_id":"x1"}],"lsn":3})");
  EXPECT_EQ(client.Get("/v1/accounts?as_of_lsn=0").body, R"({"accounts":[],"lsn":0})");
  EXPECT_EQ(Code(client.Get("/v1/accounts?limit=0")), "invalid_parameter");
  const TestAnswer csv = GetCsv(client, "/v1/accounts?prefix=x");
  EXPECT_EQ(csv.body, "account_id\r\n\"x\"\"2\"\r\nx1\r\n");
  EXPECT_EQ(csv.headers.at("tally-lsn"), "3");
}

// --- queries as JSON ---

TEST_F(ServerReadsTest, QueryJsonAnswersAsUsageDb) {
  TestClient client = Client();
  client.Post(Body({EventText("a", "5"), EventText("b", "7")}));
  TestAnswer answer = Query(client, R"("group_by":["meter_id"],"filters":{"kind":["Usage"]},)"
                                    R"("metrics":{"total":"SUM","n":"count"})");
  EXPECT_EQ(answer.body, R"({"data":[{"meter_id":"tok","n":2,"total":"12"}],"lsn":2,)"
                         R"("rows":{"memory":2,"rollups":0,"segments":0}})");
  EXPECT_EQ(Data(Query(client, R"("group_by":[],"metrics":{"n":"count"})")), R"([{"n":2}])");
  EXPECT_EQ(Data(Query(client, R"("group_by":["meter_id","unit"])")),
            R"([{"meter_id":"tok","unit":""}])");
  EXPECT_EQ(Data(Query(client, R"("group_by":["meter_id"],"metrics":{"meter_id":"sum"})")),
            R"([{"meter_id":"12"}])");
  EXPECT_EQ(Data(Query(client, R"("group_by":["meter_id"],"filters":{"unit":[]})")), "[]");
  answer = Query(client, R"("group_by":["meter_id"],"as_of_lsn":1,"metrics":{"q":"sum"},)"
                         R"("group_limit":5,"group_order":["-q"])");
  EXPECT_EQ(Data(answer), R"([{"meter_id":"tok","q":"5"}])");
  EXPECT_NE(answer.body.find(R"(],"groups":)"), std::string::npos);
}

TEST_F(ServerReadsTest, QueryJsonOfWholeEvents) {
  TestClient client = Client();
  client.Post(Body({EventText("a", "5"), EventText("b", "7", "acme", 1781000000000)}));
  const auto data =
      boost::json::parse(Query(client, R"("group_by":[])").body).at("data").as_array();
  ASSERT_EQ(data.size(), 2u);
  EXPECT_EQ(data[0].at("event_id"), "b") << "by time";
  EXPECT_EQ(data[1].at("quantity"), 5);
}

TEST_F(ServerReadsTest, QueryJsonOfEventsAddedUpByHour) {
  TestClient client = Client();
  constexpr int64_t kHour = 1781999999999 / 3'600'000 * 3'600'000;
  const std::string big = "170141183460469231731687303715884105727";
  client.Post(Body({
      EventText("a", big, "acme", kHour + 5),
      EventText("b", "1.5", "acme", kHour),
      EventText("c", "1", "acme", kHour + 3'600'000),
      With(EventText("d", "2", "acme", kHour + 1), R"("model_id":"","dimensions":{"r":"eu"})"),
      With(EventText("e", "3", "acme", kHour + 2), R"("model_id":"")"),
      EventText("f", "9", "other", kHour),
  }));
  const TestAnswer answer = Query(client, R"("group_by":[])", "usage_rollup_hourly");
  const auto rows = boost::json::parse(answer.body).at("data").as_array();
  ASSERT_EQ(rows.size(), 4u) << answer.body;
  EXPECT_NE(answer.body.find("\"quantity\":170141183460469231731687303715884105728.5,"),
            std::string::npos)
      << "more than any event can hold" << answer.body;
  EXPECT_EQ(rows[0].at("event_id").as_string(), fmt::format("rollup_{}", kHour));
  EXPECT_EQ(rows[0].at("kind"), "Usage");
  EXPECT_EQ(rows[0].at("timestamp_ms"), kHour);
  EXPECT_GT(rows[0].at("ingested_at_ms").as_int64(), 0);
  EXPECT_TRUE(rows[0].at("model_id").is_null());
  EXPECT_EQ(rows[1].at("model_id"), "") << "empty is not missing";
  EXPECT_EQ(rows[1].at("quantity"), 3);
  EXPECT_EQ(rows[2].at("dimensions").at("r"), "eu");
  EXPECT_EQ(rows[3].at("timestamp_ms"), kHour + 3'600'000);
}

TEST_F(ServerReadsTest, QueryJsonBodies) {
  TestClient client = Client();
  client.Post(Body({EventText("a", "5")}));
  const std::string good =
      R"({"source":"","account_id":"acme","from":0,"to":9000000000000,"group_by":["meter_id"]})";
  EXPECT_EQ(client.Post(Gzip(good), "/v1/query/json", "content-encoding: gzip\r\n").status, 200);
  EXPECT_EQ(client.Post(good, "/v1/query/json?unknown=1").status, 200);
  EXPECT_EQ(Code(client.Post("{", "/v1/query/json")), "invalid_json");
  TestAnswer answer = client.Post("{}", "/v1/query/json");
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(Code(answer), "invalid_shape");
  EXPECT_NE(answer.body.find("`source` is missing"), std::string::npos);
  EXPECT_EQ(Code(client.Post("x", "/v1/query/json", "content-encoding: gzip\r\n")),
            "invalid_encoding");
  EXPECT_EQ(client.Post(good + std::string(kQueryBodyBytesMax - good.size(), ' '), "/v1/query/json")
                .status,
            200);
  EXPECT_EQ(Code(client.Post(Gzip(good + std::string(kQueryBodyBytesMax, ' ')), "/v1/query/json",
                             "content-encoding: gzip\r\n")),
            "body_too_large");
  const TestAnswer method = client.Get("/v1/query/json");
  EXPECT_EQ(method.headers.at("allow"), "POST");
  EXPECT_EQ(Code(client.Post(good + std::string(kQueryBodyBytesMax, ' '), "/v1/query/json")),
            "body_too_large");
  TestClient other = Client();
  other.Send("POST /v1/query/json HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}");
  EXPECT_EQ(Code(other.Read()), "unsupported_media_type");
  AwaitMetric("tallystick_http_body_memory_bytes 0");
}

// --- CSV ---

TEST_F(ServerReadsTest, CsvOfSumsAndQueries) {
  TestClient client = Client();
  client.Post(Body({EventText("a", "5"), EventText("b", "7")}));
  TestAnswer answer =
      GetCsv(client, fmt::format("/v1/accounts/acme/usage?{}&group_by=meter_id", kRange));
  EXPECT_EQ(answer.headers.at("content-type"), "text/csv; charset=utf-8");
  EXPECT_EQ(answer.headers.at("tally-lsn"), "2");
  EXPECT_EQ(answer.body,
            "corrections,count,meter_id,quantity,retractions,usage\r\n0,2,tok,12,0,12\r\n");
  answer = Query(client, R"("group_by":["unit"],"metrics":{"n":"count"})", "usage_events",
                 "accept: text/csv\r\n");
  EXPECT_EQ(answer.body, "n,unit\r\n2,\"\"\r\n");
  answer = Query(client, R"("group_by":[])", "x", "accept: TEXT/CSV;q=0.5, application/json\r\n");
  EXPECT_EQ(std::ranges::count(answer.body, '\n'), 2);
  EXPECT_TRUE(answer.body.starts_with("account_id,")) << answer.body;
  answer = Query(client, R"("group_by":[])", "x", "accept: application/json, text/csv\r\n");
  EXPECT_EQ(answer.headers.at("content-type"), "application/json");
  EXPECT_FALSE(answer.headers.contains("tally-lsn"));
  EXPECT_EQ(Code(GetCsv(client, "/v1/usage?from=1")), "missing_parameter") << "errors are JSON";
  EXPECT_EQ(GetCsv(client, "/v1/conflicts").headers.at("content-type"), "application/json");
}

TEST_F(ServerReadsTest, CsvOfEventsInPagesAndStreamed) {
  TestClient client = Client();
  std::vector<std::string> events;
  for (int i = 0; i < 2000; ++i) events.push_back(EventText(fmt::format("e{:04}", i)));
  ASSERT_EQ(client.Post(Body(events)).status, 200);
  const std::string target = fmt::format("/v1/accounts/acme/usage/events?{}", kRange);
  TestAnswer answer = GetCsv(client, target);
  EXPECT_EQ(answer.headers.at("transfer-encoding"), "chunked");
  EXPECT_EQ(answer.headers.at("content-type"), "text/csv; charset=utf-8");
  EXPECT_EQ(answer.headers.at("tally-lsn"), "2000");
  EXPECT_EQ(std::ranges::count(answer.body, '\n'), 2001);
  EXPECT_TRUE(answer.complete);

  answer = GetCsv(client, target + "&limit=1999");
  EXPECT_EQ(std::ranges::count(answer.body, '\n'), 2000);
  answer = GetCsv(client, target + "&limit=5&cursor=" + answer.headers.at("tally-next-cursor"));
  EXPECT_EQ(std::ranges::count(answer.body, '\n'), 2);
  EXPECT_NE(answer.body.find(",e1999,"), std::string::npos) << answer.body;
  EXPECT_FALSE(answer.headers.contains("tally-next-cursor"));
  EXPECT_EQ(Code(GetCsv(client, target + "&limit=100001")), "invalid_parameter");
}

// --- waiting, and giving up ---

TEST_F(ServerReadsTest, AReadWaitsForItsLsn) {
  options_.query_threads = 1;
  options_.lsn_wait_ms_max = 3'600'000;
  TestClient client = Client();
  client.Send("GET /v1/events/a?min_lsn=1 HTTP/1.1\r\n\r\n");
  TestClient posting = Client();
  const std::string body =
      R"({"source":"","account_id":"acme","from":0,"to":1,"group_by":[],"min_lsn":1})";
  posting.Send(
      fmt::format("POST /v1/query/json HTTP/1.1\r\ncontent-type: application/json\r\n"
                  "content-length: {}\r\n\r\n{}",
                  body.size(), body));
  AwaitMetric("tallystick_http_queries_waiting 2");
  TestClient other = Client();
  EXPECT_EQ(other.Get("/v1/accounts").status, 200) << "no thread is taken by those that wait";
  ASSERT_EQ(other.Post(Body({EventText("a")})).status, 200);
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(posting.Read().status, 200);
}

TEST_F(ServerReadsTest, AnLsnThatDoesNotComeIsRefused) {
  options_.lsn_wait_ms_max = 20;
  TestClient client = Client();
  const TestAnswer answer = client.Get("/v1/accounts?min_lsn=1");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.headers.at("retry-after"), "1");
  EXPECT_EQ(Code(answer), "lsn_not_reached");
  EXPECT_NE(answer.body.find("min_lsn is 1, the newest visible LSN is 0"), std::string::npos);
  AwaitMetric("tallystick_queries_total{outcome=\"lsn_not_reached\"} 1");
}

// What waits for an LSN that never comes, while its client goes away, is given up long before its
// time is over.
TEST_F(ServerReadsTest, AReadIsGivenUpWhenItsClientGoes) {
  options_.lsn_wait_ms_max = 3'600'000;
  options_.half_closed_ms_max = 20;
  const std::string wait = "GET /v1/accounts?min_lsn=9 HTTP/1.1\r\n";
  {
    TestClient client = Client();
    client.Send(wait + "\r\n");
    AwaitMetric("tallystick_http_queries_waiting 1");
  }
  AwaitMetric("tallystick_queries_total{outcome=\"cancelled\"} 1");
  {
    TestClient client = Client();
    client.Send(wait + "connection: close\r\n\r\n");  // nothing is read behind it
    AwaitMetric("tallystick_http_queries_waiting 1");
  }
  AwaitMetric("tallystick_queries_total{outcome=\"cancelled\"} 2");
  AwaitMetric("tallystick_http_queries_waiting 0");
}

TEST_F(ServerReadsTest, AStreamIsGivenUpWhenItsClientGoes) {
  const std::string wide = fmt::format(R"("dimensions":{{"pad":"{}"}})", std::string(250, 'x'));
  {
    TestClient client = Client();
    for (int batch = 0; batch < 30; ++batch) {
      std::vector<std::string> events;
      for (int i = 0; i < 1000; ++i) {
        events.push_back(With(EventText(fmt::format("{}-{}", batch, i)), wide));
      }
      ASSERT_EQ(client.Post(Body(events)).status, 200);
    }
    // More than sockets hold, and none of it is read.
    client.Send(fmt::format("GET /v1/accounts/acme/usage/events?{} HTTP/1.1\r\n\r\n", kRange));
  }
  AwaitMetric("tallystick_queries_total{outcome=\"cancelled\"} 1");
}

TEST_F(ServerReadsTest, AReadIsGivenUpBehindAFullPipeline) {
  options_.lsn_wait_ms_max = 3'600'000;
  options_.half_closed_ms_max = 20;
  options_.pipeline_max = 2;
  {
    TestClient client = Client();
    const std::string wait = "GET /v1/accounts?min_lsn=9 HTTP/1.1\r\n\r\n";
    client.Send(wait + wait);
    AwaitMetric("tallystick_http_queries_waiting 2");
  }
  AwaitMetric("tallystick_queries_total{outcome=\"cancelled\"} 2");
}

TEST_F(ServerReadsTest, AHalfClosedClientGetsQuickAnswers) {
  options_.half_closed_ms_max = 3'600'000;
  options_.pipeline_max = 2;
  TestClient client = Client();
  const std::string quick = "GET /v1/accounts HTTP/1.1\r\n\r\n";
  client.Send(quick + quick + quick);
  client.EndSending();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.Read().status, 200);
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(ServerReadsTest, AHalfClosedClientIsNotWaitedForLong) {
  options_.half_closed_ms_max = 20;
  options_.lsn_wait_ms_max = 3'600'000;
  options_.pipeline_max = 2;
  TestClient client = Client();
  const std::string quick = "GET /v1/accounts HTTP/1.1\r\n\r\n";
  client.Send(quick + quick + quick + "GET /v1/accounts?min_lsn=9 HTTP/1.1\r\n\r\n");
  client.EndSending();
  for (int i = 0; i < 3; ++i) {  // the time may be over before them
    const TestAnswer answer = client.Read();
    EXPECT_TRUE(answer.status == 200 || Code(answer) == "cancelled") << answer.body;
  }
  EXPECT_EQ(Code(client.Read()), "cancelled");
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(ServerReadsTest, StopDoesNotWaitForAnLsn) {
  options_.lsn_wait_ms_max = 3'600'000;
  options_.stop_timeout_ms = 3'600'000;
  TestClient client = Client();
  client.Send("GET /v1/accounts?min_lsn=9 HTTP/1.1\r\n\r\n");
  AwaitMetric("tallystick_http_queries_waiting 1");
  server_->Stop();
  EXPECT_EQ(Code(client.Read()), "lsn_not_reached");
}

TEST_F(ServerReadsTest, OperatorsSeeReadsAndRollups) {
  TestClient client = Client();
  ASSERT_EQ(client.Get("/v1/accounts").status, 200);
  ASSERT_EQ(client.Get("/v1/usage?from=1").status, 400);
  const std::string metrics = client.Get("/metrics").body;
  for (const char* line :
       {"tallystick_queries_total{outcome=\"ok\"} 1\n",
        "tallystick_queries_total{outcome=\"missing_parameter\"} 1\n",
        "tallystick_query_memory_bytes_max 0\n", "tallystick_verify_faults_total 0\n",
        "tallystick_rollups 0\n", "tallystick_rollups_corrupt_total 0\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
  }
  const auto status = boost::json::parse(client.Get("/v1/status").body).as_object();
  EXPECT_EQ(boost::json::serialize(status.at("rollups")),
            R"({"bytes":0,"corrupt":0,"count":0,"lines":0,"rebuilt":0,"write_failures":0})");
}

}  // namespace
}  // namespace tallystick
