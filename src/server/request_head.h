// The head of an HTTP/1.x request, read by Boost.Beast's parser.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tallystick/status.h"

namespace tallystick {

struct RequestHead {
  std::string method;
  std::string target;
  std::string content_type;      // several headers: joined by ", "
  std::string content_encoding;  // likewise
  std::string accept;            // likewise
  std::optional<uint64_t> content_length;
  bool chunked = false;
  bool http11 = false;
  bool keep_alive = false;
  bool expects_continue = false;

  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

// Reads `bytes`, which end with the empty line of the head. Reuses the strings of `head`. Errors,
// kInvalidArgument: invalid_request (also for a Content-Length beside a Transfer-Encoding, or two
// that differ), headers_too_large (more than header_count_max), unsupported_transfer_encoding,
// expectation_failed.
Status ParseRequestHead(std::string_view bytes, uint32_t header_count_max, RequestHead* head);

// Whether an Accept header asks for text/csv: names it, and not application/json before it.
bool PrefersCsv(std::string_view accept);

// The bytes of a head at the front of `bytes`, its empty line included; 0 if it is not complete.
// The search starts at `from` (what an earlier call has seen already).
size_t FindHeadEnd(std::string_view bytes, size_t from);

}  // namespace tallystick
