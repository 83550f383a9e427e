// The way in from usageDb 0.4.0, and back (docs/usagedb.md).
//
// Thread rule: one call at a time on a directory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tallystick/event.h"
#include "tallystick/options.h"
#include "tallystick/status.h"

namespace tallystick {

struct UsageDbProgress {
  std::string_view phase;  // "reading", "importing", "proving", "exporting"
  uint64_t done = 0;       // rows
  uint64_t all = 0;        // about; logs do not say how many they have
};
using OnUsageDbProgress = std::function<void(const UsageDbProgress&)>;  // may be empty

// --- in ---

struct UsageDbImportOptions {
  OpenOptions open;              // of the database; limits of ingest do not count
  bool dry_run = false;          // read and report everything, write nothing
  bool skip_damaged = false;     // import what verifies, and say what was left out
  uint32_t batch_events = 4096;  // >= 1, <= open.batch_events_max
  // Ids that are in memory at once (about 48 bytes each). A source with more is read once more for
  // each further share.
  uint64_t keys_per_pass = 16 << 20;  // >= 1
  // So long a disk is waited for that gives no log file or no sidecar, or lets no merge succeed;
  // then the import ends, and can be resumed.
  uint32_t trouble_wait_ms = 60'000;
  OnUsageDbProgress progress;
};

// Something of the source that could not be read. `what` has the offset or the line.
struct UsageDbDamage {
  std::string file;
  std::string what;
};

// A copy of an event whose payload is another than the first copy's.
struct UsageDbCopy {
  std::string event_id;
  std::string file;
  uint64_t place = 0;  // row of a segment, from 0; line of a log, from 1
};

// An event that Tallystick cannot hold.
struct UsageDbRefused {
  std::string event_id;
  std::string file;
  uint64_t place = 0;
  std::string code;  // as in docs/api.md
  std::string message;
};

// A raw segment that no manifest names.
struct UsageDbLeftover {
  std::string file;
  uint64_t events = 0;  // that nothing imported has
  std::string fault;    // why it could not be read, as after a write that did not finish
};

struct UsageDbClosedPeriod {
  std::string account_id;
  std::string period;  // "2026-06"
  int64_t closed_at_ms = 0;
  std::string frozen_quantity;  // empty: none was kept
  std::optional<uint64_t> frozen_event_count;
};

struct UsageDbImportReport {
  static constexpr size_t kListedMax =
      1000;  // of copies, refused events and damage; counts are whole

  // ok: everything was read and, unless dry_run, imported and proved. Else the first of
  //   kCorruption `damaged`, `sidecar_corrupt`   something of the source could not be read
  //   kCorruption `leftover_events`    segments that no manifest names have events of their own
  //   kInvalidArgument `refused`       Tallystick cannot hold an event
  //   kFailedPrecondition `not_proven` the database does not hold what the source does (faults)
  Status status;

  // The source.
  std::string manifest_file;  // empty: there are only logs
  uint64_t segments = 0;
  uint64_t logs = 0;
  uint64_t rows = 0;        // that could be read
  uint64_t events = 0;      // distinct; the four below add up to `rows`
  uint64_t duplicates = 0;  // further copies with the same payload: dropped
  uint64_t conflicts = 0;   // further copies with another one: quarantined
  uint64_t refused = 0;
  uint64_t accounts = 0;
  uint64_t meters = 0;
  std::string quantity;  // sum of the distinct events
  uint64_t sidecars_hit = 0;
  uint64_t sidecars_missing = 0;
  uint64_t sidecars_corrupt = 0;
  std::vector<UsageDbDamage> sidecar_faults;
  uint64_t damages = 0;
  std::vector<UsageDbDamage> damaged;    // the first kListedMax
  std::vector<UsageDbCopy> conflicting;  // the first kListedMax
  std::vector<UsageDbRefused> refused_events;
  std::vector<UsageDbClosedPeriod> closed_periods;
  std::vector<std::string> leftovers;              // files that no manifest names; never imported
  uint64_t leftover_events = 0;                    // in the segments among them
  std::vector<UsageDbLeftover> leftover_segments;  // with such events, or not to be read
  int64_t reading_us = 0;

  // The database. Not `written`: a dry run, or refused for damage.
  bool written = false;
  uint64_t accepted = 0;       // by this run
  uint64_t already_there = 0;  // of an earlier run
  bool held_more = false;      // the database had other events before
  Lsn lsn;
  int64_t importing_us = 0;
  uint64_t fault_count = 0;         // of the proof
  std::vector<std::string> faults;  // the first hundred
};

// Reads all of `source`, then ingests it into `directory`, which is created if need be, and
// compares the sums of every account and meter with those that the source's rows gave. May be run
// again after it was interrupted: nothing is counted twice. Nothing is written to `source`.
//
// Errors, before anything is written: kFailedPrecondition `source_locked` (a usageDb runs on it) or
// `identity_scope` (the database identifies events in another way); kNotFound; kCorruption where
// CURRENT or the manifest cannot be read. Later: those of Db.
Result<UsageDbImportReport> ImportUsageDb(const std::string& source, const std::string& directory,
                                          const UsageDbImportOptions& options);

// --- out ---

struct UsageDbExportOptions {
  OpenOptions open;        // of the database
  bool leave_out = false;  // events that usageDb cannot hold are counted and left out
  uint32_t bucket_count = 64;
  uint64_t memory_bytes_max = 256 << 20;  // of rows that wait to be written
  OnUsageDbProgress progress;
};

struct UsageDbExportReport {
  uint64_t events = 0;  // written
  uint64_t segments = 0;
  uint64_t bytes = 0;                     // of the .seg files
  uint64_t quarantined = 0;               // left out: they were never counted
  uint64_t left_out = 0;                  // usageDb cannot hold them
  std::vector<std::string> left_out_ids;  // the first 1000
  Lsn lsn;
};

// Writes `target`, which is created if need be and must hold nothing of a usageDb, as a data
// directory of usageDb 0.4.0. CURRENT is written last: without it there is no database. On an error
// what was written is removed.
//
// kInvalidArgument `quantity_not_whole` names the event that usageDb cannot hold;
// kFailedPrecondition `identity_scope` where ids are unique by account only, `target_not_empty`.
Result<UsageDbExportReport> ExportUsageDb(const std::string& directory, const std::string& target,
                                          const UsageDbExportOptions& options);

}  // namespace tallystick
