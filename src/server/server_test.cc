// The server over real loopback sockets: routes, answers, and what a hostile or slow client gets.
#include "server/server.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zstd.h>
#include <boost/json/parse.hpp>

#include "server/problem.h"
#include "server/server_fixture.h"

namespace tallystick {
namespace {

// --- routes and answers ---

TEST_F(ServerTest, IngestAnswersWithCountsAndOutcomes) {
  TestClient client = Client();
  TestAnswer answer = client.Post(Body({EventText("a"), EventText("b", "2.5")}));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers["content-type"], "application/json");
  EXPECT_EQ(answer.body,
            R"({"accepted":2,"conflicts":0,"duplicates":0,"lsn":2,"outcomes":[],"rejected":0})");

  answer = client.Post(Body({EventText("a"), EventText("b", "3"), EventText("c"), "{}"}),
                       "/v1/usage/batch?outcomes=all&originals=true");
  EXPECT_EQ(answer.body,
            R"({"accepted":1,"conflicts":1,"duplicates":1,"lsn":4,"outcomes":[)"
            R"({"event_id":"a","index":0,"lsn":1,"outcome":"duplicate"},)"
            R"({"event_id":"b","index":1,"lsn":3,"outcome":"conflict"},)"
            R"({"event_id":"c","index":2,"lsn":4,"outcome":"accepted"},)"
            R"({"code":"missing_field","event_id":"","field":"event_id","index":3,)"
            R"("message":"field `event_id` is missing","outcome":"rejected"}],"rejected":1})");
  answer = client.Post(Body({EventText("a")}));
  EXPECT_EQ(answer.body,
            R"({"accepted":0,"conflicts":0,"duplicates":1,"lsn":4,)"
            R"("outcomes":[{"event_id":"a","index":0,"outcome":"duplicate"}],"rejected":0})");
  answer = client.Post(Body({}));
  EXPECT_EQ(answer.body,
            R"({"accepted":0,"conflicts":0,"duplicates":0,"lsn":4,"outcomes":[],"rejected":0})");
  EXPECT_EQ(Code(client.Post(Body({}), "/v1/usage/batch?outcomes=some")), "invalid_parameter");
  EXPECT_EQ(Code(client.Post(Body({}), "/v1/usage/batch?originals=yes")), "invalid_parameter");
}

TEST_F(ServerTest, UsageIsSummedAndGrouped) {
  TestClient client = Client();
  client.Post(Body({EventText("a", "1"), EventText("b", "2.5"), EventText("c", "7", "other")}));
  TestAnswer answer = client.Get(
      fmt::format("/v1/accounts/acme/usage?{}&group_by=meter_id,%20,day,meter_id", kRange));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.body.substr(0, answer.body.find(",\"rows\"")),
            R"({"lines":[{"corrections":"0","count":2,"day":"1782000000000","meter_id":"tok",)"
            R"("quantity":"3.5","retractions":"0","usage":"3.5"}],"lsn":3)");
  const auto document = boost::json::parse(answer.body).as_object();
  EXPECT_EQ(document.at("rows").as_object().at("memory"), 2);
  EXPECT_TRUE(document.at("watermark_ms").is_int64());

  answer = client.Get(
      "/v1/accounts/acme/usage?from=1782000000000&to=1782000000001&as_of_lsn=1&source=raw");
  EXPECT_NE(answer.body.find(R"("quantity":"1")"), std::string::npos) << answer.body;
  answer = client.Get("/v1/accounts/nobody/usage?from=1&to=0&group_by=meter_id");
  EXPECT_EQ(answer.body.substr(0, 11), R"({"lines":[])");
}

