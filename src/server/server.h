// Server: a database over HTTP/1.1. docs/api.md lists routes, answers and codes.
//
// One thread does all of the network (read, parse, write); reads of the database run on a small
// pool; ingest completions come from the database's committer. No thread waits for a connection.
// What a client can make the server hold is bounded: head, body, expanded body, answers in a
// pipeline, connections, the bytes of all bodies together, the queries that wait. A read of the
// database is given up when its client is gone.
//
// Thread rule: Start, Stop and the destructor from one thread; port() from any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "server/ingest_json.h"
#include "tallystick/db.h"
#include "tallystick/options.h"
#include "tallystick/status.h"

namespace tallystick {

struct ServerOptions {
  std::string listen_host = "127.0.0.1";  // an IPv4 or IPv6 address
  uint16_t listen_port = 8080;            // 0: a free one

  uint32_t header_bytes_max = 16 << 10;           // 1 KiB..1 MiB; beyond: 431
  uint32_t header_count_max = 100;                // 1..10,000; beyond: 431
  uint64_t body_bytes_max = 16ull << 20;          // 1..1 GiB; as sent; beyond: 413
  uint64_t expanded_bytes_max = 16ull << 20;      // 1..1 GiB; of a compressed body; beyond: 413
  uint64_t body_memory_bytes_max = 256ull << 20;  // of all bodies being read; beyond: 503
  uint32_t batch_events_max = 65'536;             // 1..1,000,000; beyond: 413

  uint32_t header_timeout_ms = 10'000;         // >= 1; first byte to last of a head; beyond: 408
  uint32_t body_timeout_ms = 60'000;           // >= 1; a whole body; beyond: 408
  uint32_t body_progress_timeout_ms = 10'000;  // >= 1; within this time a body moves on by ...
  uint32_t body_progress_bytes_min = 1024;     // ... this much, or ends; else 408
  uint32_t idle_timeout_ms = 75'000;           // >= 1; between requests; then closed
  uint32_t write_timeout_ms = 30'000;  // >= 1; an answer of which nothing is taken; then closed
  uint32_t stop_timeout_ms = 5'000;    // >= 1; of Stop()

  uint32_t connections_max = 1024;  // 1..100,000; beyond: 503 and closed
  uint32_t pipeline_max = 16;  // 1..1,024; answers pending on a connection before reading pauses
  uint32_t query_threads = 2;  // 1..64
  uint32_t queries_waiting_max = 256;  // >= 1; beyond: 503
  uint32_t lsn_wait_ms_max = 5'000;    // >= 1; of a read for its min_lsn; beyond: 503
  // A client that ended its sending may have its answer; reads that take longer are given up.
  uint32_t half_closed_ms_max = 1'000;  // >= 1

  UnknownFields unknown_fields = UnknownFields::kReject;

  // kInvalidArgument `invalid_options` naming all faults.
  Status Validate() const;
};

class Server {
 public:
  // Listens when it returns. `db` is borrowed and outlives the server. kIoError if the address
  // cannot be bound.
  static Result<std::unique_ptr<Server>> Start(Db& db, ServerOptions options, LogSink log);
  ~Server();  // stops

  uint16_t port() const;
  // "http://127.0.0.1:8080"
  std::string url() const;

  // Orderly: accepts no more, answers every request that was read completely, closes. What has not
  // ended within stop_timeout_ms is cut off. Idempotent. When it returns, the server uses the Db no
  // more.
  void Stop();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tallystick
