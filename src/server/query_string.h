// The target of a request: path segments and query parameters, percent-decoded and checked to be
// UTF-8.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tallystick/status.h"

namespace tallystick {

// The parameters behind '?', in the form of HTML forms: '+' is a blank, %XX a byte.
class QueryString {
 public:
  // kInvalidArgument `invalid_url`: a broken %XX, or not UTF-8.
  static Result<QueryString> Parse(std::string_view text);

  // none: absent. kInvalidArgument `duplicate_parameter` if it occurs twice.
  Result<std::optional<std::string_view>> Get(std::string_view name) const;
  // kInvalidArgument `missing_parameter`, or as Get.
  Result<std::string_view> Require(std::string_view name) const;
  // A decimal number within min..max; `invalid_parameter` if it is none.
  Result<std::optional<uint64_t>> GetUint(std::string_view name, uint64_t min, uint64_t max) const;
  // "true" or "false"; absent is false; `invalid_parameter` for another value.
  Result<bool> GetBool(std::string_view name) const;

  // In the order given.
  const std::vector<std::pair<std::string, std::string>>& parameters() const { return parameters_; }

 private:
  std::vector<std::pair<std::string, std::string>> parameters_;
};

struct Target {
  std::vector<std::string>
      segments;  // "/v1/a%2Fb" -> "v1", "a/b"; a trailing slash gives a last ""
  QueryString query;

  // Origin form ("/path?query") or absolute form ("http://host/path?query"). kInvalidArgument
  // `invalid_url`.
  static Result<Target> Parse(std::string_view text);
};

}  // namespace tallystick
