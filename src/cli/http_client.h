// A small HTTP/1.1 client for one server: one connection, kept alive, calls that block.
//
// Thread rule: one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tallystick/status.h"

namespace tallystick {

struct HttpResponse {
  int status = 0;
  std::string body;
  std::string content_type;
  std::string next_cursor;     // of a page of CSV; empty: none
  uint32_t retry_after_s = 0;  // 0: not said
};

class HttpClient {
 public:
  // "http://HOST[:PORT]"; connects at the first request. kInvalidArgument `invalid_url`.
  // `silence_max`: how long an answer may say nothing.
  static Result<HttpClient> Create(std::string_view url,
                                   std::chrono::seconds silence_max = std::chrono::seconds(60));
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;
  ~HttpClient();

  // kUnavailable `no_connection` if the server cannot be reached, breaks off, or is silent for
  // too long; whether it got the request is then unknown. A connection that was idle and has been
  // closed by the server is opened anew, once, and the request is sent again, so requests must be
  // such that sending them twice does no harm.
  // `accept` is the content type that is wanted.
  Result<HttpResponse> Get(std::string_view target, std::string_view accept);
  Result<HttpResponse> PostJson(std::string_view target, std::string body, std::string_view accept);

 private:
  class Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "a/b c" -> "a%2Fb%20c": safe as a path segment or as a query value.
std::string PercentEncode(std::string_view text);

}  // namespace tallystick
