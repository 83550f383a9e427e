// Db: a usage-metering database in one directory.
//
//   auto db = tallystick::Db::Open("data", {});            // Result<Db>
//   tallystick::Batch batch = db->NewBatch();
//   batch.Add({.event_id = "e1", .account_id = "acme", ...});
//   auto result = db->Ingest(std::move(batch));            // returns when the rows are durable
//   auto bill = db->Aggregate({.account_id = "acme", .from_ms = ..., .to_ms = ...});
//
// Promises, in this order: an acknowledged event is never lost; no event is counted twice; a total
// equals the sum of its rows, exactly, at a stated LSN.
//
// Thread rule: every method but Close and the destructor may be called from any thread at any time.
// Close and the destructor need all other calls to have returned.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tallystick/backup.h"
#include "tallystick/event.h"
#include "tallystick/options.h"
#include "tallystick/query.h"
#include "tallystick/status.h"

namespace tallystick {

struct IngestResult {
  uint64_t accepted = 0;
  uint64_t duplicates = 0;
  uint64_t conflicts = 0;
  uint64_t rejected = 0;
  Lsn lsn;                             // visible when the group was published
  std::vector<EventOutcome> outcomes;  // one for every event of the batch, in order
  Batch batch;                         // handed back (event ids, reuse of its memory)

