// Options, one plain struct a scope. Every field: default in place, unit in its name, bounds in its
// comment. Validate() names all faults at once; nothing is ever clamped silently.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "tallystick/status.h"

namespace tallystick {

class Env;

// What makes two events the same event. Fixed at creation, kept in IDENTITY.
enum class IdentityScope : uint8_t {
  kGlobal = 0,   // the event id alone
  kAccount = 1,  // account id and event id
};

enum class LogLevel : uint8_t { kInfo, kWarning, kError };
using LogSink = std::function<void(LogLevel, std::string_view)>;  // called from any thread

// Bounds of ingest, not of the format. A known event is a duplicate even where they refuse it
// today.
struct EventLimits {
  uint32_t id_bytes_max = 256;                        // event, account, product, ... ids; 1..65535
  int64_t timestamp_ahead_ms_max = 24 * 3600 * 1000;  // beyond now; >= 0
  // For an import, which keeps what it finds: texts are held to no rule but UTF-8, and ids to
  // 65,535 bytes; id_bytes_max does not count. What else the format needs is still asked for.
  bool format_only = false;
};

struct IngestOptions {
  // Every duplicate and conflict names the LSN of the row that was there before. That may cost a
  // read of its segment each; without it such an LSN is given where it is known anyway, else 0.
  bool originals = false;
};

struct OpenOptions {
  static constexpr uint64_t kWalFileBytes = 64ull << 20;
  static constexpr uint32_t kBatchBytesMax = 16u << 20;

  Env* env = nullptr;  // borrowed, outlives the Db; nullptr: the real machine
  LogSink log;         // empty: nothing is logged

  bool create_if_missing = true;
  IdentityScope identity_scope = IdentityScope::kGlobal;  // used at creation only

  EventLimits limits;

  // A write starts at the earliest this long after the last one started, or when commit_wake_bytes
  // are queued. 0 = at once.
  uint32_t commit_gap_us = 500;  // 0..1,000,000
  uint32_t commit_wake_bytes = 64 << 10;
  uint32_t group_bytes_max = 512 << 10;  // a group closes at this size, or with one larger request
  uint32_t mark_idle_ms = 10;            // queue empty that long: a mark frame is written; >= 1

  uint64_t queue_bytes_max = 64ull << 20;  // beyond: 503 queue_full
  uint32_t queue_events_max = 1 << 20;

  // Full memtables that wait to be flushed, and key tables that wait for their sidecar. Beyond
  // either: 503 memory_full until the background has caught up.
  uint32_t memtables_max = 4;   // 1..1000
  uint32_t key_tables_max = 8;  // >= memtables_max, ..1000
  // A memtable whose oldest row is older than this is flushed although it is not full. 0 = never.
  uint64_t memtable_age_ms_max = 600'000;
  uint32_t flush_on_close_ms_max = 3'000;  // Close flushes what it can in this time. 0 = nothing

  uint64_t background_bytes_per_second = 200'000'000;  // of flush and rebuild; 0 = no limit
  // Every file is read again and verified, from right after the start on, every so often and at
  // this rate. 0 = never.
  uint64_t scrub_bytes_per_second = 10'000'000;
  uint64_t scrub_interval_s = 7 * 24 * 3600;      // from pass to pass; 1..1,000,000,000
  uint64_t cache_bytes_max = 256ull << 20;        // of verified segment blocks
  uint64_t dedupe_memory_bytes_max = 4ull << 30;  // of sidecar filters; the rest is read from disk

  // Compaction: adjacent segments of like size are merged, this many at a time, up to a size. 0 =
  // none are.
  uint32_t compaction_fan_in = 8;              // 0, or 2..64
  uint64_t compaction_rows_max = 256'000'000;  // of a merged segment; 1..2^31
  // Segments that merging has not done with. Beyond the first commits are spaced out more and more;
  // from the second on 503 compaction_behind. 0 = no limit.
  uint32_t runs_slow = 24;
  uint32_t runs_max = 40;

  // Of one read: longer, or more, is refused (kUnavailable). 0 = no limit.
  uint64_t query_ms_max = 60'000;
  uint64_t query_memory_bytes_max = 1ull << 30;

  // Sizes that tests make small. A batch is bounded by batch_bytes_max (encoded); one must fit into
  // a frame, and a frame into a WAL file: Validate() checks it.
  uint64_t wal_file_bytes = kWalFileBytes;  // multiple of 4 KiB
  uint32_t memtable_rows_max = 314'000;     // rows of one WAL file
  uint32_t batch_events_max = 65'536;
  uint32_t batch_bytes_max = kBatchBytesMax;
  uint32_t segment_group_rows = 8192;     // rows of a row group; 1..65,536
  uint32_t rollup_rows_per_line_min = 8;  // a rollup's lines pay from here on; 1..1,000,000
  bool wal_direct_io = true;              // O_DIRECT|O_DSYNC where the file system takes it

  Status Validate() const;
};

}  // namespace tallystick
