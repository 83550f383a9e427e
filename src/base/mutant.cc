#include "base/mutant.h"

#ifdef TALLY_MUTANTS
#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr std::array<std::string_view, 44> kNames = {
    "ack_before_sync",          // the group is answered and published before its frame is written
    "sync_skipped",             // an append never syncs
    "short_write_ignored",      // a short write counts as a whole one
    "dir_sync_dropped",         // new names are never synced
    "sync_retried",             // a failed append or sync is tried again instead of poisoning
    "stale_frame_believed",     // a recycled file keeps its salt
    "checksum_not_compared",    // a frame's checksum is not looked at
    "mid_log_truncated",        // a bad frame ends the log, whatever stands behind it
    "tail_not_rewritten",       // recovery goes on in the old file's place without copying the tail
    "early_duplicate",          // a duplicate is answered before its original is durable
    "lsn_reused",               // recovery gives out the last LSN again
    "mark_after_poison",        // a mark is written to a poisoned log
    "offered_before_listed",    // a spare is offered before the manifest that lists it is durable
    "older_manifest_taken",     // a damaged newest manifest is skipped
    "deleted_before_manifest",  // recovery deletes before its own manifest is durable
    "conflict_counted",         // a quarantined row is counted
    "commit_time_goes_back",    // commit times follow the wall clock, also backwards
    "root_not_synced",          // recovery trusts the names of IDENTITY and folders unsynced
    "key_table_dropped_early",  // a key table goes before its segment's sidecar answers
    "stale_probe_believed",     // a request that did not look everywhere is judged all the same
    "segment_sync_skipped",     // a segment's rows are never synced
    "segment_dir_sync_dropped",      // the names of a flush's files are not synced
    "wal_freed_early",               // log files go before the manifest that drops them is durable
    "segment_removed_in_doubt",      // a segment goes after a manifest whose outcome is unknown
    "orphans_deleted_early",         // orphans go before recovery's own manifest is durable
    "sidecar_read_error_is_absent",  // a probe's read error is taken for "not found"
    "foreign_page_believed",         // a sidecar's page is not verified
    "corrupt_sidecar_is_empty",      // a damaged sidecar opens as one without entries
    "foreign_sidecar_believed",      // whose sidecar it is is not compared
    "filter_key_missing",            // one key is left out of the filter
    "key_tables_dropped_out_of_order",  // the newest key table goes in the oldest one's place
    "rollup_above_lsn",                 // a rollup answers for rows that are later than the read
    "rollup_edges_dropped",             // parts of hours are left out
    "rolled_up_rows_counted",           // rows are counted although their rollup line was
    "rollup_error_is_empty",            // a rollup that cannot be read has no lines
    "foreign_rollup_believed",          // whose rollup it is is not compared
    "as_of_not_settled",                // a time is said to be settled without a mark
    "inputs_deleted_early",             // a merge's inputs go before its manifest is durable
    "row_map_shifted",                  // a merged sidecar's row numbers are off by one
    "merged_key_missing",               // some keys of a merged sidecar are lost to others
    "compaction_check_skipped",         // a merged segment is not read back
    "bad_sidecar_merged",               // a merge keeps the keys of a sidecar that was found bad
    "usagedb_checksum_trusted",         // an import believes a segment whose checksum is wrong
    "backup_misses_last_segment",       // a backup is taken without the newest segment
};

std::string_view ActiveName() {
  static const std::string_view active = [] {
    const char* name = std::getenv("TALLY_MUTANT");
    std::string_view view = name == nullptr ? "" : name;
    TALLY_CHECK(view.empty() || std::find(kNames.begin(), kNames.end(), view) != kNames.end());
    return view;
  }();
  return active;
}

}  // namespace

bool MutantActive(const char* name) {
  TALLY_DCHECK(std::find(kNames.begin(), kNames.end(), name) != kNames.end());
  return ActiveName() == name;
}

}  // namespace tallystick
#endif
