#include "cli/json_rows.h"

#include <gtest/gtest.h>

#include "cli/http_client.h"
#include "cli/source.h"

namespace tallystick {
namespace {

TEST(JsonRows, KeepsNumbersAsTheyAreWritten) {
  const auto read =
      ReadJsonRows(R"({"events":[{"quantity":170141183460469231731687303715884105727,)"
                   R"("e":{"a":"x\ny","n":null}},)"
                   R"({"quantity":0.100000000001 }],"lsn":18446744073709551615,"list":[1, 2]})",
                   "events");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->rows.size(), 2u);
  EXPECT_EQ(Member(read->rows[0], "quantity"), "170141183460469231731687303715884105727");
  EXPECT_EQ(Member(read->rows[0], "e.a"), "x\ny");
  EXPECT_EQ(Member(read->rows[0], "e.n"), "");
  EXPECT_EQ(Member(read->rows[1], "quantity"), "0.100000000001");
  EXPECT_EQ(Member(read->top, "lsn"), "18446744073709551615");
  EXPECT_EQ(Member(read->top, "list"), "[1, 2]");
  EXPECT_EQ(Member(read->top, "absent"), "");
}

TEST(JsonRows, RefusesWhatIsNotSuchADocument) {
  EXPECT_FALSE(ReadJsonRows("<html>", "lines").ok());
  EXPECT_FALSE(ReadJsonRows("", "lines").ok());
  EXPECT_FALSE(ReadJsonRows(R"({"lines":1})", "lines").ok());
}

TEST(JsonRows, ReadsArraysInside) {
  const auto rows = ReadJsonArray(R"([{"a":1},{"b":{"c":"x"}}])");
  ASSERT_TRUE(rows.ok()) << rows.status().message();
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ(Member((*rows)[0], "a"), "1");
  EXPECT_EQ(Member((*rows)[1], "b.c"), "x");
  EXPECT_TRUE(ReadJsonArray("")->empty());
  EXPECT_FALSE(ReadJsonArray("[1]").ok());
  EXPECT_FALSE(ReadJsonArray("[{]").ok());

  const auto texts = ReadJsonTexts(R"(["a","b\nc"])");
  ASSERT_TRUE(texts.ok()) << texts.status().message();
  EXPECT_EQ(*texts, (std::vector<std::string>{"a", "b\nc"}));
  EXPECT_TRUE(ReadJsonTexts("")->empty());
  EXPECT_FALSE(ReadJsonTexts("[1]").ok());
}

TEST(StatusOfProblem, TakesCodeAndDetail) {
  const Status problem =
      StatusOfProblem(503, R"({"code":"queue_full","detail":"later","status":503})");
  EXPECT_EQ(problem.code(), StatusCode::kUnavailable);
  EXPECT_EQ(problem.reason(), "queue_full");
  EXPECT_EQ(problem.message(), "later");
  EXPECT_EQ(StatusOfProblem(502, "<html>").reason(), "http_error");
}

TEST(MakeTarget, EncodesEverythingThatIsNotPlain) {
  EXPECT_EQ(MakeTarget({"v1", "accounts", "a/b c?", "usage"}, {{"from", "+1"}, {"x", "ä&"}}),
            "/v1/accounts/a%2Fb%20c%3F/usage?from=%2B1&x=%C3%A4%26");
}

TEST(HttpClient, ChecksTheUrlBeforeAnythingIsSent) {
  for (const char* good :
       {"http://a", "http://127.0.0.1:8080", "http://[::1]:80/", "http://[::1]"}) {
    EXPECT_TRUE(HttpClient::Create(good).ok()) << good;
  }
  for (const char* bad : {"", "a:80", "https://a", "http://", "http://a:", "http://a:x",
                          "http://a/b", "http://u@a", "http://a:123456"}) {
    EXPECT_FALSE(HttpClient::Create(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace tallystick
