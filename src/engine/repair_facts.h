// What a damaged directory holds, file by file: the first half of repair. Everything is read and
// verified, nothing is changed.
//
// An I/O error is damage of the bytes that could not be read. But a folder that cannot be listed,
// or a file that is there and cannot be opened, ends the inspection: no permission, or too many
// open files, must not look like damage.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/decimal.h"
#include "engine/layout.h"
#include "engine/lsn_set.h"
#include "engine/repair_journal.h"
#include "manifest/manifest.h"
#include "segment/segment_reader.h"
#include "tallystick/repair.h"
#include "wal/wal_reader.h"

namespace tallystick {

// A .seg whose footer verifies. (Of others there is only a finding, and what is known of their
// rows.)
struct FoundSegment {
  std::string path;
  bool listed = false;    // the manifest lists it, and this is the content that it means
  bool misnamed = false;  // another number stands in its footer than in its name
  std::unique_ptr<SegmentReader> rows;
  ExactSum quantity;            // its footer's
  Status status;                // ok: every byte verifies
  std::vector<bool> bad_group;  // with a status: row groups of which not every row can be read
  LsnSet present;               // rows that can be read

  bool whole() const { return status.ok(); }
  LsnRange range() const { return {rows->info().first_lsn, rows->info().last_lsn}; }
};

// A WAL file of which frames can be read.
struct FoundLog {
  std::string path;
  FileNumber number;  // its header's; without a header, its name's
  bool header_good = false;
  uint64_t salt = 0;
};

// A valid frame of rows whose rows decode.
struct FoundFrame {
  size_t log = 0;  // index into RepairFacts::logs
  uint64_t offset = 0;
  uint64_t bytes = 0;
  FrameNumber number;
  Lsn first_lsn;
  uint32_t rows = 0;  // 0: a mark
  int64_t commit_time_us = 0;

  LsnRange range() const { return {first_lsn, {first_lsn.value + rows - 1}}; }
};

// Rows of which it is known that there were such, and what they added up to, apart from the rows
// themselves: of a damaged or missing segment.
struct KnownRows {
  std::string file;
  LsnRange range;
  std::optional<uint64_t> counted;
  std::optional<ExactSum> quantity;
  std::optional<std::pair<int64_t, int64_t>> timestamps_ms;  // of the rows in question
  std::vector<std::pair<std::string, uint64_t>> accounts;    // likewise
};

struct RepairFacts {
  Identity identity;
  bool identity_good = false;
  std::optional<Manifest> manifest;  // the one that counts
  bool unfinished_creation = false;  // the next start completes it; nothing to repair
  std::optional<RepairJournal> journal;
  bool journal_committed = false;

  std::unique_ptr<BlockCache> cache;           // outlives the segments
  std::unique_ptr<BlockCache> misnamed_cache;  // for files that claim a number that others have
  std::vector<FoundSegment> segments;
  std::vector<KnownRows> known;
  std::vector<FoundLog> logs;
  std::vector<FoundFrame> frames;      // of the history, ascending
  std::vector<FileNumber> older_logs;  // without a manifest: those that an older one lists
  bool log_good = true;                // with a manifest: a start would take the log as it is

  Lsn last_lsn;            // the highest LSN that there is evidence of
  bool more_lost = false;  // rows behind it may have been lost
  FrameNumber next_frame{1};
  uint64_t next_number = 1;  // above every number ever given out, as far as known
  int64_t last_commit_time_us = 0;
  std::vector<RepairFinding> findings;

  bool damaged() const;
};

// The names of a folder, sorted; none where there is no such folder.
Result<std::vector<std::string>> NamesOf(FileSystem& fs, const std::string& dir);

// Not ok: the file is there, and cannot be opened.
Status CheckThatItOpens(FileSystem& fs, const std::string& path);

// A finding of a status, whose message may say " at offset N".
RepairFinding FindingOf(std::string_view code, const std::string& file, const Status& status);
RepairFinding FindingOf(std::string_view code, const std::string& file, const std::string& what);

Result<RepairFacts> InspectForRepair(FileSystem& fs, const Layout& layout,
                                     const RepairOptions& options);

// --- parts of it, each with a file of its own ---

// repair_segments.cc. `candidates`: numbers of the .seg files that are there.
Status InspectSegments(FileSystem& fs, const Layout& layout, const std::set<uint64_t>& candidates,
                       RepairFacts* facts);
// Sidecars and rollups of segments that stay as they are.
void InspectSiblings(FileSystem& fs, const Layout& layout, const FoundSegment& segment,
                     std::vector<RepairFinding>* findings);
// repair_log.cc. `candidates`: numbers of the log files that are there. kFailedPrecondition: a
// frame of a newer version.
Status InspectLog(FileSystem& fs, const Layout& layout, const std::set<uint64_t>& candidates,
                  RepairFacts* facts);

}  // namespace tallystick
