// Where the commands that read get their answers: a server's URL, or a database directory. Both
// answer the same requests (docs/api.md) with the same JSON.
//
// Thread rule: one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tallystick/db.h"
#include "tallystick/status.h"

namespace tallystick {

// Builds the target of a GET: path segments and parameters, percent-encoded.
std::string MakeTarget(const std::vector<std::string>& segments,
                       const std::vector<std::pair<std::string, std::string>>& parameters);

class Source {
 public:
  virtual ~Source() = default;
  // The JSON of an answer with status 200; any other is a Status with the problem's code and
  // detail.
  virtual Result<std::string> Get(const std::string& target) = 0;

  // Exactly one of the two is given. A directory must hold a database; it is opened (and recovered
  // if need be) and locked as long as the source lives.
  static Result<std::unique_ptr<Source>> Open(const std::string& url, const std::string& data);
};

// Turns an answer that is not 200 into the Status it stands for.
Status StatusOfProblem(int http_status, std::string_view body);

// Warnings and errors of the engine go to stderr.
LogSink StderrLog();

}  // namespace tallystick
