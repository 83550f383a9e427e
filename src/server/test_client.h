// For tests: a raw loopback socket, so that requests can be as wrong as they like, and a small
// reader of answers. Blocking, with a bound on every wait only by the peer's closing.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace tallystick {

struct TestAnswer {
  int status = 0;                              // 0: the connection ended before a whole answer came
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool complete = false;  // the body came to its stated end
};

class TestClient {
 public:
  // `host`: an IPv4 address in the host's byte order.
  explicit TestClient(uint16_t port, uint32_t host = INADDR_LOOPBACK)
      : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(host);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~TestClient() { ::close(socket_); }
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  // False once the peer has gone.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  void EndSending() { ::shutdown(socket_, SHUT_WR); }

  // The next answer; a final one unless `interim`.
  TestAnswer Read(bool head_only = false) {
    TestAnswer answer;
    size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!More()) return answer;
    }
    ParseHead(buffer_.substr(0, end + 2), &answer);
    buffer_.erase(0, end + 4);
    if (head_only || answer.status == 100) {
      answer.complete = true;
    } else if (answer.headers.contains("content-length")) {
      const size_t bytes = std::strtoull(answer.headers["content-length"].c_str(), nullptr, 10);
      answer.complete = ReadBytes(bytes, &answer.body);
    } else if (answer.headers.contains("transfer-encoding")) {
      answer.complete = ReadChunks(&answer.body);
    } else {
      while (More()) {
      }
      answer.body = std::exchange(buffer_, {});
      answer.complete = true;
    }
    return answer;
  }

  TestAnswer Get(std::string_view target) {
    Send("GET " + std::string(target) + " HTTP/1.1\r\nhost: t\r\n\r\n");
    return Read();
  }
  TestAnswer Post(std::string_view body, std::string_view target = "/v1/usage/batch",
                  std::string_view headers = "") {
    Send("POST " + std::string(target) +
         " HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n" + std::string(headers) +
         "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
    return Read();
  }

  // True if the peer ends the connection without a further byte.
  bool AtEnd() { return buffer_.empty() && !More() && buffer_.empty(); }

 private:
  bool More() {
    char bytes[16384];
    const ssize_t got = ::recv(socket_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    buffer_.append(bytes, static_cast<size_t>(got));
    return true;
  }

  bool ReadBytes(size_t bytes, std::string* out) {
    while (buffer_.size() < bytes) {
      if (!More()) return false;
    }
    out->append(buffer_, 0, bytes);
    buffer_.erase(0, bytes);
    return true;
  }

  bool ReadChunks(std::string* out) {
    for (;;) {
      size_t end = 0;
      while ((end = buffer_.find("\r\n")) == std::string::npos) {
        if (!More()) return false;
      }
      const size_t bytes = std::strtoull(buffer_.c_str(), nullptr, 16);
      buffer_.erase(0, end + 2);
      std::string line_end;
      if (!ReadBytes(bytes, out) || !ReadBytes(2, &line_end)) return false;
      if (bytes == 0) return true;
    }
  }

  static void ParseHead(std::string_view head, TestAnswer* answer) {
    answer->status = std::atoi(std::string(head.substr(9, 3)).c_str());
    head.remove_prefix(head.find("\r\n") + 2);
    while (!head.empty()) {
      const std::string_view line = head.substr(0, head.find("\r\n"));
      head.remove_prefix(line.size() + 2);
      const size_t colon = line.find(": ");
      answer->headers.emplace(line.substr(0, colon), line.substr(colon + 2));
    }
  }

  int socket_;
  std::string buffer_;
};

}  // namespace tallystick
