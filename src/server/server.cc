// The server's threads and its orderly end.
//
// Stop, in this order:
//  1. accept no more; connections read no further and close once what they read is answered
//  2. wait for that, for stop_timeout_ms at most; close what is left
//  3. join the reads (they use the Db); drop completions that come later; stop and join the io
//  thread
//  4. close what is left and run the handlers that are pending (they may hold rows of the Db alive)
#include "server/server.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "base/mutex.h"
#include "server/backup_json.h"
#include "server/http_connection.h"
#include "server/server_core.h"

namespace tallystick {

namespace asio = boost::asio;
using asio::ip::tcp;

class Server::Impl {
 public:
  Impl(Db& db, ServerOptions options, LogSink log)
      : core_(std::make_unique<ServerCore>(db, std::move(options), std::move(log))),
        acceptor_(core_->io),
        accept_timer_(core_->io),
        tick_timer_(core_->io),
        work_(core_->io.get_executor()) {
    core_->completions = std::make_shared<IngestCompletions>(
        [this] { asio::post(core_->io, [this] { AnswerIngests(); }); });
    core_->backups = std::make_shared<BackupCompletions>(
        [this] { asio::post(core_->io, [this] { AnswerBackups(); }); });
  }

  Status Listen() {
    const ServerOptions& options = core_->options;
    const auto failed = [&options](const boost::system::error_code& error) {
      return Status::IoError(fmt::format("listen on {}:{}: {}", options.listen_host,
                                         options.listen_port, error.message()));
    };
    boost::system::error_code error;
    const auto address = asio::ip::make_address(options.listen_host, error);
    if (error) return failed(error);
    const tcp::endpoint endpoint(address, options.listen_port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failed(error);
    const tcp::endpoint bound = acceptor_.local_endpoint(error);
    if (error) return failed(error);
    port_ = bound.port();
    const std::string host = address.to_string();
    url_ =
        fmt::format(fmt::runtime(address.is_v6() ? "http://[{}]:{}" : "http://{}:{}"), host, port_);
    return Status::Ok();
  }

  void Run() {
    Tick();
    Accept();
    asio::post(io_thread_, [this] { core_->io.run(); });
    core_->Log(LogLevel::kInfo, fmt::format("listening on {}", url_));
  }

  void Stop() {
    if (stopped_) return;
    stopped_ = true;
    asio::post(core_->io, [this] { BeginDrain(); });
    AwaitDrained();
    asio::post(core_->io, [this] {
      for (const auto& connection : Connections()) connection->Close();
    });
    core_->queries.stop();
    core_->queries.join();
    core_->completions->Close();
    core_->backups->Close();
    work_.reset();
    core_->io.stop();
    io_thread_.join();
    for (const auto& connection : Connections()) connection->Close();
    core_->io.restart();
    core_->io.poll();
    core_->Log(LogLevel::kInfo, "the server has stopped");
  }

  uint16_t port() const { return port_; }
  const std::string& url() const { return url_; }

 private:
  std::vector<std::shared_ptr<Connection>> Connections() const {
    std::vector<std::shared_ptr<Connection>> all;
    all.reserve(core_->connections.size());
    for (const auto& [id, connection] : core_->connections) all.push_back(connection);
    return all;
  }

  void Accept() {
    acceptor_.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
      if (draining_) return;
      if (!error) {
        Admit(std::move(socket));
        Accept();
        return;
      }
      // Most likely no file descriptor is left: some connection has to end first.
      core_->Log(LogLevel::kWarning, fmt::format("accept: {}", error.message()));
      accept_timer_.expires_after(std::chrono::milliseconds(100));
      accept_timer_.async_wait([this](const boost::system::error_code& cancelled) {
        if (!cancelled && !draining_) Accept();
      });
    });
  }

  void Admit(tcp::socket socket) {
    if (core_->connections.size() >= core_->options.connections_max) {
      ++core_->metrics.connections_refused;
      Turn(std::move(socket));
      return;
    }
    ++core_->metrics.connections_accepted;
    ++core_->metrics.connections_open;
    const uint64_t id = next_connection_id_++;
    auto connection = std::make_shared<Connection>(*core_, id, std::move(socket));
    core_->connections.emplace(id, connection);
    connection->Start();
  }

