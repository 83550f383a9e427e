// QueryContext: what bounds one read: its time, its memory, and whether anybody still wants it.
//
// Thread rule: one read, one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "env/env.h"
#include "tallystick/query.h"

namespace tallystick {

class QueryContext {
 public:
  QueryContext() = default;  // without limits
  // ms_max and memory_bytes_max: 0 = no limit.
  QueryContext(Clock& clock, uint64_t ms_max, uint64_t memory_bytes_max, Cancelled cancelled)
      : clock_(&clock),
        started_us_(clock.MonotonicMicros()),
        ms_max_(ms_max),
        memory_bytes_max_(memory_bytes_max),
        cancelled_(std::move(cancelled)) {}

  // Time counts from now on: a stream is bounded in what each of its pieces takes.
  void Restart() {
    if (clock_ != nullptr) started_us_ = clock_->MonotonicMicros();
  }
  // To be called every few thousand rows. kUnavailable: `cancelled`, `query_timeout`.
  Status Check() const {
    if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) {
      return Status::Unavailable("cancelled", "nobody waits for this answer any more");
    }
    if (ms_max_ != 0 && Micros() > static_cast<int64_t>(ms_max_) * 1000) {
      return Status::Unavailable(
          "query_timeout", "it took longer than query_ms_max, " + std::to_string(ms_max_) + " ms");
    }
    return Status::Ok();
  }

  // Accounts for memory, roughly. kUnavailable `query_too_large`.
  Status Use(uint64_t bytes) {
    memory_bytes_ += bytes;
    memory_bytes_peak_ = std::max(memory_bytes_peak_, memory_bytes_);
    if (memory_bytes_max_ == 0 || memory_bytes_ <= memory_bytes_max_) return Status::Ok();
    return Status::Unavailable("query_too_large", "it needs more than query_memory_bytes_max, " +
                                                      std::to_string(memory_bytes_max_) + " bytes");
  }
  void Free(uint64_t bytes) { memory_bytes_ -= bytes; }
  uint64_t memory_bytes_peak() const { return memory_bytes_peak_; }
  int64_t Micros() const { return clock_ == nullptr ? 0 : clock_->MonotonicMicros() - started_us_; }

  // Called when a rollup could not be read and was taken away: the read goes on with the rows. May
  // be empty.
  std::function<void(const Status&)> on_bad_rollup;

 private:
  Clock* clock_ = nullptr;
  int64_t started_us_ = 0;
  uint64_t ms_max_ = 0;
  uint64_t memory_bytes_max_ = 0;
  uint64_t memory_bytes_ = 0;
  uint64_t memory_bytes_peak_ = 0;
  Cancelled cancelled_;
};

}  // namespace tallystick
