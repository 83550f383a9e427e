#include "testing/scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tallystick {
namespace {

constexpr int64_t kTimeMs = 1'700'000'000'000;

ScenarioStep Idle() { return {ScenarioStep::Kind::kIdle, {}}; }
ScenarioStep Reopen() { return {ScenarioStep::Kind::kReopen, {}}; }
ScenarioStep Ingest(std::vector<std::vector<Event>> requests) {
  return {ScenarioStep::Kind::kIngest, std::move(requests)};
}

std::vector<Event> Range(int from, int to, int blocks = 0) {
  std::vector<Event> events;
  for (int id = from; id < to; ++id) events.push_back(SmallEvent(id, 0, blocks));
  return events;
}

// One frame, its mark, another frame, and the end of a process.
std::vector<ScenarioStep> Smallest() {
  return {Ingest({Range(0, 2)}), Idle(), Ingest({Range(2, 3)}), Ingest({{SmallEvent(0)}})};
}

// Frames of one, two and four blocks; the log rolls over several times.
std::vector<ScenarioStep> RollOvers() {
  return {Ingest({Range(0, 1, 1)}), Ingest({Range(1, 2)}),      Ingest({Range(2, 5, 1)}),
          Ingest({Range(5, 6, 2)}), Ingest({Range(6, 9, 1)}),   Idle(),
          Ingest({Range(9, 10)}),   Ingest({Range(10, 13, 1)}), Ingest({{SmallEvent(2, 0, 1)}}),
          Ingest({Range(13, 14)})};
}

// Duplicates and conflicts in one group with their originals, across frames and across a restart.
std::vector<ScenarioStep> Doubles() {
  return {Ingest({{SmallEvent(0), SmallEvent(0), SmallEvent(1), SmallEvent(0, 1)}}),
          Ingest({{SmallEvent(1)}, {SmallEvent(1), SmallEvent(2)}, {SmallEvent(2, 1)}}),
          Reopen(),
          Ingest({{SmallEvent(0, 1), SmallEvent(0, 2)}, {SmallEvent(3)}, {SmallEvent(3)}}),
          Idle(),
          Ingest({{SmallEvent(0), SmallEvent(4)}})};
}

// Opened again and again, with and without frames in the file that each life began.
std::vector<ScenarioStep> Reopenings() {
  return {Reopen(), Ingest({Range(0, 1)}),    Reopen(), Reopen(),
          Idle(),   Ingest({Range(1, 3, 1)}), Reopen(), Ingest({Range(3, 4), Range(0, 1)})};
}

// Several clients in one group, then the largest frame that a file takes.
std::vector<ScenarioStep> Groups() {
  return {Ingest({Range(0, 2), Range(2, 3), Range(1, 4)}), Ingest({Range(4, 8, 1)}),
          Ingest({Range(8, 9), Range(8, 10)}), Idle(), Ingest({Range(10, 14, 1), Range(14, 15)})};
}

// Memtables that are flushed while others fill, resends and conflicts of what is flushed, a flush
// of rows whose originals are in a segment, and restarts that find segments.
std::vector<ScenarioStep> Flushes() {
  return {Ingest({Range(0, 4, 1)}),
          Ingest({Range(4, 8, 1), {SmallEvent(0, 1, 1)}}),
          Ingest({Range(8, 11, 1)}),
          Idle(),
          Ingest({{SmallEvent(0, 0, 1), SmallEvent(5, 1, 1), SmallEvent(0, 1, 1)}, Range(11, 13)}),
          Reopen(),
          Ingest({Range(2, 4, 1), {SmallEvent(13), SmallEvent(5, 1, 1)}}),
          Ingest({Range(14, 18, 1)}),
          Idle(),
          Ingest({{SmallEvent(14, 0, 1), SmallEvent(5, 2, 1)}})};
}

// Segments that are merged while others come, with quarantined rows; resends of what was merged, in
// the same life and after a restart; merges of merged ones.
std::vector<ScenarioStep> Compactions() {
  return {
      Ingest({Range(0, 4, 1)}),
      Ingest({Range(4, 8, 1), {SmallEvent(0, 1, 1)}}),
      Idle(),
      Ingest({Range(8, 12, 1), {SmallEvent(1, 0, 1), SmallEvent(5, 1, 1)}}),
      Ingest({Range(12, 15, 1)}),
      Idle(),
      Ingest({{SmallEvent(0, 0, 1), SmallEvent(0, 1, 1), SmallEvent(9, 1, 1)}, Range(15, 18, 1)}),
      Reopen(),
      Ingest({Range(16, 20, 1), {SmallEvent(0, 2, 1)}}),
      Idle(),
      Ingest({{SmallEvent(19, 0, 1), SmallEvent(5, 1, 1)}})};
}

}  // namespace

