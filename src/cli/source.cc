#include "cli/source.h"

#include <cstdio>

#include <fmt/format.h>

#include "base/result.h"
#include "cli/http_client.h"
#include "cli/json_rows.h"
#include "server/query_string.h"
#include "server/reads.h"
#include "server/routes.h"

namespace tallystick {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

Status CheckType(const Request& request, std::string_view content_type) {
  if (!request.csv || content_type.starts_with("text/csv")) return Status::Ok();
  return Status::Unavailable("no_csv",
                             fmt::format("asked for CSV, got `{:.80}`: this answer has no rows, or "
                                         "the server is of an older version",
                                         content_type));
}

class HttpSource final : public Source {
 public:
  explicit HttpSource(HttpClient client) : client_(std::move(client)) {}

  Result<Reply> Ask(const Request& request) override {
    const std::string_view accept = request.csv ? "text/csv" : "application/json";
    TALLY_ASSIGN_OR_RETURN(HttpResponse response,
                           request.body ? client_.PostJson(request.target, *request.body, accept)
                                        : client_.Get(request.target, accept));
    if (response.status != 200) return StatusOfProblem(response.status, response.body);
    TALLY_RETURN_IF_ERROR(CheckType(request, response.content_type));
    return Reply{std::move(response.body), std::move(response.next_cursor)};
  }

 private:
  HttpClient client_;
};

class DbSource final : public Source {
 public:
  explicit DbSource(Db db) : db_(std::move(db)) {}

  Result<Reply> Ask(const Request& request) override {
    TALLY_ASSIGN_OR_RETURN(const Target target, Target::Parse(request.target));
    const RouteMatch match = MatchRoute(target.segments);
    if (match.route == Route::kNone) {
      return Status::NotFound("not_found", fmt::format("no such path: {}", request.target));
    }
    ReadReply reply = RunRead(db_, match.route, match.parameter, target.query,
                              {.body = request.body ? std::string_view(*request.body) : "",
                               .format = request.csv ? RowFormat::kCsv : RowFormat::kJson});
    if (reply.answer.status != 200) {
      return StatusOfProblem(reply.answer.status, reply.answer.body);
    }
    TALLY_RETURN_IF_ERROR(CheckType(request, reply.answer.content_type));
    Reply whole{std::move(reply.answer.body), std::move(reply.answer.next_cursor)};
    for (bool last = reply.stream == nullptr; !last;) {
      TALLY_ASSIGN_OR_RETURN(const RowStream::Piece piece, reply.stream->Next(kPieceBytes));
      whole.text += piece.text;
      last = piece.last;
    }
    return whole;
  }

 private:
  Db db_;
};

}  // namespace

std::string MakeTarget(const std::vector<std::string>& segments, const Parameters& parameters) {
  std::string target;
  for (const std::string& segment : segments) target += '/' + PercentEncode(segment);
  char separator = '?';
  for (const auto& [name, value] : parameters) {
    target += separator + PercentEncode(name) + '=' + PercentEncode(value);
    separator = '&';
  }
  return target;
}

Result<std::unique_ptr<Source>> Source::Open(const std::string& url, const std::string& data) {
  if (!url.empty()) {
    TALLY_ASSIGN_OR_RETURN(HttpClient client, HttpClient::Create(url));
    return std::unique_ptr<Source>(std::make_unique<HttpSource>(std::move(client)));
  }
  OpenOptions options;
  options.create_if_missing = false;
  options.log = StderrLog();
  TALLY_ASSIGN_OR_RETURN(Db db, Db::Open(data, options));
  return std::unique_ptr<Source>(std::make_unique<DbSource>(std::move(db)));
}

Status StatusOfProblem(int http_status, std::string_view body) {
  StatusCode code = StatusCode::kInvalidArgument;
  if (http_status == 404) code = StatusCode::kNotFound;
  if (http_status >= 500) code = StatusCode::kIoError;
  if (http_status == 503) code = StatusCode::kUnavailable;
  if (const auto problem = ReadJsonRows(body, ""); problem.ok()) {
    const std::string& reason = Member(problem->top, "code");
    if (!reason.empty()) return {code, reason, Member(problem->top, "detail")};
  }
  return {code, "http_error", fmt::format("HTTP status {}: {:.200}", http_status, body)};
}

LogSink StderrLog() {
  return [](LogLevel level, std::string_view message) {
    if (level != LogLevel::kInfo) fmt::print(stderr, "tallystick: {}\n", message);
  };
}

}  // namespace tallystick
