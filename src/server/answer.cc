#include "server/answer.h"

#include <chrono>
#include <iterator>

#include <fmt/format.h>

#include "server/problem.h"

namespace tallystick {
namespace {

constexpr uint32_t kRetryAfterSeconds = 1;

void AppendHead(std::string& out, const Answer& answer, const AnswerFraming& framing) {
  auto end = std::back_inserter(out);
  fmt::format_to(end, "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ndate: {}\r\n", answer.status,
                 HttpReason(answer.status), answer.content_type, framing.date);
  if (!framing.keep_alive) out += "connection: close\r\n";
  if (!answer.allow.empty()) fmt::format_to(end, "allow: {}\r\n", answer.allow);
  if (answer.retry_after_s > 0) fmt::format_to(end, "retry-after: {}\r\n", answer.retry_after_s);
  if (answer.lsn) fmt::format_to(end, "tally-lsn: {}\r\n", answer.lsn->value);
  if (!answer.next_cursor.empty()) {
    fmt::format_to(end, "tally-next-cursor: {}\r\n", answer.next_cursor);
  }
  out += answer.headers;
}

}  // namespace

Answer Answer::Problem(const Status& status) {
  const ProblemKind& kind = ProblemOf(status);
  Answer answer{.status = kind.http_status,
                .content_type = kProblemType,
                .body = ProblemToJson(kind, status.message())};
  if (kind.http_status == 503) answer.retry_after_s = kRetryAfterSeconds;
  return answer;
}

void AppendAnswer(std::string& out, const Answer& answer, const AnswerFraming& framing) {
  out.reserve(out.size() + answer.body.size() + 256);
  AppendHead(out, answer, framing);
  fmt::format_to(std::back_inserter(out), "content-length: {}\r\n\r\n", answer.body.size());
  if (!framing.head_only) out += answer.body;
}

void AppendStreamHead(std::string& out, const Answer& answer, bool chunked,
                      const AnswerFraming& framing) {
  AppendHead(out, answer, framing);
  if (chunked) out += "transfer-encoding: chunked\r\n";
  out += "\r\n";
}

void AppendChunk(std::string& out, std::string_view data) {
  if (data.empty()) return;  // an empty chunk would be the last one
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", data.size());
  out += data;
  out += "\r\n";
}

void AppendLastChunk(std::string& out) { out += "0\r\n\r\n"; }

std::string FormatHttpDate(int64_t epoch_s) {
  static constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::chrono::sys_seconds time{std::chrono::seconds(epoch_s)};
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(days);
  const int64_t s = (time - days).count();
  return fmt::format(
      "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[std::chrono::weekday(days).c_encoding()],
      static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
      static_cast<int>(date.year()), s / 3600, s / 60 % 60, s % 60);
}

}  // namespace tallystick
