#include "server/metrics.h"

#include <algorithm>
#include <vector>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "server/problem.h"

namespace tallystick {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class Families {
 public:
  void Gauge(const char* name, const char* help, uint64_t value) {
    ClientMetric metric;
    metric.gauge.value = static_cast<double>(value);
    Begin(name, help, MetricType::Gauge).metric.push_back(std::move(metric));
  }

  void Counter(const char* name, const char* help, uint64_t value) {
    ClientMetric metric;
    metric.counter.value = static_cast<double>(value);
    Begin(name, help, MetricType::Counter).metric.push_back(std::move(metric));
  }

  MetricFamily& Begin(const char* name, const char* help, MetricType type) {
    families_.push_back({name, help, type, {}});
    return families_.back();
  }

  std::string Serialize() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void AddDatabase(const DbStatus& db, Families& families) {
  families.Gauge("tallystick_ingest_ready", "1 if events are taken", db.ingest.ok() ? 1 : 0);
  families.Gauge("tallystick_lsn", "Newest visible log sequence number", db.lsn.value);
  families.Gauge("tallystick_flushed_lsn", "Newest flushed log sequence number",
                 db.flushed_lsn.value);
  families.Gauge("tallystick_wal_files", "Live log files", db.wal_files);
  families.Gauge("tallystick_wal_bytes", "Bytes of live log files", db.wal_bytes);
  families.Gauge("tallystick_wal_poisoned", "1 after a failed log write", db.wal_poisoned ? 1 : 0);
  families.Gauge("tallystick_memtables", "Memtables", db.memtables);
  families.Gauge("tallystick_key_tables", "Key tables", db.key_tables);
  families.Gauge("tallystick_memory_bytes", "Bytes of memtables", db.memory_bytes);
  families.Gauge("tallystick_queue_events", "Events in the commit queue", db.queue_events);
  families.Gauge("tallystick_queue_bytes", "Bytes in the commit queue", db.queue_bytes);
  families.Counter("tallystick_queue_full_total", "Requests refused by the commit queue",
                   db.queue_full);
  families.Counter("tallystick_frames_written_total", "Log frames written", db.frames_written);
  families.Counter("tallystick_marks_written_total", "Mark frames written", db.marks_written);
  families.Counter("tallystick_frame_bytes_written_total", "Bytes of log frames written",
                   db.frame_bytes_written);
  families.Gauge("tallystick_recovery_frames", "Frames replayed at start", db.recovery_frames);
  families.Gauge("tallystick_recovery_rows", "Rows replayed at start", db.recovery_rows);
  families.Gauge("tallystick_recovery_milliseconds", "Time of the replay at start", db.recovery_ms);
  families.Gauge("tallystick_recovery_torn_bytes", "Bytes of a torn tail dropped at start",
                 db.recovery_torn_bytes);

  families.Gauge("tallystick_segments", "Live segments", db.segments);
  families.Gauge("tallystick_segment_rows", "Rows in segments", db.segment_rows);
  families.Gauge("tallystick_segment_bytes", "Bytes of segments' rows", db.segment_bytes);
  families.Gauge("tallystick_segments_damaged", "Segments with a block that does not verify",
                 db.segments_damaged);
  families.Counter("tallystick_scrub_passes_total", "Readings of all files that have ended",
                   db.scrub.passes);
  families.Counter("tallystick_scrub_bytes_total", "Bytes read to see whether they are sound",
                   db.scrub.bytes);
  families.Counter("tallystick_scrub_faults_total", "Damage that these readings found",
                   db.scrub.faults);
  families.Gauge("tallystick_scrub_last_pass_faults", "Damage that the last of them found",
                 db.scrub.last_pass_faults);
  families.Gauge("tallystick_cache_bytes", "Bytes of segment blocks in memory", db.cache_bytes);
  families.Counter("tallystick_flushes_total", "Memtables written to segments", db.flushes);
  families.Counter("tallystick_flush_failures_total", "Flushes that failed and were tried again",
                   db.flush_failures);
  families.Gauge("tallystick_segment_file_bytes", "Bytes of segments, sidecars and rollups",
                 db.segment_file_bytes);
  families.Counter("tallystick_flush_bytes_written_total",
                   "Bytes of segments, sidecars and rollups written by flushes",
                   db.flush_bytes_written);
  families.Gauge("tallystick_compaction_runs", "Segments that merging has not done with", db.runs);
  families.Gauge("tallystick_compactions_running", "Merges that were begun and not ended",
                 db.compacting.size());
  families.Counter("tallystick_compactions_total", "Merges of segments", db.compactions);
  families.Counter("tallystick_compaction_failures_total", "Merges that failed and were put off",
                   db.compaction_failures);
  families.Counter("tallystick_compaction_rows_total", "Rows merged", db.compaction_rows);
  families.Counter("tallystick_compaction_bytes_written_total",
                   "Bytes of segments, sidecars and rollups written by merges",
                   db.compaction_bytes_written);
  families.Counter("tallystick_segments_deleted_total", "Segments deleted after they were merged",
                   db.segments_deleted);
  families.Gauge("tallystick_sidecars_hit", "Sidecars found and believed at start",
                 db.sidecars_hit);
  families.Gauge("tallystick_sidecars_missing", "Sidecars missing at start", db.sidecars_missing);
  families.Counter("tallystick_sidecars_corrupt_total", "Sidecars that did not verify",
                   db.sidecars_corrupt);
  families.Counter("tallystick_sidecars_rebuilt_total", "Sidecars rebuilt from their segment",
                   db.sidecars_rebuilt);
  families.Gauge("tallystick_sidecars_unknown", "Segments without a sidecar now",
                 db.sidecars_unknown);
  families.Counter("tallystick_sidecar_write_failures_total",
                   "Segments committed without their sidecar", db.sidecar_write_failures);
  families.Gauge("tallystick_rollups", "Segments with a rollup", db.rollups);
  families.Gauge("tallystick_rollup_lines", "Lines of rollups", db.rollup_lines);
  families.Gauge("tallystick_rollup_bytes", "Bytes of rollups", db.rollup_bytes);
  families.Counter("tallystick_rollups_corrupt_total", "Rollups that did not verify",
                   db.rollups_corrupt);
  families.Counter("tallystick_rollups_rebuilt_total", "Rollups rebuilt from their segment",
                   db.rollups_rebuilt);
  families.Counter("tallystick_rollup_write_failures_total",
                   "Segments committed without their rollup", db.rollup_write_failures);
  families.Gauge("tallystick_filter_bytes", "Bytes of sidecar filters in memory", db.filter_bytes);
  families.Gauge("tallystick_filters_loaded", "Sidecar filters in memory", db.filters_loaded);
  families.Counter("tallystick_probe_pages_total", "Requests that needed sidecar pages",
                   db.probe_pages);
  families.Counter("tallystick_probe_again_total", "Requests sent back to be probed again",
                   db.probe_again);

  MetricFamily& events =
      families.Begin("tallystick_events_total", "Events ingested, by outcome", MetricType::Counter);
  const std::pair<const char*, uint64_t> outcomes[] = {{"accepted", db.events_accepted},
                                                       {"duplicate", db.events_duplicate},
                                                       {"conflict", db.events_conflict},
                                                       {"rejected", db.events_rejected}};
  for (const auto& [name, count] : outcomes) {
    ClientMetric metric;
    metric.label = {{"outcome", name}};
    metric.counter.value = static_cast<double>(count);
    events.metric.push_back(std::move(metric));
  }
}

void AddBackups(const DbStatus& db, Families& families) {
  families.Counter("tallystick_backups_total", "Backups completed", db.backups);
  families.Counter("tallystick_backup_failures_total", "Backups that failed", db.backup_failures);
  families.Gauge("tallystick_backup_lsn", "LSN of the last backup", db.backup_lsn.value);
}

}  // namespace

void ServerMetrics::CountAnswer(Route route, int http_status, int64_t micros) {
  ++answers_[{route, http_status}];
  Latency& latency = latencies_[static_cast<size_t>(route)];
  const auto bucket = std::ranges::lower_bound(kBucketMicros, micros);
  ++latency.counts[static_cast<size_t>(bucket - kBucketMicros.begin())];
  latency.sum_micros += micros;
}

void ServerMetrics::CountQuery(const Status& status) {
  ++queries_[status.ok() ? "ok" : ProblemOf(status).code];
}

void ServerMetrics::NoteQueryMemory(uint64_t bytes) {
  query_memory_bytes_max_ = std::max(query_memory_bytes_max_, bytes);
}

std::string ServerMetrics::Render(const DbStatus& db) const {
  Families families;
  AddDatabase(db, families);
  AddBackups(db, families);
  families.Gauge("tallystick_http_connections", "Open connections", connections_open);
  families.Counter("tallystick_http_connections_accepted_total", "Connections accepted",
                   connections_accepted);
  families.Counter("tallystick_http_connections_refused_total",
                   "Connections refused for their number", connections_refused);
  families.Counter("tallystick_http_received_bytes_total", "Bytes received", bytes_received);
  families.Counter("tallystick_http_sent_bytes_total", "Bytes sent", bytes_sent);
  families.Gauge("tallystick_http_body_memory_bytes",
                 "Memory of bodies being read, and of those of waiting reads", body_memory_bytes);
  families.Gauge("tallystick_http_queries_waiting", "Reads that wait or run", queries_waiting);

  families.Gauge("tallystick_query_memory_bytes_max", "Most memory that a read needed so far",
                 query_memory_bytes_max_);
  families.Counter("tallystick_verify_faults_total", "Differences that verifies of accounts found",
                   verify_faults);
  MetricFamily& queries =
      families.Begin("tallystick_queries_total", "Reads ended, by outcome", MetricType::Counter);
  for (const auto& [outcome, count] : queries_) {
    ClientMetric metric;
    metric.label = {{"outcome", std::string(outcome)}};
    metric.counter.value = static_cast<double>(count);
    queries.metric.push_back(std::move(metric));
  }

  MetricFamily& requests =
      families.Begin("tallystick_http_requests_total", "Requests answered, by route and status",
                     MetricType::Counter);
  for (const auto& [key, count] : answers_) {
    ClientMetric metric;
    metric.label = {{"route", std::string(RouteName(key.first))},
                    {"status", std::to_string(key.second)}};
    metric.counter.value = static_cast<double>(count);
    requests.metric.push_back(std::move(metric));
  }

  MetricFamily& durations =
      families.Begin("tallystick_http_request_duration_seconds",
                     "From a request's head to its answer", MetricType::Histogram);
  for (size_t route = 0; route < kRouteCount; ++route) {
    const Latency& latency = latencies_[route];
    ClientMetric metric;
    metric.label = {{"route", std::string(RouteName(static_cast<Route>(route)))}};
    uint64_t cumulative = 0;
    for (size_t i = 0; i < kBucketMicros.size(); ++i) {
      cumulative += latency.counts[i];
      metric.histogram.bucket.push_back({cumulative, static_cast<double>(kBucketMicros[i]) / 1e6});
    }
    metric.histogram.sample_count = cumulative + latency.counts.back();
    if (metric.histogram.sample_count == 0) continue;
    metric.histogram.sample_sum = static_cast<double>(latency.sum_micros) / 1e6;
    durations.metric.push_back(std::move(metric));
  }
  return families.Serialize();
}

}  // namespace tallystick