void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

Event SmallEvent(int id, int variant, int blocks) {
  Event event;
  event.event_id = fmt::format("event-{}", id);
  event.account_id = id % 3 == 0 ? "acme" : "bolt";
  event.product_id = "inference";
  event.meter_id = id % 2 == 0 ? "input_tokens" : "output_tokens";
  event.unit = "tokens";
  event.source = "test";
  if (id % 4 == 1) event.model_id = "large";
  if (id % 5 == 4) {
    event.kind = id % 2 == 0 ? EventKind::kCorrection : EventKind::kRetraction;
    event.correction_ref = CorrectionRef{"event-0", "wrong meter"};
  }
  event.timestamp_ms = kTimeMs + (id * 7 % 5) * 1'800'000;
  event.quantity =
      Quantity::Normalized(1001 * (id + 1) + 7 * variant, static_cast<uint8_t>(id % 3));
  event.dimensions.emplace_back("region", id % 2 == 0 ? "eu" : "us");
  // 15 dimensions of some 260 bytes are nearly a block.
  for (int i = 0; i < std::min(blocks * 15, 15); ++i) {
    event.dimensions.emplace_back(fmt::format("pad-{:02}", i),
                                  std::string(blocks > 1 ? 256 : 200, 'x'));
  }
  return event;
}

OpenOptions SmallOptions(bool direct_io) {
  OpenOptions options;
  options.wal_direct_io = direct_io;
  options.wal_file_bytes = 8 * 4096;
  options.batch_bytes_max = 20'000;
  options.batch_events_max = 64;
  options.memtable_rows_max = 64;
  options.group_bytes_max = 20'000;
  options.queue_bytes_max = 1 << 20;
  options.queue_events_max = 1 << 12;
  options.segment_group_rows = 4;
  options.compaction_fan_in = 0;
  options.rollup_rows_per_line_min = 1;  // there are lines for all rows
  options.memtable_age_ms_max = 0;
  options.background_bytes_per_second = 0;
  options.scrub_bytes_per_second = 1'000'000'000;
  options.cache_bytes_max = 1 << 16;
  options.limits.timestamp_ahead_ms_max = int64_t{1} << 50;
  return options;
}

std::vector<Scenario> SmallScenarios() {
  std::vector<Scenario> scenarios;
  const std::pair<const char*, std::vector<ScenarioStep>> all[] = {
      {"smallest", Smallest()},      {"doubles", Doubles()},      {"reopenings", Reopenings()},
      {"groups", Groups()},          {"roll_overs", RollOvers()}, {"flushes", Flushes()},
      {"compactions", Compactions()}};
  for (const auto& [name, steps] : all) {
    for (const bool direct_io : {false, true}) {
      OpenOptions options = SmallOptions(direct_io);
      options.scrub_bytes_per_second = 0;  // its reads would only be more calls to crash in
      // One half finds its rows in the log after a close, the other in a segment.
      if (direct_io) options.flush_on_close_ms_max = 0;
      if (std::string_view(name) == "compactions") options.compaction_fan_in = 2;
      scenarios.push_back(
          {std::string(name) + (direct_io ? "_direct" : "_synced"), options, steps});
    }
  }
  return scenarios;
}

}  // namespace tallystick
