// Where the commands that read get their answers: a server's URL, or a database directory. Both
// answer the same requests (docs/api.md) with the same bytes.
//
// Thread rule: one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tallystick/db.h"
#include "tallystick/status.h"

namespace tallystick {

using Parameters = std::vector<std::pair<std::string, std::string>>;

// Builds a target: path segments and parameters, percent-encoded.
std::string MakeTarget(const std::vector<std::string>& segments, const Parameters& parameters);

struct Request {
  std::string target;
  std::optional<std::string> body;  // JSON, of a POST; none: a GET
  bool csv = false;                 // CSV is wanted, not JSON
};

struct Reply {
  std::string text;
  std::string next_cursor;  // of CSV that is a page and not the last; in JSON it stands in the text
};

class Source {
 public:
  virtual ~Source() = default;
  // The answer with status 200; any other is a Status with the problem's code and detail.
  // kUnavailable `no_csv` if CSV is wanted and something else comes.
  virtual Result<Reply> Ask(const Request& request) = 0;

  // Exactly one of the two is given. A directory must hold a database; it is opened (and recovered
  // if need be) and locked as long as the source lives.
  static Result<std::unique_ptr<Source>> Open(const std::string& url, const std::string& data);
};

// Turns an answer that is not 200 into the Status it stands for.
Status StatusOfProblem(int http_status, std::string_view body);

// Warnings and errors of the engine go to stderr.
LogSink StderrLog();

}  // namespace tallystick
