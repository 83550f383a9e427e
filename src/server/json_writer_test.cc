#include "server/json_writer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <boost/json/parse.hpp>

#include "server/answer.h"

namespace tallystick {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

TEST(JsonWriter, EscapesWhatJsonRequires) {
  EXPECT_EQ(Quoted(""), "\"\"");
  EXPECT_EQ(Quoted("a\"b\\c\nd\re\tf"), R"("a\"b\\c\nd\re\tf")");
  EXPECT_EQ(Quoted(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\x7f\"");
  EXPECT_EQ(Quoted("\xC3\xA4/"), "\"\xC3\xA4/\"");
}

RC_GTEST_PROP(JsonWriter, StringsReadBack, (const std::string& raw)) {
  std::string text = raw;
  for (char& c : text) c = static_cast<char>(c & 0x7f);
  RC_ASSERT(boost::json::parse(Quoted(text)).as_string() == text);
}

TEST(JsonWriter, EventsOfAnySize) {
  Event event;
  event.event_id = "e";
  event.quantity = Quantity::Parse("-170141183460469231731687303715884105728").value();
  event.timestamp_ms = INT64_MIN;
  const std::string text = EventToJson(event);
  EXPECT_NE(text.find("\"quantity\":-170141183460469231731687303715884105728,"), std::string::npos);
  EXPECT_NE(text.find("\"timestamp_ms\":-9223372036854775808,"), std::string::npos);
}

TEST(Answer, ProblemsAreDocumentsWithTheirStatus) {
  const Answer answer = Answer::Problem(Status::Unavailable("queue_full", "a \xFF b"));
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.retry_after_s, 1u);
  EXPECT_EQ(answer.body, R"({"code":"queue_full","detail":"a ? b","status":503,)"
                         R"("title":"The commit queue is full","type":"about:blank"})");
  EXPECT_EQ(Answer::Problem(Status::IoError("x")).status, 500);
  EXPECT_EQ(Answer::Problem(Status::InvalidArgument("never_heard_of", "x")).status, 400);
  EXPECT_EQ(Answer::Problem(Status::Corruption("x")).retry_after_s, 0u);
}

TEST(Answer, TheHeadIsWhole) {
  std::string bytes;
  AppendAnswer(bytes, Answer::Text("OK"), {.keep_alive = false, .date = "now"});
  EXPECT_EQ(bytes,
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ndate: now\r\n"
            "connection: close\r\ncontent-length: 2\r\n\r\nOK");
  bytes.clear();
  AppendChunk(bytes, "");
  AppendChunk(bytes, std::string(26, 'x'));
  AppendLastChunk(bytes);
  EXPECT_EQ(bytes, "1a\r\n" + std::string(26, 'x') + "\r\n0\r\n\r\n");
  EXPECT_EQ(FormatHttpDate(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
}

}  // namespace
}  // namespace tallystick
