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

class HttpSource final : public Source {
 public:
  explicit HttpSource(HttpClient client) : client_(std::move(client)) {}

  Result<std::string> Get(const std::string& target) override {
    TALLY_ASSIGN_OR_RETURN(HttpResponse response, client_.Get(target));
    if (response.status != 200) return StatusOfProblem(response.status, response.body);
    return std::move(response.body);
  }

 private:
  HttpClient client_;
};

class DbSource final : public Source {
 public:
  explicit DbSource(Db db) : db_(std::move(db)) {}

  Result<std::string> Get(const std::string& text) override {
    TALLY_ASSIGN_OR_RETURN(const Target target, Target::Parse(text));
    const RouteMatch match = MatchRoute(target.segments);
    ReadReply reply = RunRead(db_, match.route, match.parameter, target.query);
    if (!reply.stream) {
      if (reply.answer.status != 200) {
        return StatusOfProblem(reply.answer.status, reply.answer.body);
      }
      return std::move(reply.answer.body);
    }
    std::string body;
    for (bool last = false; !last;) {
      TALLY_ASSIGN_OR_RETURN(const RowStream::Piece piece, reply.stream->Next(kPieceBytes));
      body += piece.text;
      last = piece.last;
    }
    return body;
  }

 private:
  Db db_;
};

}  // namespace

std::string MakeTarget(const std::vector<std::string>& segments,
                       const std::vector<std::pair<std::string, std::string>>& parameters) {
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
