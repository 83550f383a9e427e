// Repair of a damaged database that no process has open: first a plan, which changes nothing and
// says what is damaged and what would be lost; then, if that is accepted, the same plan carried
// out.
//
// What is kept: every row that some file of the directory still has, verified, in the old order.
// Where rows are lost, those behind the first lost one get new LSNs, so a repaired database has a
// new incarnation: what was said about an LSN before may be another row's now, and cursors of
// before are refused. The id of a lost event is forgotten with it: whoever sends it again has it
// counted, once.
//
// Nothing is deleted: what does not belong to the repaired database is moved to damaged/N-DATE/,
// with a report.
//
// Errors: kFailedPrecondition `locked`, `written_by_newer_version`, `database_id_unknown`,
// `identity_scope_unknown`; kNotFound `database_not_found`; kIoError of folders that cannot be
// listed, and of anything while applying.
// Thread rule: one call at a time on a directory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tallystick/event.h"
#include "tallystick/options.h"
#include "tallystick/status.h"

namespace tallystick {

struct RepairOptions {
  // Used only where IDENTITY is lost and no segment says it.
  std::optional<IdentityScope> identity_scope;
  uint32_t segment_rows_max = 300'000;  // of a rewritten segment; what is held in memory; >= 1
};

struct LsnRange {
  Lsn first, last;  // both included
  friend bool operator==(const LsnRange&, const LsnRange&) = default;
};

struct RepairFinding {
  enum class Kind : uint8_t {
    kDamage,   // what repair is for
    kRebuilt,  // a sidecar or rollup: the next start makes it anew, no repair is needed
    kNote,
  };
  Kind kind = Kind::kDamage;
  std::string code;  // stable; the table of src/engine/repair.h has them all
  std::string file;
  std::optional<uint64_t> offset;  // in the file, where that is known
  std::string what;
};

// The rows of one damaged file, or of one stretch of the log, that no file has any more.
struct RepairLoss {
  std::string file;
  uint64_t rows = 0;
  std::vector<LsnRange> lsns;           // ascending; the first thousand
  uint64_t lsns_left_out = 0;           // further ranges
  std::optional<uint64_t> counted;      // rows that were in totals; none: cannot be known
  std::optional<std::string> quantity;  // their sum; none: cannot be known
  // Between these times, ms since the epoch; none: cannot be known.
  std::optional<std::pair<int64_t, int64_t>> timestamps_ms;
  // Account and rows; at most so many where the sum is above `rows`. Empty: cannot be known.
  std::vector<std::pair<std::string, uint64_t>> accounts;  // the first thousand
  uint64_t accounts_left_out = 0;
};

struct RepairWay {
  std::string name;  // "keep": what is applied; "cut": for comparison, what it saves
  std::string what;
  uint64_t rows_kept = 0;
  uint64_t rows_lost = 0;
  std::string quantity_kept;
};

struct RepairReport {
  std::string directory;
  std::string database_id;
  std::vector<RepairFinding> findings;
  std::vector<RepairLoss> losses;
  std::vector<RepairWay> ways;  // empty where nothing is damaged

  bool damaged = false;  // there is something to repair
  bool applied = false;
  // Of the database as it is after the repair (without damage: as it is).
  uint64_t rows_kept = 0;
  uint64_t rows_quarantined = 0;  // of these
  std::string quantity_kept;      // sum of the counted rows
  uint64_t rows_lost = 0;
  // Nothing says how far the log reached: rows_lost is only what is known.
  bool manifest_lost = false;
  // There were later rows, or may have been, of which nothing is left to count them by.
  bool more_lost = false;
  std::optional<std::string> quantity_lost;  // none: cannot be known
  Lsn last_lsn;                              // the newest one after the repair
  Lsn first_renumbered;                      // rows from this old LSN on get new ones; 0: none
  uint64_t segments_kept = 0;
  uint64_t segments_written = 0;  // set when applied

  std::string set_aside;  // the folder, when applied
  uint64_t files_set_aside = 0;
  std::string incarnation;  // the new one, when applied
};

// Reads every byte of the directory, changes nothing (but the holder's id in LOCK).
Result<RepairReport> PlanRepair(const std::string& directory, const OpenOptions& options,
                                const RepairOptions& repair);

// Plans, and carries the plan out. Where nothing is damaged it changes nothing. A crash at any
// point leaves the old state or the new one; a repair that was interrupted is completed by the next
// ApplyRepair, and until then the database is not opened (kFailedPrecondition `repair_unfinished`).
Result<RepairReport> ApplyRepair(const std::string& directory, const OpenOptions& options,
                                 const RepairOptions& repair);

std::string RepairReportText(const RepairReport& report);  // lines for people
std::string RepairReportJson(const RepairReport& report);  // one object, one line

}  // namespace tallystick
