#include <fmt/format.h>

#include "server/server.h"

namespace tallystick {
namespace {

// Gathers the faults of all fields.
class Faults {
 public:
  void Require(const char* field, uint64_t value, uint64_t min, uint64_t max) {
    if (value >= min && value <= max) return;
    if (!text_.empty()) text_ += "; ";
    text_ += fmt::format("{} must be {}..{}, not {}", field, min, max, value);
  }

  Status status() const {
    return text_.empty() ? Status::Ok() : Status::InvalidArgument("invalid_options", text_);
  }

 private:
  std::string text_;
};

}  // namespace

Status ServerOptions::Validate() const {
  constexpr uint64_t kGiB = 1ull << 30;
  Faults faults;
  faults.Require("header_bytes_max", header_bytes_max, 1 << 10, 1 << 20);
  faults.Require("header_count_max", header_count_max, 1, 10'000);
  faults.Require("body_bytes_max", body_bytes_max, 1, kGiB);
  faults.Require("expanded_bytes_max", expanded_bytes_max, 1, kGiB);
  faults.Require("body_memory_bytes_max", body_memory_bytes_max, body_bytes_max, 1024 * kGiB);
  faults.Require("batch_events_max", batch_events_max, 1, 1'000'000);
  faults.Require("header_timeout_ms", header_timeout_ms, 1, UINT32_MAX);
  faults.Require("body_timeout_ms", body_timeout_ms, 1, UINT32_MAX);
  faults.Require("body_progress_timeout_ms", body_progress_timeout_ms, 1, UINT32_MAX);
  faults.Require("body_progress_bytes_min", body_progress_bytes_min, 1, UINT32_MAX);
  faults.Require("idle_timeout_ms", idle_timeout_ms, 1, UINT32_MAX);
  faults.Require("write_timeout_ms", write_timeout_ms, 1, UINT32_MAX);
  faults.Require("stop_timeout_ms", stop_timeout_ms, 1, UINT32_MAX);
  faults.Require("connections_max", connections_max, 1, 100'000);
  faults.Require("pipeline_max", pipeline_max, 1, 1'024);
  faults.Require("query_threads", query_threads, 1, 64);
  faults.Require("queries_waiting_max", queries_waiting_max, 1, UINT32_MAX);
  faults.Require("lsn_wait_ms_max", lsn_wait_ms_max, 1, UINT32_MAX);
  faults.Require("half_closed_ms_max", half_closed_ms_max, 1, UINT32_MAX);
  return faults.status();
}

}  // namespace tallystick
