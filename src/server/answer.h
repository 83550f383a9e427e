// What is sent back, and its bytes.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tallystick/event.h"
#include "tallystick/status.h"

namespace tallystick {

inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kProblemType = "application/problem+json";
inline constexpr std::string_view kTextType = "text/plain; charset=utf-8";
inline constexpr std::string_view kCsvType = "text/csv; charset=utf-8";

struct Answer {
  int status = 200;
  std::string_view content_type = kJsonType;
  std::string body;
  std::string allow;           // of a 405
  uint32_t retry_after_s = 0;  // of a 503; 0: none
  std::string headers;         // more of them: lines, each ended by CRLF
  std::optional<Lsn> lsn;      // of CSV, which has no other place for it
  std::string next_cursor;     // likewise

  static Answer Json(std::string body) { return {.body = std::move(body)}; }
  static Answer Text(std::string body) {
    return {.content_type = kTextType, .body = std::move(body)};
  }
  // The problem document of an error; a 503 says when to try again.
  static Answer Problem(const Status& status);
};

struct AnswerFraming {
  bool keep_alive = true;
  bool head_only = false;  // HEAD: the length is told, the body is not sent
  std::string_view date;   // of the Date header
};

void AppendAnswer(std::string& out, const Answer& answer, const AnswerFraming& framing);

// The head of an answer whose length is not known (its body is left out): chunked, or ended by
// closing (HTTP/1.0).
void AppendStreamHead(std::string& out, const Answer& answer, bool chunked,
                      const AnswerFraming& framing);
void AppendChunk(std::string& out, std::string_view data);  // nothing for no data
void AppendLastChunk(std::string& out);

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string FormatHttpDate(int64_t epoch_s);

}  // namespace tallystick
