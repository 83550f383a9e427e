#include "bench/http_load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <deque>

#include "bench/bench_util.h"

namespace tallystick::bench {
namespace {

struct Connection {
  int fd = -1;
  std::string request;               // template, ids patched for each use
  std::vector<size_t> id_positions;  // in request
  size_t sent = 0;
  std::string answer;
  double due = 0;  // of the request in flight
  bool busy = false;
  double again_at = 0;  // refused: to be sent again then
};

constexpr double kPauseSeconds = 0.005;  // after a refusal

class Load {
 public:
  explicit Load(const LoadSpec& spec) : spec_(spec), next_event_(spec.first_event) {}

  LoadResult Run() {
    epoll_ = epoll_create1(0);
    connections_.resize(static_cast<size_t>(spec_.connections));
    for (size_t i = 0; i < connections_.size() && result_.fault.empty(); ++i) Open(i);
    const double start = NowSeconds();
    const double end = start + spec_.seconds;
    double next_due = start;
    while (result_.fault.empty()) {
      const double now = NowSeconds();
      if (now >= end && in_flight_ == 0) break;
      SendAgain(now);
      if (now < end) StartDue(now, next_due);
      Poll(now, end, next_due);
    }
    result_.seconds = NowSeconds() - start;
    result_.next_event = next_event_;
    for (Connection& c : connections_) close(c.fd);
    close(epoll_);
    return std::move(result_);
  }

 private:
  void Open(size_t index) {
    Connection& c = connections_[index];
    c.fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(spec_.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      result_.fault = "cannot connect";
      return;
    }
    const int one = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = index;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event);
    MakeTemplate(index, c);
    idle_.push_back(index);
  }

  void MakeTemplate(size_t index, Connection& c) {
    std::string body = R"({"events":[)";
    std::vector<size_t> positions;
    for (int i = 0; i < spec_.events_per_request; ++i) {
      size_t id_at;
      const std::string event = EventSource::Json(
          index * static_cast<size_t>(spec_.events_per_request) + static_cast<size_t>(i), &id_at);
      if (i > 0) body += ',';
      positions.push_back(body.size() + id_at);
      body += event;
    }
    body += "]}";
    c.request = fmt::format(
        "POST /v1/usage/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\n\r\n",
        body.size());
    for (size_t at : positions) c.id_positions.push_back(c.request.size() + at);
    c.request += body;
  }

  void StartDue(double now, double& next_due) {
    if (spec_.requests_per_second <= 0) {
      while (!idle_.empty()) StartOne(now);
      return;
    }
    while (next_due <= now && !idle_.empty()) {
      StartOne(next_due);
      next_due += 1 / spec_.requests_per_second;
    }
  }

  void StartOne(double due) {
    const size_t index = idle_.front();
    idle_.pop_front();
    Connection& c = connections_[index];
    for (size_t at : c.id_positions) EventSource::WriteId(next_event_++, c.request.data() + at);
    c.due = due;
    c.sent = 0;
    c.busy = true;
    ++in_flight_;
    Send(index, c);
  }

  void SendAgain(double now) {
    std::erase_if(refused_, [&](size_t index) {
      Connection& c = connections_[index];
      if (c.again_at > now) return false;
      c.sent = 0;
      Send(index, c);
      return true;
    });
  }

  void Send(size_t index, Connection& c) {
    while (c.sent < c.request.size()) {
      const ssize_t n =
          send(c.fd, c.request.data() + c.sent, c.request.size() - c.sent, MSG_NOSIGNAL);
      if (n < 0) {
        if (errno != EAGAIN) result_.fault = fmt::format("send: {}", std::strerror(errno));
        break;
      }
      c.sent += static_cast<size_t>(n);
    }
    epoll_event event{};
    event.events = EPOLLIN | (c.sent < c.request.size() ? EPOLLOUT : 0u);
    event.data.u64 = index;
    if (spec_.events_per_request > 1) epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event);
  }

  void Poll(double now, double end, double next_due) {
    int wait_ms = refused_.empty() ? 1000 : 1;
    if (spec_.requests_per_second > 0 && now < end && !idle_.empty()) {
      // A millisecond is too coarse to pace with: spin through the rest.
      wait_ms = next_due - now > 0.002 ? 1 : 0;
    }
    epoll_event events[64];
    const int n = epoll_wait(epoll_, events, 64, wait_ms);
    for (int i = 0; i < n; ++i) {
      Connection& c = connections_[events[i].data.u64];
      if ((events[i].events & EPOLLOUT) != 0) Send(events[i].data.u64, c);
      if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Receive(events[i].data.u64, c);
    }
  }

  void Receive(size_t index, Connection& c) {
    char buffer[16384];
    const ssize_t n = recv(c.fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      result_.fault = "the server closed the connection";
      return;
    }
    c.answer.append(buffer, static_cast<size_t>(n));
    const size_t head = c.answer.find("\r\n\r\n");
    if (head == std::string::npos) return;
    const char* const length_at = strcasestr(c.answer.c_str(), "\r\ncontent-length: ");
    if (length_at == nullptr || length_at > c.answer.c_str() + head) {
      result_.fault = "an answer without Content-Length: " + c.answer.substr(0, 200);
      return;
    }
    const size_t length = std::strtoull(length_at + 18, nullptr, 10);
    if (c.answer.size() < head + 4 + length) return;
    Finish(index, c);
  }

  void Finish(size_t index, Connection& c) {
    if (c.answer.compare(0, 12, "HTTP/1.1 503") == 0) {
      ++result_.refused;
      c.answer.clear();
      c.again_at = NowSeconds() + kPauseSeconds;
      refused_.push_back(index);
      return;
    }
    const std::string expected = fmt::format("\"accepted\":{},", spec_.events_per_request);
    if (c.answer.compare(0, 12, "HTTP/1.1 200") != 0 ||
        c.answer.find(expected) == std::string::npos) {
      result_.fault = "not all accepted: " + c.answer.substr(0, 400);
      return;
    }
    result_.latency_s.push_back(NowSeconds() - c.due);
    ++result_.requests;
    result_.events += static_cast<uint64_t>(spec_.events_per_request);
    c.answer.clear();
    c.busy = false;
    --in_flight_;
    idle_.push_back(index);
  }

  LoadSpec spec_;
  LoadResult result_;
  std::vector<Connection> connections_;
  std::deque<size_t> idle_;
  std::vector<size_t> refused_;  // connections whose request is sent again
  int epoll_ = -1;
  int in_flight_ = 0;
  uint64_t next_event_;
};

}  // namespace

LoadResult RunLoad(const LoadSpec& spec) { return Load(spec).Run(); }

}  // namespace tallystick::bench
