#include "server/request_head.h"

#include <algorithm>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include "base/text.h"

namespace tallystick {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using boost::core::string_view;

// Takes from Beast's parser what this server wants to know, and keeps nothing else.
class HeadParser final : public http::basic_parser<true> {
 public:
  HeadParser(uint32_t header_count_max, RequestHead* head)
      : header_count_max_(header_count_max), head_(head) {}

  Status fault() const { return fault_; }
  bool other_transfer_encoding() const { return transfer_encoding_ && !chunked(); }

 private:
  static std::string_view View(string_view text) { return {text.data(), text.size()}; }

  static void Join(std::string& all, std::string_view value) {
    if (!all.empty()) all += ", ";
    all += value;
  }

  void Refuse(std::string_view reason, std::string_view message, error_code& ec) {
    fault_ = Status::InvalidArgument(reason, message);
    ec = http::error::bad_field;
  }

  void on_request_impl(http::verb, string_view method, string_view target, int version,
                       error_code&) override {
    head_->method = View(method);
    head_->target = View(target);
    head_->http11 = version >= 11;
  }

  void on_response_impl(int, string_view, int, error_code&) override {}  // a request has none

  void on_field_impl(http::field name, string_view, string_view value, error_code& ec) override {
    if (++header_count_ > header_count_max_) {
      Refuse("headers_too_large", fmt::format("more than {} headers", header_count_max_), ec);
      return;
    }
    switch (name) {
      case http::field::content_type:
        return Join(head_->content_type, View(value));
      case http::field::content_encoding:
        return Join(head_->content_encoding, View(value));
      case http::field::accept:
        return Join(head_->accept, View(value));
      case http::field::transfer_encoding:
        transfer_encoding_ = true;
        return;
      case http::field::expect:
        head_->expects_continue = true;
        if (!EqualsIgnoringCase(View(value), "100-continue")) {
          Refuse("expectation_failed", "only `expect: 100-continue` is known", ec);
        }
        return;
      default:
        return;
    }
  }

  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(string_view, error_code&) override { return 0; }
  void on_chunk_header_impl(uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(uint64_t, string_view, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}

  const uint32_t header_count_max_;
  RequestHead* head_;
  uint32_t header_count_ = 0;
  bool transfer_encoding_ = false;
  Status fault_;
};

}  // namespace

Status ParseRequestHead(std::string_view bytes, uint32_t header_count_max, RequestHead* head) {
  head->content_type.clear();
  head->content_encoding.clear();
  head->accept.clear();
  head->expects_continue = false;
  HeadParser parser(header_count_max, head);
  parser.header_limit(static_cast<uint32_t>(bytes.size()) + 1);
  parser.body_limit(boost::none);  // bounded by the connection, which knows which bound applies
  error_code ec;
  parser.put(boost::asio::buffer(bytes.data(), bytes.size()), ec);
  if (!parser.fault().ok()) return parser.fault();
  if (ec || !parser.is_header_done()) {
    return Status::InvalidArgument("invalid_request", ec ? ec.message() : "the head is incomplete");
  }
  if (parser.other_transfer_encoding()) {
    return Status::InvalidArgument("unsupported_transfer_encoding",
                                   "only `chunked`, once, is read");
  }
  head->chunked = parser.chunked();
  head->keep_alive = parser.keep_alive();
  head->content_length.reset();
  if (const auto length = parser.content_length()) head->content_length = *length;
  return Status::Ok();
}

bool PrefersCsv(std::string_view accept) {
  while (!accept.empty()) {
    const size_t end = std::min(accept.find(','), accept.size());
    const std::string_view range = accept.substr(0, end);
    accept.remove_prefix(std::min(end + 1, accept.size()));
    const std::string_view type = TrimBlanks(range.substr(0, range.find(';')));
    if (EqualsIgnoringCase(type, "text/csv")) return true;
    if (EqualsIgnoringCase(type, "application/json")) return false;
  }
  return false;
}

size_t FindHeadEnd(std::string_view bytes, size_t from) {
  constexpr std::string_view kEmptyLine = "\r\n\r\n";
  // The mark may have begun in what was seen already.
  const size_t at = bytes.find(kEmptyLine, from < 3 ? 0 : from - 3);
  return at == std::string_view::npos ? 0 : at + kEmptyLine.size();
}

}  // namespace tallystick