TEST_F(ServerTest, FiltersByColumnAndDimension) {
  TestClient client = Client();
  std::string with_dimension = EventText("b", "2");
  with_dimension.insert(with_dimension.size() - 1,
                        R"(,"model_id":"m1","dimensions":{"region":"e u"})");
  client.Post(Body({EventText("a", "1"), with_dimension}));
  const auto quantity = [&](std::string_view filter) {
    const TestAnswer answer =
        client.Get(fmt::format("/v1/accounts/acme/usage?{}&{}", kRange, filter));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return std::string(boost::json::parse(answer.body)
                           .as_object()
                           .at("lines")
                           .as_array()
                           .at(0)
                           .as_object()
                           .at("quantity")
                           .as_string());
  };
  EXPECT_EQ(quantity("meter_id=tok"), "3");
  EXPECT_EQ(quantity("meter_id=nope"), "0");
  EXPECT_EQ(quantity("model_id=m1"), "2");
  EXPECT_EQ(quantity("dimensions.region=e+u"), "2");
  EXPECT_EQ(quantity("product_id=api&dimensions.region=x"), "0");
  EXPECT_EQ(quantity("unknown=key&unknown=again"), "3")
      << "unknown keys are ignored, as usageDb does";
}

TEST_F(ServerTest, EventsAreListedInPages) {
  TestClient client = Client();
  std::vector<std::string> events;
  for (int i = 0; i < 10; ++i)
    events.push_back(EventText(fmt::format("e{}", i), "1", "acme", 1782000000000 - i));
  client.Post(Body(events));
  std::string target = fmt::format("/v1/accounts/acme/usage/events?{}&limit=4", kRange);
  std::vector<std::string> ids;
  for (std::string cursor; ids.size() < 20;) {
    const TestAnswer answer = client.Get(target + cursor);
    ASSERT_EQ(answer.status, 200) << answer.body;
    const auto page = boost::json::parse(answer.body).as_object();
    for (const auto& event : page.at("events").as_array()) {
      ids.emplace_back(event.as_object().at("event_id").as_string());
    }
    if (!page.contains("next_cursor")) break;
    cursor = "&cursor=" + std::string(page.at("next_cursor").as_string());
  }
  EXPECT_EQ(ids,
            (std::vector<std::string>{"e9", "e8", "e7", "e6", "e5", "e4", "e3", "e2", "e1", "e0"}));
  EXPECT_EQ(Code(client.Get(target + "&cursor=nonsense")), "invalid_cursor");
  EXPECT_EQ(Code(client.Get(fmt::format("/v1/accounts/acme/usage/events?{}&limit=0", kRange))),
            "invalid_parameter");
}

