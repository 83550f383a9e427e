// Where `ingest` sends its events: a server, or a database directory.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tallystick/status.h"

namespace tallystick {

struct SentBatch {
  struct Fault {
    size_t index = 0;     // in the batch
    std::string outcome;  // "rejected" or "conflict"
    std::string event_id;
    std::string explanation;  // of a rejection: "code: message"
  };
  uint64_t accepted = 0;
  uint64_t duplicates = 0;
  uint64_t conflicts = 0;
  uint64_t rejected = 0;
  std::vector<Fault> faults;  // by index
};

class IngestSink {
 public:
  virtual ~IngestSink() = default;
  // `events` are JSON objects (each has been checked to be one JSON value, of UTF-8). When it
  // returns ok, what was accepted is durable. Sending a batch again never counts anything twice.
  // kUnavailable: try again, after retry_after_s() seconds.
  virtual Result<SentBatch> Send(const std::vector<std::string>& events) = 0;
  virtual uint32_t retry_after_s() const = 0;
  // Closes the database; what was sent is safe whether or not it succeeds.
  virtual Status Close() = 0;

  // Exactly one of the two is given. A directory is created if it does not exist.
  static Result<std::unique_ptr<IngestSink>> Open(const std::string& url, const std::string& data);
};

}  // namespace tallystick