  explicit IngestResult(Batch b) : batch(std::move(b)) {}
};

// Called exactly once, from the committer or, on a refusal, from within IngestAsync itself. Must
// not block and must not call back into the Db except IngestAsync.
using IngestDone = std::move_only_function<void(Result<IngestResult>)>;

// A merge that is going on.
struct CompactionProgress {
  uint64_t output = 0;  // number of the segment that is made
  uint64_t inputs = 0;  // segments
  Lsn first_lsn;
  Lsn last_lsn;
  uint64_t rows = 0;
  uint64_t rows_done = 0;  // in this phase
  std::string_view phase;  // rows, check, keys, check_keys, sums, names, manifest
};

// Damage that a scrub found.
struct ScrubFinding {
  std::string file;
  std::optional<uint64_t> offset;  // none: of the file as a whole
  std::string what;
  int64_t found_ms = 0;  // wall clock
};

// The reading of all files in the background. Counters since open.
struct ScrubStatus {
  uint64_t passes = 0;  // ended
  uint64_t files = 0;
  uint64_t bytes = 0;
  uint64_t faults = 0;
  uint64_t last_pass_faults = 0;
  int64_t last_pass_ended_ms = 0;  // wall clock; 0: none has
  bool running = false;            // a pass is
  std::string file;                // that it is at
  uint64_t pass_bytes = 0;         // of this pass, or of the last one
  uint64_t pass_bytes_expected = 0;
  std::vector<ScrubFinding> findings;  // the last 16, oldest first
};

struct DbStatus {
  std::string database_id;  // 32 hex digits
  std::string incarnation;  // 16 hex digits
  Status ingest;  // ok, or why ingest is refused (log_poisoned, memory_full, no_space, ...)
  bool read_only = false;
  IdentityScope identity_scope = IdentityScope::kGlobal;
  Lsn lsn;
  Lsn flushed_lsn;
  uint64_t wal_files = 0;
  uint64_t wal_bytes = 0;
  bool wal_poisoned = false;
  uint64_t memtables = 0;
  uint64_t key_tables = 0;
  uint64_t memory_bytes = 0;
  uint64_t recovery_frames = 0;
  uint64_t recovery_rows = 0;
  uint64_t recovery_ms = 0;
  uint64_t recovery_torn_bytes = 0;
  // Segments, and their dedupe sidecars.
  uint64_t segments = 0;
  uint64_t segment_rows = 0;
  uint64_t segment_bytes = 0;     // of the .seg files
  uint64_t segments_damaged = 0;  // a block did not verify; reads of it fail
  uint64_t sidecars_hit = 0;      // at open: there and bound to their segment
  uint64_t sidecars_missing = 0;  // at open
  uint64_t sidecars_corrupt = 0;  // at open and since
  uint64_t sidecars_rebuilt = 0;
  uint64_t sidecars_unknown = 0;  // now: ingest is refused until they are rebuilt
  uint64_t sidecar_write_failures = 0;
  Status sidecar_rebuild;     // ok, or why the last one could not be rebuilt; it is tried again
  uint64_t rollups = 0;       // segments with one
  uint64_t rollup_lines = 0;  // 0 where they would save little
  uint64_t rollup_bytes = 0;
  uint64_t rollups_corrupt = 0;  // at open and since
  uint64_t rollups_rebuilt = 0;
  uint64_t rollup_write_failures = 0;
  uint64_t filter_bytes = 0;  // in memory
  uint64_t filters_loaded = 0;
  uint64_t flushes = 0;
  uint64_t flush_bytes_written = 0;  // rows, sidecars, rollups
  uint64_t flush_failures = 0;
  Status flush;  // ok, or why the last attempt failed
  // Compaction.
  uint64_t segment_file_bytes = 0;  // now, of rows, sidecars and rollups
  uint32_t runs = 0;                // segments that merging has not done with
  uint64_t compactions = 0;
  uint64_t compaction_failures = 0;
  uint64_t compaction_sidecar_failures = 0;  // among them
  uint64_t compaction_rows = 0;              // merged
  uint64_t compaction_bytes_written = 0;     // rows, sidecars, rollups
  uint64_t segments_deleted = 0;
  uint64_t compaction_left_out =
      0;  // segments that merges came to nothing with, not known as damaged
  uint64_t compaction_due_inputs = 0;  // segments of the merge that is due next; 0: none is
  uint64_t compaction_due_rows = 0;
  Status compaction;  // ok, or why the last attempt failed, or kNoSpace: the next waits for room
  std::vector<CompactionProgress>
      compacting;  // a small merge interrupts a large one: the last goes on
  ScrubStatus scrub;
  uint64_t cache_bytes = 0;
  uint64_t probe_pages = 0;  // requests that needed sidecar pages
  uint64_t probe_again = 0;  // requests sent back to probe
  // Backups since open: the one that is running, or the last one.
  bool backup_running = false;
  std::string backup_target;
  uint64_t backup_files_done = 0;
  uint64_t backup_files = 0;
  uint64_t backup_bytes_done = 0;  // read, of files that were not kept
  uint64_t backups = 0;            // completed
  uint64_t backup_failures = 0;
  Status backup;   // ok, or why the last one failed
  Lsn backup_lsn;  // of the last one that was completed
  int64_t backup_created_us = 0;
  // Counters since open.
  uint64_t frames_written = 0;
  uint64_t marks_written = 0;
  uint64_t frame_bytes_written = 0;
  uint64_t events_accepted = 0;
  uint64_t events_duplicate = 0;
  uint64_t events_conflict = 0;
  uint64_t events_rejected = 0;
  uint64_t queue_events = 0;
  uint64_t queue_bytes = 0;
  uint64_t queue_full = 0;  // requests refused
};

struct VerifyReport {
  uint64_t rows = 0;
  uint64_t accounts = 0;
  uint64_t conflicts = 0;
  uint64_t rollup_lines = 0;  // recomputed from their rows
  Lsn lsn;
  std::vector<std::string> faults;  // empty: everything agrees
};

class Db {
 public:
  // Creates or recovers. kCorruption and kIoError refuse and change nothing; kFailedPrecondition
  // `locked` names the process that holds the directory; kNotFound without create_if_missing.
  static Result<Db> Open(const std::string& directory, const OpenOptions& options);

  Db(Db&&) noexcept;
  Db& operator=(Db&&) noexcept;
  ~Db();  // closes; prefer Close(), which tells

  Batch NewBatch() const;

  // Blocks until every event of the batch has its outcome and the accepted ones are durable.
  // Errors refuse the whole batch, as 503 would (kUnavailable: queue_full, memory_full,
  // dedupe_rebuilding, log_poisoned; kNoSpace) or as a mistake (kInvalidArgument: batch_too_large).
  // After an error other than kInvalidArgument it is unknown whether the events were stored: send
  // them again. The sidecars are probed in this thread.
  Result<IngestResult> Ingest(Batch batch, const IngestOptions& options = {});
  // Probes filters in this thread; where pages must be read, that is done by a task of the engine.
  void IngestAsync(Batch batch, IngestDone done, const IngestOptions& options = {});

