#include "cli/http_client.h"

#include <charconv>
#include <chrono>

#include <fmt/format.h>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "base/result.h"

namespace tallystick {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::string_view kNextCursor = "Tally-Next-Cursor";

}  // namespace

class HttpClient::Impl {
 public:
  Impl(std::string host, std::string port, std::chrono::seconds silence_max)
      : host_(std::move(host)), port_(std::move(port)), silence_max_(silence_max) {}

  Result<HttpResponse> Send(http::request<http::string_body>& request) {
    request.set(http::field::host, host_ + ":" + port_);
    request.set(http::field::user_agent, "tallystick");
    request.prepare_payload();
    const bool reused = socket_.is_open();
    auto response = SendOnce(request);
    if (response.ok() || !reused) return response;
    return SendOnce(request);
  }

 private:
  // Runs what was started until it is done or has been silent for too long.
  void Run(error_code& error) {
    io_.restart();
    io_.run_for(silence_max_);
    if (io_.stopped()) return;
    Close();
    io_.run();
    error = asio::error::timed_out;
  }

  void Close() {
    error_code ignored;
    socket_.close(ignored);
    buffer_.clear();
  }

  Status Lost(std::string_view what, const error_code& error) {
    Close();
    return Status::Unavailable(
        "no_connection", fmt::format("{} http://{}:{}: {}", what, host_, port_, error.message()));
  }

  Status Connect() {
    error_code error;
    tcp::resolver resolver(io_);
    const auto endpoints = resolver.resolve(host_, port_, error);
    if (error) return Lost("resolve", error);
    asio::async_connect(
        socket_, endpoints,
        [&error](const error_code& result, const tcp::endpoint&) { error = result; });
    Run(error);
    if (error) return Lost("connect to", error);
    socket_.set_option(tcp::no_delay(true), error);
    return error ? Lost("connect to", error) : Status::Ok();
  }

  Result<HttpResponse> SendOnce(const http::request<http::string_body>& request) {
    if (!socket_.is_open()) TALLY_RETURN_IF_ERROR(Connect());
    error_code error;
    http::async_write(socket_, request,
                      [&error](const error_code& result, size_t) { error = result; });
    Run(error);
    if (error) return Lost("send to", error);

    http::response_parser<http::string_body> parser;
    parser.body_limit(boost::none);
    http::async_read_header(socket_, buffer_, parser,
                            [&error](const error_code& result, size_t) { error = result; });
    Run(error);
    // A long answer comes in pieces; each has its own time.
    while (!error && !parser.is_done()) {
      http::async_read_some(socket_, buffer_, parser,
                            [&error](const error_code& result, size_t) { error = result; });
      Run(error);
    }
    if (error) return Lost("read from", error);

    auto message = parser.release();
    HttpResponse response{
        .status = static_cast<int>(message.result_int()),
        .body = std::move(message.body()),
        .content_type = std::string(message[http::field::content_type]),
        .next_cursor = std::string(message[{kNextCursor.data(), kNextCursor.size()}])};
    const auto retry_after = message[http::field::retry_after];
    std::from_chars(retry_after.data(), retry_after.data() + retry_after.size(),
                    response.retry_after_s);
    if (!message.keep_alive()) Close();
    return response;
  }

  const std::string host_;
  const std::string port_;
  const std::chrono::seconds silence_max_;
  asio::io_context io_{1};
  tcp::socket socket_{io_};
  boost::beast::flat_buffer buffer_;
};

Result<HttpClient> HttpClient::Create(std::string_view url, std::chrono::seconds silence_max) {
  constexpr std::string_view kScheme = "http://";
  const auto invalid = [url] {
    return Status::InvalidArgument("invalid_url",
                                   fmt::format("`{}` is not http://HOST[:PORT]", url));
  };
  if (!url.starts_with(kScheme)) return invalid();
  std::string_view rest = url.substr(kScheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  std::string_view host = rest;
  std::string_view port = "80";
  const size_t colon = rest.rfind(':');
  // "[::1]:8080": a colon inside the brackets is none before a port.
  if (colon != std::string_view::npos && rest.find(']', colon) == std::string_view::npos) {
    host = rest.substr(0, colon);
    port = rest.substr(colon + 1);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const bool digits = port.find_first_not_of("0123456789") == std::string_view::npos;
  if (host.empty() || port.empty() || port.size() > 5 || !digits ||
      host.find_first_of("/?#@ ") != std::string_view::npos) {
    return invalid();
  }
  return HttpClient(std::make_unique<Impl>(std::string(host), std::string(port), silence_max));
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpResponse> HttpClient::Get(std::string_view target, std::string_view accept) {
  http::request<http::string_body> request(http::verb::get, {target.data(), target.size()}, 11);
  request.set(http::field::accept, {accept.data(), accept.size()});
  return impl_->Send(request);
}

Result<HttpResponse> HttpClient::PostJson(std::string_view target, std::string body,
                                          std::string_view accept) {
  http::request<http::string_body> request(http::verb::post, {target.data(), target.size()}, 11);
  request.set(http::field::accept, {accept.data(), accept.size()});
  request.set(http::field::content_type, "application/json");
  request.body() = std::move(body);
  return impl_->Send(request);
}

std::string PercentEncode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace tallystick
