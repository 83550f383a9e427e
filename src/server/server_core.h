// What all connections of a server share. Everything but the two pools and the completions belongs
// to the io thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "env/env.h"
#include "server/body_buffer.h"
#include "server/completions.h"
#include "server/ingest_json.h"
#include "server/metrics.h"
#include "server/server.h"

namespace tallystick {

class Connection;

// Buffers of finished bodies, kept for the next ones: memory that was touched before is cheap.
class BodyPool {
 public:
  BodyBuffer Take() {
    if (free_.empty()) return {};
    BodyBuffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }

  void Give(BodyBuffer buffer) {
    if (buffer.capacity() == 0 || buffer.capacity() > kKeptBytesMax || free_.size() >= kKept)
      return;
    buffer.Clear();
    free_.push_back(std::move(buffer));
  }

 private:
  static constexpr size_t kKept = 16;
  static constexpr size_t kKeptBytesMax = 1 << 20;
  std::vector<BodyBuffer> free_;
};

struct ServerCore {
  ServerCore(Db& database, ServerOptions server_options, LogSink log_sink)
      : db(database),
        options(std::move(server_options)),
        log(std::move(log_sink)),
        queries(options.query_threads),
        parser(options.unknown_fields) {}

  int64_t NowMicros() const { return clock.MonotonicMicros(); }

  void Log(LogLevel level, std::string_view message) const {
    if (log) log(level, message);
  }

  Db& db;
  const ServerOptions options;
  const LogSink log;
  Clock& clock = Env::Real().clock();
  const int64_t started_micros = clock.MonotonicMicros();

  boost::asio::io_context io{1};
  boost::asio::thread_pool queries;
  // Shared with the database's threads, which may be later.
  std::shared_ptr<IngestCompletions> completions;
  std::shared_ptr<BackupCompletions> backups;

  EventParser parser;
  ServerMetrics metrics;
  BodyPool bodies;
  std::string date;  // of answers; renewed by the server's tick
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections;
  uint64_t ingests_in_flight = 0;
};

}  // namespace tallystick
