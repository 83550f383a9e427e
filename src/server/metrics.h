// What the server counts, and the text that GET /metrics answers (Prometheus).
//
// Thread rule: one thread (the io thread).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "server/routes.h"
#include "tallystick/db.h"

namespace tallystick {

class ServerMetrics {
 public:
  // One answer, `micros` after its head was read.
  void CountAnswer(Route route, int http_status, int64_t micros);
  // The end of a read of the database: `ok`, or the code of its problem.
  void CountQuery(const Status& status);
  void NoteQueryMemory(uint64_t bytes);

  uint64_t connections_accepted = 0;
  uint64_t connections_refused = 0;
  uint64_t connections_open = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t body_memory_bytes = 0;
  uint64_t queries_waiting = 0;
  uint64_t verify_faults = 0;

  std::string Render(const DbStatus& db) const;

 private:
  static constexpr std::array<int64_t, 12> kBucketMicros = {
      100, 250, 500, 1'000, 2'500, 5'000, 10'000, 50'000, 100'000, 500'000, 1'000'000, 5'000'000};
  struct Latency {
    std::array<uint64_t, kBucketMicros.size() + 1> counts{};  // the last: slower than all
    int64_t sum_micros = 0;
  };

  std::map<std::pair<Route, int>, uint64_t> answers_;
  std::map<std::string_view, uint64_t> queries_;  // by outcome
  uint64_t query_memory_bytes_max_ = 0;
  std::array<Latency, kRouteCount> latencies_;
};

}  // namespace tallystick