TEST_F(ServerTest, ALongListingIsStreamed) {
  TestClient client = Client();
  for (int batch = 0; batch < 10; ++batch) {
    std::vector<std::string> events;
    for (int i = 0; i < 1000; ++i) events.push_back(EventText(fmt::format("{}-{}", batch, i)));
    ASSERT_EQ(client.Post(Body(events)).status, 200);
  }
  const std::string target = fmt::format("/v1/accounts/acme/usage/events?{}", kRange);
  TestAnswer answer = client.Get(target);
  EXPECT_EQ(answer.headers["transfer-encoding"], "chunked");
  EXPECT_TRUE(answer.complete);
  const auto listing = boost::json::parse(answer.body).as_object();
  EXPECT_EQ(listing.at("events").as_array().size(), 10'000u);
  EXPECT_FALSE(listing.contains("next_cursor"));
  EXPECT_EQ(client.Get("/health").status, 200) << "the connection goes on";

  client.Send("HEAD " + target + " HTTP/1.1\r\nhost: t\r\n\r\n");
  EXPECT_EQ(client.Read(true).status, 200);
  EXPECT_EQ(client.Get("/health").body, "OK");

  TestClient old = Client();
  old.Send("GET " + target + " HTTP/1.0\r\n\r\n");
  const TestAnswer plain = old.Read();
  EXPECT_FALSE(plain.headers.contains("transfer-encoding"));
  EXPECT_EQ(plain.body, answer.body);
}

TEST_F(ServerTest, OneEventAndConflicts) {
  TestClient client = Client();
  client.Post(
      Body({EventText("a/b", "1"), EventText("a/b", "2"), EventText("x"), EventText("x", "5")}));
  TestAnswer answer = client.Get("/v1/events/a%2Fb");
  ASSERT_EQ(answer.status, 200) << answer.body;
  auto lookup = boost::json::parse(answer.body).as_object();
  EXPECT_EQ(lookup.at("conflicts"), 1);
  EXPECT_EQ(lookup.at("event_lsn"), 1);
  EXPECT_TRUE(lookup.at("original").is_null());
  EXPECT_FALSE(lookup.contains("unresolved"));
  EXPECT_EQ(Code(client.Get("/v1/events/nothing")), "event_not_found");
  EXPECT_EQ(Code(client.Get("/v1/events/x?as_of_lsn=99")), "lsn_in_future");
  EXPECT_EQ(Code(client.Get("/v1/events/x?as_of_lsn=-1")), "invalid_parameter");

  answer = client.Get("/v1/conflicts?account_id=acme&limit=1");
  auto page = boost::json::parse(answer.body).as_object();
  ASSERT_EQ(page.at("conflicts").as_array().size(), 1u) << answer.body;
  EXPECT_EQ(page.at("conflicts").at(0).at("lsn"), 2);
  EXPECT_EQ(page.at("conflicts").at(0).at("original_lsn"), 1);
  answer = client.Get("/v1/conflicts?account_id=acme&limit=1&cursor=" +
                      std::string(page.at("next_cursor").as_string()));
  page = boost::json::parse(answer.body).as_object();
  EXPECT_EQ(page.at("conflicts").at(0).at("lsn"), 4);
  EXPECT_EQ(boost::json::parse(client.Get("/v1/conflicts").body).at("conflicts").as_array().size(),
            2u);
  EXPECT_EQ(boost::json::parse(client.Get("/v1/conflicts?account_id=o").body)
                .at("conflicts")
                .as_array()
                .size(),
            0u);
}

TEST_F(ServerTest, ACorrectionNamesItsOriginal) {
  TestClient client = Client();
  const auto correction = [](std::string_view id, std::string_view original) {
    std::string event = EventText(id, "-1");
    event.insert(
        event.size() - 1,
        fmt::format(
            R"(,"kind":"Correction","correction_ref":{{"original_event_id":"{}","reason":""}})",
            original));
    return event;
  };
  client.Post(Body({EventText("a"), correction("b", "a"), correction("c", "gone")}));
  EXPECT_NE(client.Get("/v1/events/b").body.find(R"("original":{"event_id":"a","lsn":1}})"),
            std::string::npos);
  EXPECT_NE(client.Get("/v1/events/c").body.find(R"("original":null,"unresolved":true})"),
            std::string::npos);
}

TEST_F(ServerTest, OperatorsRoutes) {
  TestClient client = Client();
  EXPECT_EQ(client.Get("/health").body, "OK");
  EXPECT_EQ(client.Get("/ready").status, 200);
  client.Send("HEAD /health HTTP/1.1\r\n\r\n");
  const TestAnswer head = client.Read(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-length"), "2");
  client.Post(Body({EventText("a")}));
  const auto status = boost::json::parse(client.Get("/v1/status").body).as_object();
  EXPECT_EQ(status.at("state"), "serving");
  EXPECT_EQ(status.at("lsn"), 1);
  EXPECT_EQ(status.at("database_id").as_string().size(), 32u);
  EXPECT_EQ(status.at("wal").at("poisoned"), false);
  const std::string metrics = client.Get("/metrics").body;
  for (const char* line :
       {"tallystick_events_total{outcome=\"accepted\"} 1\n", "tallystick_lsn 1\n",
        "tallystick_http_requests_total{route=\"/v1/usage/batch\",status=\"200\"} 1\n",
        "tallystick_http_requests_total{route=\"/health\",status=\"200\"} 2\n",
        "tallystick_http_request_duration_seconds_count{route=\"/v1/usage/batch\"} 1\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
  }
}

TEST_F(ServerTest, AScrubIsAskedFor) {
  TestClient client = Client();
  boost::json::object scrub;
  const auto await_passes = [&](int passes) {
    do {
      scrub = boost::json::parse(client.Get("/v1/status").body).as_object().at("scrub").as_object();
    } while (scrub.at("passes").to_number<int>() < passes);
  };
  await_passes(1);  // after the start: one that has not begun would be the one asked for
  client.Send(
      "POST /v1/admin/scrub HTTP/1.1\r\ncontent-type: application/json\r\n"
      "content-length: 2\r\n\r\n{}");
  EXPECT_EQ(client.Read().body, R"({"started":true})");
  await_passes(2);
  EXPECT_EQ(scrub.at("faults"), 0);
  EXPECT_TRUE(scrub.at("findings").as_array().empty());
  client.Send("POST /v1/admin/scrub HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}");
  EXPECT_EQ(client.Read().status, 415);
}

TEST_F(ServerTest, MistakesOfTheCaller) {
  TestClient client = Client();
  EXPECT_EQ(Code(client.Get("/nope")), "not_found");
  EXPECT_EQ(Code(client.Get("/health/")), "not_found");
  EXPECT_EQ(Code(client.Get("/v1/accounts/%ff/usage?from=1&to=2")), "invalid_url");
  EXPECT_EQ(Code(client.Get("/v1/accounts/a/usage?from=1")), "missing_parameter");
  EXPECT_EQ(Code(client.Get("/v1/accounts/a/usage?from=1&to=2&from=3")), "duplicate_parameter");
  EXPECT_EQ(Code(client.Get("/v1/accounts/a/usage?from=2026-01-01&to=2")), "invalid_time");
  EXPECT_EQ(Code(client.Get("/v1/accounts/a/usage/events?from=1&to=2&limit=x")),
            "invalid_parameter");
  const TestAnswer wrong_method = client.Get("/v1/usage/batch");
  EXPECT_EQ(wrong_method.status, 405);
  EXPECT_EQ(wrong_method.headers.at("allow"), "POST");
  EXPECT_EQ(Code(wrong_method), "method_not_allowed");
  client.Send("DELETE /health HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.Read().headers.at("allow"), "GET, HEAD");
  EXPECT_EQ(client.Get("/health").status, 200) << "none of them ended the connection";
}

TEST_F(ServerTest, ContentTypes) {
  const auto post = [this](std::string_view header) {
    TestClient client = Client();
    client.Send(fmt::format(
        "POST /v1/usage/batch HTTP/1.1\r\n{}content-length: 13\r\n\r\n{{\"events\":[]}}", header));
    return client.Read().status;
  };
  EXPECT_EQ(post("content-type: application/json\r\n"), 200);
  EXPECT_EQ(post("Content-Type: Application/JSON; charset=utf-8\r\n"), 200);
  EXPECT_EQ(post("content-type: application/vnd.usage+json\r\n"), 200);
  EXPECT_EQ(post(""), 415);
  EXPECT_EQ(post("content-type: text/json\r\n"), 415);
  EXPECT_EQ(post("content-type: application/jsonx\r\n"), 415);
  EXPECT_EQ(post("content-type: application/+json\r\n"), 415);
}

TEST_F(ServerTest, JsonFaultsChangeNothing) {
  TestClient client = Client();
  const std::string event = EventText("a");
  EXPECT_EQ(Code(client.Post("")), "invalid_json");
  EXPECT_EQ(Code(client.Post(Body({event}).substr(0, 100))), "invalid_json");
  EXPECT_EQ(Code(client.Post(Body({event, "tru"}))), "invalid_json");
  EXPECT_EQ(Code(client.Post(Body({event, "\"\xff\""}))), "invalid_json");
  EXPECT_EQ(Code(client.Post(Body({event, "\"\\ud800\""}))), "invalid_json");
  EXPECT_EQ(Code(client.Post(std::string(1 << 20, '['))), "invalid_json");
  EXPECT_EQ(Code(client.Post("{}")), "invalid_shape");
  EXPECT_EQ(Code(client.Post(R"({"events":[],"events":[)" + event + "]}")), "invalid_shape");
  ExpectNothingStored();
}

// --- bodies ---

TEST_F(ServerTest, CompressedBodies) {
  TestClient client = Client();
  EXPECT_EQ(
      client.Post(Gzip(Body({EventText("a")})), "/v1/usage/batch", "content-encoding: gzip\r\n")
          .status,
      200);
  const std::string body = Body({EventText("b")});
  std::string zstd(ZSTD_compressBound(body.size()), '\0');
  zstd.resize(ZSTD_compress(zstd.data(), zstd.size(), body.data(), body.size(), 1));
  EXPECT_EQ(client.Post(zstd, "/v1/usage/batch", "content-encoding: zstd\r\n").status, 200);
  EXPECT_EQ(db_->VisibleLsn().value, 2u);
  EXPECT_EQ(Code(client.Post("garbage", "/v1/usage/batch", "content-encoding: gzip\r\n")),
            "invalid_encoding");
  EXPECT_EQ(Code(client.Post(Gzip(std::string(100 << 20, ' ')), "/v1/usage/batch",
                             "content-encoding: gzip\r\n")),
            "body_too_large");
  EXPECT_EQ(Code(client.Post(Gzip("x"), "/v1/usage/batch", "content-encoding: br\r\n")),
            "unsupported_encoding");
}

TEST_F(ServerTest, ChunkedBodies) {
  TestClient client = Client();
  const std::string body = Body({EventText("a")});
  const std::string head =
      "POST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: "
      "chunked\r\n\r\n";
  std::string bytes = head;
  for (const char c : body) bytes += fmt::format("1\r\n{}\r\n", c);
  bytes += "0\r\n\r\n";
  client.Send(bytes + head + fmt::format("{:x};x=y\r\n{}\r\n0\r\nt: u\r\n\r\n", body.size(), body));
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_NE(client.Read().body.find("\"duplicates\":1"), std::string::npos);
  client.Send(head + "5\r\nhello!\r\n");
  EXPECT_EQ(Code(client.Read()), "invalid_request");
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(ServerTest, LargeBodiesAreRefusedBeforeTheyCome) {
  options_.body_bytes_max = 1000;
  TestClient client = Client();
  client.Send(
      "POST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: "
      "1001\r\n\r\n");
  EXPECT_EQ(Code(client.Read()), "body_too_large");
  EXPECT_TRUE(client.AtEnd());
  TestClient chunked = Client();
  chunked.Send(
      "POST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: "
      "chunked\r\n\r\n");
  chunked.Send("3e9\r\n" + std::string(1001, ' '));
  EXPECT_EQ(Code(chunked.Read()), "body_too_large");
  TestClient fitting = Client();
  EXPECT_EQ(fitting.Post(Body({}) + std::string(1000 - Body({}).size(), ' ')).status, 200);
}

TEST_F(ServerTest, AllBodiesTogetherAreBounded) {
  options_.body_bytes_max = 1 << 20;
  options_.body_memory_bytes_max = 2 << 20;
  std::vector<std::unique_ptr<TestClient>> clients;
  const std::string head =
      "POST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: "
      "1048576\r\n\r\n";
  // Each sends all but the last byte, and so keeps its body.
  for (int i = 0; i < 2; ++i) {
    Client();
    clients.push_back(std::make_unique<TestClient>(server_->port()));
    clients.back()->Send(head + std::string((1 << 20) - 1, ' '));
  }
  AwaitMetric("tallystick_http_body_memory_bytes 2097152");
  TestClient third = Client();
  third.Send(head + std::string(300'000, ' '));
  EXPECT_EQ(Code(third.Read()), "body_memory_full");
  for (auto& client : clients) {
    client->Send("x");
    EXPECT_EQ(Code(client->Read()), "invalid_json");
  }
  EXPECT_NE(Client().Get("/metrics").body.find("\ntallystick_http_body_memory_bytes 0\n"),
            std::string::npos);
}

TEST_F(ServerTest, ExpectContinue) {
  TestClient client = Client();
  const std::string body = Body({EventText("a")});
  client.Send(
      fmt::format("POST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\n"
                  "expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
                  body.size()));
  EXPECT_EQ(client.Read().status, 100);
  client.Send(body);
  EXPECT_EQ(client.Read().status, 200);
  client.Send(
      "POST /v1/usage/batch HTTP/1.1\r\ncontent-type: text/plain\r\nexpect: "
      "100-continue\r\ncontent-length: 5\r\n\r\n");
  EXPECT_EQ(client.Read().status, 415) << "refused without asking for the body";
  EXPECT_TRUE(client.AtEnd());
}

// --- connections ---

TEST_F(ServerTest, PipelinedAnswersComeInOrder) {
  options_.pipeline_max = 3;
  TestClient client = Client();
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    const std::string body = Body({EventText(fmt::format("e{}", i))});
    requests += fmt::format(
        "POST /v1/usage/batch?outcomes=all HTTP/1.1\r\ncontent-type: "
        "application/json\r\ncontent-length: {}\r\n\r\n{}",
        body.size(), body);
    requests +=
        fmt::format("GET /v1/events/e{} HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n", i / 2);
  }
  client.Send(requests);
  for (int i = 0; i < 50; ++i) {
    EXPECT_NE(client.Read().body.find(fmt::format("\"event_id\":\"e{}\"", i)), std::string::npos);
    client.Read();  // the event is read beside the ingest before it: found or not
    EXPECT_EQ(client.Read().body, "OK");
  }
}

TEST_F(ServerTest, RequestsInSinglePieces) {
  TestClient client = Client();
  const std::string body = Body({EventText("a")});
  const std::string request = fmt::format(
      "\r\nPOST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: "
      "{}\r\n\r\n{}",
      body.size(), body);
  for (const char c : request) ASSERT_TRUE(client.Send({&c, 1}));
  EXPECT_EQ(client.Read().status, 200);
}

TEST_F(ServerTest, ConnectionsEndWhenAsked) {
  TestClient client = Client();
  client.Send("GET /health HTTP/1.1\r\nconnection: close\r\n\r\nGET /health HTTP/1.1\r\n\r\n");
  const TestAnswer answer = client.Read();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("connection"), "close");
  EXPECT_TRUE(client.AtEnd()) << "what comes behind it is not answered";
  TestClient old = Client();
  old.Send("GET /health HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.Read().status, 200);
  EXPECT_TRUE(old.AtEnd());
  TestClient half = Client();
  half.Send("GET /health HTTP/1.1\r\n\r\n");
  half.EndSending();
  EXPECT_EQ(half.Read().status, 200) << "a client may end its sending and still read";
  EXPECT_TRUE(half.AtEnd());
}

TEST_F(ServerTest, GarbageIsAnsweredAndClosed) {
  for (const std::string_view bytes :
       {std::string_view("\x16\x03\x01\x02\x00", 5), std::string_view("\0\0\0\0", 4),
        std::string_view("{}"), std::string_view("GET /\r\n\r\n"),
        std::string_view("GET / HTTP/3.0\r\n\r\n"),
        std::string_view("GET /health HTTP/1.1\r\n a\r\n\r\n"),
        std::string_view(
            "GET /health HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n")}) {
    TestClient client = Client();
    client.Send(bytes);
    EXPECT_EQ(Code(client.Read()), "invalid_request") << bytes;
    EXPECT_TRUE(client.AtEnd());
  }
  TestClient client = Client();
  client.Send("GET /health HTTP/1.1\r\n\r\n\x01\x02garbage\r\n\r\nGET /health HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(client.Read().status, 400);
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(ServerTest, EndlessHeadsAreCut) {
  TestClient client = Client();
  client.Send("GET /health HTTP/1.1\r\n");
  const std::string header = "x-endless: " + std::string(1000, 'x') + "\r\n";
  for (int i = 0; i < 100 && client.Send(header); ++i) {
  }
  EXPECT_EQ(Code(client.Read()), "headers_too_large");
  EXPECT_TRUE(client.AtEnd());
  TestClient many = Client();
  std::string head = "GET /health HTTP/1.1\r\n";
  for (int i = 0; i < 300; ++i) head += "a: b\r\n";
  many.Send(head + "\r\n");
  EXPECT_EQ(Code(many.Read()), "headers_too_large");
  TestClient line = Client();
  line.Send("GET /" + std::string(40'000, 'a'));
  EXPECT_EQ(Code(line.Read()), "headers_too_large");
}

TEST_F(ServerTest, SlowClientsTimeOut) {
  options_.header_timeout_ms = 20;
  TestClient head = Client();
  head.Send("GET /health HTT");
  EXPECT_EQ(Code(head.Read()), "request_timeout");
  EXPECT_TRUE(head.AtEnd());
}

TEST_F(ServerTest, SlowBodiesTimeOut) {
  options_.body_timeout_ms = 40;
  TestClient client = Client();
  client.Send(
      "POST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: "
      "5\r\n\r\n{");
  EXPECT_EQ(Code(client.Read()), "request_timeout");
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(ServerTest, BodiesMustMoveOn) {
  options_.body_progress_timeout_ms = 20;
  options_.body_progress_bytes_min = 1000;
  TestClient client = Client();
  client.Send(
      "POST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: "
      "50000\r\n\r\n");
  // A byte now and then is not enough. Far fewer are sent than the body has.
  TestClient observer = Client();
  const std::string counted = "route=\"/v1/usage/batch\",status=\"408\"";
  for (int sent = 0; sent < 40'000; ++sent) {
    if (!client.Send(" ") || observer.Get("/metrics").body.find(counted) != std::string::npos)
      break;
  }
  EXPECT_EQ(Code(client.Read()), "request_timeout");
}

TEST_F(ServerTest, IdleConnectionsAreClosed) {
  options_.idle_timeout_ms = 20;
  bool answered = false;
  while (!answered) {  // a request may come too late
    TestClient client = Client();
    const TestAnswer answer = client.Get("/health");
    answered = answer.complete;
    EXPECT_EQ(answer.status, answered ? 200 : 0);
    EXPECT_TRUE(client.AtEnd());
  }
}

TEST_F(ServerTest, ReadersThatDoNotReadAreClosed) {
  TestClient loader = Client();
  for (int batch = 0; batch < 30; ++batch) {
    std::vector<std::string> events;
    for (int i = 0; i < 1000; ++i) events.push_back(EventText(fmt::format("{}-{}", batch, i)));
    ASSERT_EQ(loader.Post(Body(events)).status, 200);
  }
  server_.reset();
  options_.write_timeout_ms = 50;
  TestClient client = Client();
  const std::string target = fmt::format("/v1/accounts/acme/usage/events?{}", kRange);
  client.Send("GET " + target + " HTTP/1.1\r\n\r\nGET " + target + " HTTP/1.1\r\n\r\n");
  AwaitMetric("tallystick_http_connections 1");
  client.Read();
  EXPECT_FALSE(client.Read().complete) << "cut off, and to be seen as such";
}

TEST_F(ServerTest, ConnectionsAreCounted) {
  options_.connections_max = 2;
  TestClient first = Client();
  TestClient second = Client();
  EXPECT_EQ(first.Get("/health").status, 200);
  EXPECT_EQ(second.Get("/health").status, 200);
  TestClient third = Client();
  EXPECT_EQ(Code(third.Read()), "too_many_connections");
  EXPECT_TRUE(third.AtEnd());
}

// --- start and stop ---

TEST_F(ServerTest, StopAnswersWhatWasRead) {
  TestClient client = Client();
  std::vector<std::string> events;
  for (int i = 0; i < 2000; ++i) events.push_back(EventText(fmt::format("e{}", i)));
  const std::string body = Body(events);
  client.Send(
      fmt::format("POST /v1/usage/batch HTTP/1.1\r\ncontent-type: "
                  "application/json\r\ncontent-length: {}\r\n\r\n{}",
                  body.size(), body));
  TestClient idle = Client();
  ASSERT_EQ(idle.Get("/health").status, 200);
  server_->Stop();
  EXPECT_TRUE(idle.AtEnd());
  const TestAnswer answer = client.Read();
  if (answer.status == 200) {
    EXPECT_EQ(db_->VisibleLsn().value, 2000u);
  }
  EXPECT_TRUE(client.AtEnd());
  server_->Stop();
  ASSERT_TRUE(db_->Close().ok());
}

TEST_F(ServerTest, StopInTheMiddleOfEverything) {
  options_.stop_timeout_ms = 50;
  std::vector<std::unique_ptr<TestClient>> clients;
  TestClient loader = Client();
  std::vector<std::string> events;
  for (int i = 0; i < 5000; ++i) events.push_back(EventText(fmt::format("e{}", i)));
  ASSERT_EQ(loader.Post(Body(events)).status, 200);
  const std::string target = fmt::format("/v1/accounts/acme/usage/events?{}", kRange);
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<TestClient>(server_->port()));
    clients.back()->Send("GET " + target + " HTTP/1.1\r\n\r\nGET " + target + " HTTP/1.1\r\n\r\n");
    clients.push_back(std::make_unique<TestClient>(server_->port()));
    clients.back()->Send(
        "POST /v1/usage/batch HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: "
        "9\r\n\r\n{");
  }
  server_.reset();
  ASSERT_TRUE(db_->Close().ok()) << "nothing holds the database any more";
}

TEST_F(ServerTest, AnAddressInUseIsAnError) {
  Client();
  ServerOptions same;
  same.listen_port = server_->port();
  const auto second = Server::Start(*db_, same, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kIoError);
  same.listen_host = "no address";
  EXPECT_EQ(Server::Start(*db_, same, {}).status().code(), StatusCode::kIoError);
}

TEST_F(ServerTest, OptionsNameAllTheirFaults) {
  options_.pipeline_max = 0;
  options_.query_threads = 65;
  const Status status = options_.Validate();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("pipeline_max must be 1..1024, not 0"), std::string::npos);
  EXPECT_NE(status.message().find("query_threads must be 1..64, not 65"), std::string::npos);
  EXPECT_TRUE(ServerOptions().Validate().ok());
}

TEST_F(ServerTest, RefusedIngestSaysWhenToTryAgain) {
  OpenOptions options;
  options.batch_bytes_max = 1 << 20;
  options.wal_file_bytes = 4 << 20;
  options.batch_events_max = options.memtable_rows_max = 1;  // each event needs a memtable
  options.memtables_max = options.key_tables_max = 1;
  options.background_bytes_per_second = 1;  // no flush ends
  Db full = Db::Open(dir_.path() + "/full", options).value();
  options_.listen_port = 0;
  const auto server = Server::Start(full, options_, {}).value();
  TestClient client(server->port());
  ASSERT_EQ(client.Post(Body({EventText("a")})).status, 200);
  TestAnswer answer;
  for (const char* id : {"b", "c", "d", "e"}) {
    answer = client.Post(Body({EventText(id)}));
    if (answer.status != 200) break;
  }
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.headers.at("retry-after"), "1");
  EXPECT_EQ(Code(answer), "memory_full");
}

}  // namespace
}  // namespace tallystick
