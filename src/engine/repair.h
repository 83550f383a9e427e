// Repair: what can be wrong with a directory, what is done about it, and what that loses. The table
// below has every case; a test makes each of them. `code` is the finding's, in the report.
//
//   inspect   repair_facts.h: reads every byte of the directory and judges each file by itself
//   plan      repair_plan.h: from which file each LSN's row is taken; which rows nobody has
//   apply     repair_apply.h: new segments, one manifest, and everything else set aside
//
// Invariants:
//  1. A row is kept if any file has it, verified: a segment whose footer or blocks are damaged, a
//     segment that no manifest names, a log file, listed or not. Of several the one that is whole
//     comes first; they are copies of each other, because an LSN means one row for as long as the
//     incarnation lasts.
//  2. The rows that are left stay in their old order, and get dense LSNs again. Up to the first
//     lost row LSNs do not change; segments wholly before it are kept as they are. All other rows,
//     those of the log too, are written to new segments; no log file is listed afterwards.
//  3. What a plan says was computed from the same rows, in the same way, as what is applied.
//  4. Nothing of the old database is changed, moved or deleted before the new manifest is durable.
//     While it is under way the file REPAIR says so, and nobody else opens the database: a start
//     would delete what it takes for orphans.
#pragma once

#include <array>
#include <string_view>

namespace tallystick {

struct RepairCase {
  std::string_view code;
  std::string_view found;
  std::string_view way;
  std::string_view lost;
};

inline constexpr std::array<RepairCase, 15> kRepairCases = {{
    {"identity_unreadable", "IDENTITY is missing, damaged, or of another database",
     "made anew from headers and footers; the scope from a segment, or as told", "nothing"},
    {"manifest_unreadable", "the newest manifest does not verify, or there is none",
     "made anew from the footers and frames that verify; never from an older one",
     "LSNs that no file has"},
    {"lsn_gap", "without a manifest: LSNs that no file has, but that there were", "left out",
     "these LSNs"},
    {"segment_missing", "a listed .seg is not there", "its rows from any other file",
     "its rows that no other file has"},
    {"segment_unreadable", "a .seg has no footer that verifies, or not the listed one",
     "its rows from any other file", "its rows that no other file has"},
    {"segment_blocks", "a .seg whose footer verifies has blocks that do not",
     "row groups that can be read whole are kept", "row groups that cannot, if no file has them"},
    {"commit_times", "the table of commit times of a .seg does not verify",
     "its rows get the commit time of the row before them", "these times"},
    {"log_end", "a .seg that no manifest names has rows above the end of the log",
     "its rows are kept", "nothing that it has"},
    {"log_file_missing", "a listed log file is not there", "later frames are kept",
     "the rows of its frames"},
    {"log_header", "a log file's header does not verify, or is another file's",
     "its frames name their file's salt themselves", "nothing, where its frames verify"},
    {"log_hole", "a frame does not verify or is missing, and there are later ones",
     "later frames are kept, with new LSNs", "the rows of that frame"},
    {"unreadable", "a file cannot be read (an I/O error)", "as damage of these bytes",
     "as of such damage"},
    {"conflict_orphaned", "a conflict whose original is lost", "left out: its id is forgotten too",
     "the conflict, which was in no total"},
    {"repair_unfinished", "REPAIR: an earlier repair was interrupted",
     "completed, or undone and begun anew", "nothing"},
    {"rebuilt_by_start", "a sidecar or a rollup is missing or does not verify",
     "none: the next start makes it anew", "nothing"},
}};

}  // namespace tallystick
