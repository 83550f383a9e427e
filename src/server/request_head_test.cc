#include "server/request_head.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tallystick {
namespace {

std::string Fault(std::string_view bytes, uint32_t header_count_max = 100) {
  RequestHead head;
  const Status status = ParseRequestHead(bytes, header_count_max, &head);
  return status.ok() ? "ok" : std::string(status.reason());
}

TEST(RequestHead, TakesWhatTheServerNeeds) {
  RequestHead head;
  ASSERT_TRUE(
      ParseRequestHead("POST /v1/usage/batch?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n"
                       "CONTENT-type:  application/json ; charset=utf-8\r\n"
                       "content-encoding: gzip\r\nExpect: 100-Continue\r\n\r\n",
                       100, &head)
          .ok());
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/v1/usage/batch?x=1");
  EXPECT_EQ(head.content_type, "application/json ; charset=utf-8");
  EXPECT_EQ(head.content_encoding, "gzip");
  EXPECT_EQ(head.content_length, 12u);
  EXPECT_TRUE(head.expects_continue);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_TRUE(head.http11);
  EXPECT_FALSE(head.chunked);
}

TEST(RequestHead, NothingIsLeftOverFromTheHeadBefore) {
  RequestHead head;
  ASSERT_TRUE(ParseRequestHead("POST / HTTP/1.1\r\ncontent-type: a\r\ncontent-encoding: b\r\n"
                               "expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
                               100, &head)
                  .ok());
  ASSERT_TRUE(ParseRequestHead("GET / HTTP/1.0\r\n\r\n", 100, &head).ok());
  EXPECT_EQ(head.content_type, "");
  EXPECT_EQ(head.content_encoding, "");
  EXPECT_FALSE(head.expects_continue);
  EXPECT_FALSE(head.content_length.has_value());
  EXPECT_FALSE(head.keep_alive);
  EXPECT_FALSE(head.http11);
}

TEST(RequestHead, WhetherTheConnectionStays) {
  RequestHead head;
  ASSERT_TRUE(ParseRequestHead("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 9, &head).ok());
  EXPECT_FALSE(head.keep_alive);
  ASSERT_TRUE(ParseRequestHead("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 9, &head).ok());
  EXPECT_TRUE(head.keep_alive);
}

TEST(RequestHead, AmbiguousLengthsAreRefused) {
  const std::string post = "POST / HTTP/1.1\r\n";
  EXPECT_EQ(Fault(post + "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
            "invalid_request");
  EXPECT_EQ(Fault(post + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n"),
            "invalid_request");
  EXPECT_EQ(Fault(post + "content-length: 5\r\ncontent-length: 6\r\n\r\n"), "invalid_request");
  EXPECT_EQ(Fault(post + "content-length: -1\r\n\r\n"), "invalid_request");
  EXPECT_EQ(Fault(post + "content-length: 99999999999999999999\r\n\r\n"), "invalid_request");
  EXPECT_EQ(Fault(post + "transfer-encoding: gzip\r\n\r\n"), "unsupported_transfer_encoding");
  EXPECT_EQ(Fault(post + "transfer-encoding: chunked, gzip\r\n\r\n"),
            "unsupported_transfer_encoding");
}

TEST(RequestHead, BrokenHeadsAreRefused) {
  for (const char* bytes :
       {"GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\na b: c\r\n\r\n", "GET / HTTP/1.1\r\na: b\x01\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n"}) {
    EXPECT_EQ(Fault(bytes), "invalid_request") << bytes;
  }
}

TEST(RequestHead, HeadersAreCounted) {
  std::string head = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 5; ++i) head += "a: b\r\n";
  EXPECT_EQ(Fault(head + "\r\n", 5), "ok");
  EXPECT_EQ(Fault(head + "\r\n", 4), "headers_too_large");
}

TEST(RequestHead, OnlyOneExpectationIsKnown) {
  EXPECT_EQ(Fault("GET / HTTP/1.1\r\nexpect: coffee\r\n\r\n"), "expectation_failed");
}

TEST(FindHeadEnd, TheEndMayBeCutAnywhere) {
  const std::string bytes = "GET / HTTP/1.1\r\n\r\nbody";
  const size_t end = bytes.size() - 4;
  for (size_t seen = 0; seen < end; ++seen) {
    EXPECT_EQ(FindHeadEnd(bytes.substr(0, seen), 0), 0u);
    EXPECT_EQ(FindHeadEnd(bytes, seen), end) << seen;
  }
}

RC_GTEST_PROP(RequestHead, AnyBytesGiveAHeadOrAnError, (const std::string& bytes)) {
  Fault("GET / HTTP/1.1\r\n" + bytes + "\r\n\r\n");
  Fault(bytes + "\r\n\r\n");
}

TEST(RequestHead, CsvIsWantedWhereItIsNamedFirst) {
  for (const char* accept : {"text/csv", "TEXT/CSV; q=0.1", "*/*, text/csv,application/json"}) {
    EXPECT_TRUE(PrefersCsv(accept)) << accept;
  }
  for (const char* accept :
       {"", "*/*", "text/*", "application/json,text/csv", "text/csvx", ",;,"}) {
    EXPECT_FALSE(PrefersCsv(accept)) << accept;
  }
}

}  // namespace
}  // namespace tallystick