  // Says why, as far as the socket takes it at once, and closes.
  void Turn(tcp::socket socket) {
    std::string bytes;
    AppendAnswer(bytes,
                 Answer::Problem(Status::Unavailable("too_many_connections", "try again later")),
                 {.keep_alive = false, .date = core_->date});
    boost::system::error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(bytes), ignored);
    socket.shutdown(tcp::socket::shutdown_both, ignored);
  }

  void Tick() {
    core_->date = FormatHttpDate(core_->clock.WallMicros() / 1'000'000);
    const int64_t now = core_->NowMicros();
    for (const auto& connection : Connections()) connection->Tick(now);
    NotifyIfDrained();
    tick_timer_.expires_after(std::chrono::milliseconds(TickMs()));
    tick_timer_.async_wait([this](const boost::system::error_code& cancelled) {
      if (!cancelled) Tick();
    });
  }

  // A quarter of the shortest timeout, so that none is overrun by much.
  int64_t TickMs() const {
    if (draining_) return 5;
    const ServerOptions& o = core_->options;
    const uint32_t shortest =
        std::min({o.header_timeout_ms, o.body_timeout_ms, o.idle_timeout_ms,
                  o.body_progress_timeout_ms, o.write_timeout_ms, o.half_closed_ms_max});
    return std::clamp<int64_t>(shortest / 4, 5, 250);
  }

  void AnswerIngests() {
    for (IngestCompletion& completion : core_->completions->Take()) {
      --core_->ingests_in_flight;
      const auto at = core_->connections.find(completion.connection_id);
      if (at == core_->connections.end()) continue;
      const auto connection = at->second;
      connection->Complete(completion.slot_id, completion.result.ok()
                                                   ? Answer::Json(IngestResultToJson(
                                                         *completion.result, completion.printing))
                                                   : Answer::Problem(completion.result.status()));
    }
  }

  void AnswerBackups() {
    for (BackupCompletion& completion : core_->backups->Take()) {
      const auto at = core_->connections.find(completion.connection_id);
      if (at == core_->connections.end()) continue;
      const auto connection = at->second;
      connection->Complete(completion.slot_id,
                           completion.result.ok()
                               ? Answer::Json(BackupReportToJson(*completion.result))
                               : Answer::Problem(completion.result.status()));
    }
  }

  void BeginDrain() {
    draining_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    accept_timer_.cancel();
    for (const auto& connection : Connections()) connection->Drain();
    Tick();
  }

  void NotifyIfDrained() {
    if (!draining_ || !core_->connections.empty() || core_->ingests_in_flight > 0) return;
    const MutexLock lock(mutex_);
    drained_ = true;
    changed_.NotifyAll();
  }

  void AwaitDrained() {
    const int64_t deadline = core_->NowMicros() + int64_t{core_->options.stop_timeout_ms} * 1000;
    const MutexLock lock(mutex_);
    for (;;) {
      const int64_t left = deadline - core_->NowMicros();
      if (drained_ || left <= 0) return;
      changed_.WaitFor(mutex_, left);
    }
  }

  std::unique_ptr<ServerCore> core_;
  tcp::acceptor acceptor_;
  asio::steady_timer accept_timer_;
  asio::steady_timer tick_timer_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::thread_pool io_thread_{1};
  uint16_t port_ = 0;
  std::string url_;
  uint64_t next_connection_id_ = 1;  // io thread
  bool draining_ = false;            // io thread
  bool stopped_ = false;             // the owner's thread

  Mutex mutex_;
  CondVar changed_;
  bool drained_ GUARDED_BY(mutex_) = false;
};

Result<std::unique_ptr<Server>> Server::Start(Db& db, ServerOptions options, LogSink log) {
  if (Status status = options.Validate(); !status.ok()) return status;
  auto impl = std::make_unique<Impl>(db, std::move(options), std::move(log));
  if (Status status = impl->Listen(); !status.ok()) return status;
  impl->Run();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { Stop(); }
uint16_t Server::port() const { return impl_->port(); }
std::string Server::url() const { return impl_->url(); }
void Server::Stop() { impl_->Stop(); }

}  // namespace tallystick
