// Errors as RFC 9457 problem documents, each with a stable code and the right HTTP status.
//
// Thread rule: pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tallystick/status.h"

namespace tallystick {

struct ProblemKind {
  std::string_view code;
  int http_status;
  std::string_view title;
};

// Every code that an answer can carry; docs/api.md lists them all (a test compares).
std::span<const ProblemKind> ProblemKinds();

// The kind of an error: by its reason where that is a known code, else by its coarse code.
const ProblemKind& ProblemOf(const Status& status);

// {"code":...,"detail":...,"status":...,"title":...,"type":"about:blank"}. `detail` may be any
// bytes.
std::string ProblemToJson(const ProblemKind& kind, std::string_view detail);

// "Bad Request"; "Unknown" for a status that this server does not send.
std::string_view HttpReason(int http_status);

}  // namespace tallystick