  Result<UsageResult> Aggregate(const UsageQuery& query) const;
  // Every path's answer at one LSN, compared line by line. `path` and `explain` are ignored.
  Result<PathComparison> ComparePaths(const UsageQuery& query) const;
  Result<AccountsPage> ListAccounts(const AccountsQuery& query) const;
  Result<EventStream> ListEvents(const EventsQuery& query) const;
  // With identity scope kAccount, `account_id` is required (kInvalidArgument
  // `account_id_required`). kNotFound `event_not_found`.
  Result<EventLookup> GetEvent(std::string_view event_id, std::string_view account_id = {},
                               std::optional<Lsn> as_of_lsn = std::nullopt) const;
  Result<ConflictsPage> ListConflicts(const ConflictsQuery& query) const;

  Lsn VisibleLsn() const;
  // The last row committed at or before this time, for as_of_lsn: the same time gives the same LSN
  // for ever. Where nothing later is durable yet, that is made so first, by an empty frame in the
  // log; blocks until then. kInvalidArgument `as_of_in_future`; kUnavailable where the log takes
  // nothing (log_poisoned, no_space, ...).
  Result<Lsn> LsnAt(int64_t epoch_us) const;
  // What LsnAt waits for: `done` is called once (from the committer, or within the call) when the
  // answer for this time can no longer change, or with the error; it must not block.
  void SettleTime(int64_t epoch_us, std::function<void(Status)> done) const;
  DbStatus GetStatus() const;
  // ok if ingest would be taken now; cheap.
  Status Ready() const;

  // Merges segments while any two may be, though none is due: the smallest number of files. `done`
  // is called once, from a task of the engine, with ok or with why a merge failed.
  void CompactAsync(std::function<void(Status)> done);
  // The same; blocks. `progress` (may be empty) is called now and then with what is going on.
  Status Compact(const std::function<void(const DbStatus&)>& progress);
  // Copies the database, as it is at one moment, to the directory `target`: absent, or an earlier
  // backup of this database, which is brought up to date. Ingest and reads go on. The parent of
  // `target` must exist; a relative path is one of this process. See backup.h. One at a time:
  // kFailedPrecondition `backup_running`; `target_not_backup`, `foreign_backup`; kInvalidArgument
  // `invalid_target`; kNoSpace. After an error an earlier backup in `target` is still whole.
  Result<BackupReport> Backup(const std::string& target, const BackupOptions& options = {});
  // `done` is called once: from the backup's task, from Close, or on a refusal from within. It must
  // not block.
  void BackupAsync(const std::string& target, BackupDone done, const BackupOptions& options = {});

  // Recounts everything from the rows, and compares with what queries answer, with the key tables
  // and with the sidecars (every row is hashed again). `progress` (may be empty) gets rows done and
  // rows in all.
  Result<VerifyReport> Verify(const std::function<void(uint64_t, uint64_t)>& progress) const;

  // Has the background read every file of the database again at once: at the usual rate, told by
  // GetStatus().scrub. kFailedPrecondition `scrub_off` where scrub_bytes_per_second is 0.
  Status StartScrub();
  // Reads every file of the database in the caller's thread, as fast as it goes. What is wrong is
  // told, and dealt with as in the background: damaged sidecars and rollups are rebuilt, damaged
  // segments are marked. `progress` (may be empty) gets bytes done and bytes expected. Faults of
  // this reading, and of the siblings that Open did not take, once, are in its result alone.
  Result<ScrubStatus> Scrub(const std::function<void(uint64_t, uint64_t)>& progress);

  // Finishes what is queued, flushes what it can (flush_on_close_ms_max), releases the directory.
  // Idempotent.
  Status Close();

 private:
  class Impl;
  explicit Db(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

std::string_view Version();  // "0.1.0"

}  // namespace tallystick
