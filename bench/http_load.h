// A load generator for POST /v1/usage/batch over loopback: one thread, non-blocking sockets,
// requests made by patching ids into a template, so that the client takes as little as possible of
// the machine it shares with the server.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tallystick::bench {

struct LoadSpec {
  uint16_t port = 0;
  int connections = 1;
  int events_per_request = 1000;
  double seconds = 5;
  uint64_t first_event = 0;
  // 0: every connection sends its next request when the answer is there. Else requests a second in
  // all, evenly spaced; latency counts from the moment that a request was due.
  double requests_per_second = 0;
};

struct LoadResult {
  uint64_t requests = 0;
  uint64_t events = 0;      // acknowledged as accepted
  uint64_t refused = 0;     // answers 503; the request was sent again
  uint64_t next_event = 0;  // the first id that was not used
  double seconds = 0;
  std::vector<double> latency_s;  // of every request
  std::string fault;              // empty: every answer was 503, or 200 and accepted all
};

LoadResult RunLoad(const LoadSpec& spec);

}  // namespace tallystick::bench
