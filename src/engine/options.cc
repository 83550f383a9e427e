#include "tallystick/options.h"

#include <fmt/format.h>

#include <string>

#include "wal/wal_format.h"
#include "wal/wal_reader.h"

namespace tallystick {

Status OpenOptions::Validate() const {
  std::string faults;
  auto check = [&](bool holds, const std::string& fault) {
    if (!holds) faults += (faults.empty() ? "" : "; ") + fault;
  };
  check(limits.id_bytes_max >= 1 && limits.id_bytes_max <= 65535,
        fmt::format("limits.id_bytes_max is {}, must be 1..65535", limits.id_bytes_max));
  check(limits.timestamp_ahead_ms_max >= 0,
        fmt::format("limits.timestamp_ahead_ms_max is {}, must be >= 0",
                    limits.timestamp_ahead_ms_max));
  check(commit_gap_us <= 1'000'000,
        fmt::format("commit_gap_us is {}, must be <= 1000000", commit_gap_us));
  check(mark_idle_ms >= 1, "mark_idle_ms is 0, must be >= 1");
  check(batch_events_max >= 1, "batch_events_max is 0, must be >= 1");
  check(batch_bytes_max >= 1024,
        fmt::format("batch_bytes_max is {}, must be >= 1024", batch_bytes_max));
  check(group_bytes_max >= 1024,
        fmt::format("group_bytes_max is {}, must be >= 1024", group_bytes_max));
  check(memtables_max >= 1 && memtables_max <= 1000,
        fmt::format("memtables_max is {}, must be 1..1000", memtables_max));
  check(key_tables_max >= memtables_max && key_tables_max <= 1000,
        fmt::format("key_tables_max is {}, must be {} (memtables_max) ..1000", key_tables_max,
                    memtables_max));
  check(scrub_interval_s >= 1 && scrub_interval_s <= 1'000'000'000,
        fmt::format("scrub_interval_s is {}, must be 1..1000000000", scrub_interval_s));
  check(segment_group_rows >= 1 && segment_group_rows <= 65'536,
        fmt::format("segment_group_rows is {}, must be 1..65536", segment_group_rows));
  check(
      rollup_rows_per_line_min >= 1 && rollup_rows_per_line_min <= 1'000'000,
      fmt::format("rollup_rows_per_line_min is {}, must be 1..1000000", rollup_rows_per_line_min));
  check(compaction_fan_in == 0 || (compaction_fan_in >= 2 && compaction_fan_in <= 64),
        fmt::format("compaction_fan_in is {}, must be 0 or 2..64", compaction_fan_in));
  constexpr uint64_t kRowsMax = uint64_t{1} << 31;
  check(compaction_rows_max >= 1 && compaction_rows_max <= kRowsMax,
        fmt::format("compaction_rows_max is {}, must be 1..{}", compaction_rows_max, kRowsMax));
  check(memtable_rows_max >= batch_events_max,
        fmt::format("memtable_rows_max is {}, must be >= batch_events_max ({})", memtable_rows_max,
                    batch_events_max));
  check(queue_bytes_max >= batch_bytes_max,
        fmt::format("queue_bytes_max is {}, must be >= batch_bytes_max ({})", queue_bytes_max,
                    batch_bytes_max));
  check(queue_events_max >= batch_events_max,
        fmt::format("queue_events_max is {}, must be >= batch_events_max ({})", queue_events_max,
                    batch_events_max));
  // A request is one frame, a frame stands in one file, and a mark must fit behind it.
  const uint64_t needed = kWalHeaderBytes + FrameBytes(batch_bytes_max) + kBlockBytes;
  check(wal_file_bytes % kBlockBytes == 0 && wal_file_bytes >= needed &&
            wal_file_bytes <= kWalFileBytesMax,
        fmt::format(
            "wal_file_bytes is {}, must be a multiple of {} from {} (for a batch of {} bytes) "
            "to {}",
            wal_file_bytes, kBlockBytes, needed, batch_bytes_max, kWalFileBytesMax));
  if (faults.empty()) return Status::Ok();
  return Status::InvalidArgument("invalid_options", faults);
}

static_assert(OpenOptions::kWalFileBytes >=
                  kWalHeaderBytes + FrameBytes(OpenOptions::kBatchBytesMax) + kBlockBytes,
              "the largest batch must fit into a frame, and that into a WAL file");

}  // namespace tallystick
