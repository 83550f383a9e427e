#include "server/status_document.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <utility>

namespace tallystick {
namespace {

boost::json::object ScrubObject(const ScrubStatus& scrub) {
  boost::json::array findings;
  for (const ScrubFinding& finding : scrub.findings) {
    boost::json::object one{{"file", finding.file}, {"found_ms", finding.found_ms}};
    if (finding.offset.has_value()) one["offset"] = *finding.offset;
    one["what"] = finding.what;
    findings.push_back(std::move(one));
  }
  boost::json::object out{{"bytes", scrub.bytes}, {"faults", scrub.faults}};
  if (scrub.running) out["file"] = scrub.file;
  out["files"] = scrub.files;
  out["findings"] = std::move(findings);
  if (scrub.passes > 0) {
    out["last_pass_ended_ms"] = scrub.last_pass_ended_ms;
    out["last_pass_faults"] = scrub.last_pass_faults;
  }
  out["pass_bytes"] = scrub.pass_bytes;
  out["pass_bytes_expected"] = scrub.pass_bytes_expected;
  out["passes"] = scrub.passes;
  out["running"] = scrub.running;
  return out;
}

boost::json::object CompactionObject(const DbStatus& db) {
  using boost::json::object;
  boost::json::array running;
  for (const CompactionProgress& merge : db.compacting) {
    running.push_back(object{{"first_lsn", merge.first_lsn.value},
                             {"inputs", merge.inputs},
                             {"last_lsn", merge.last_lsn.value},
                             {"output", merge.output},
                             {"phase", merge.phase},
                             {"rows", merge.rows},
                             {"rows_done", merge.rows_done}});
  }
  object out{{"bytes_written", db.compaction_bytes_written},
             {"compactions", db.compactions},
             {"due", nullptr},
             {"failures", db.compaction_failures},
             {"left_out", db.compaction_left_out}};
  if (db.compaction_due_inputs > 0) {
    out["due"] = object{{"inputs", db.compaction_due_inputs}, {"rows", db.compaction_due_rows}};
  }
  if (!db.compaction.ok()) out["reason"] = db.compaction.reason();
  out["rows"] = db.compaction_rows;
  out["running"] = std::move(running);
  out["runs"] = db.runs;
  out["segments_deleted"] = db.segments_deleted;
  out["sidecar_failures"] = db.compaction_sidecar_failures;
  // Since the start, and only where something was flushed since.
  if (db.flush_bytes_written == 0) {
    out["write_amplification"] = nullptr;
  } else {
    const auto flushed = static_cast<double>(db.flush_bytes_written);
    out["write_amplification"] =
        (flushed + static_cast<double>(db.compaction_bytes_written)) / flushed;
  }
  return out;
}

boost::json::object BackupObject(const DbStatus& db) {
  boost::json::object out{
      {"backups", db.backups}, {"failures", db.backup_failures}, {"running", db.backup_running}};
  if (db.backups > 0) {
    out["lsn"] = db.backup_lsn.value;
    out["created_at_ms"] = db.backup_created_us / 1000;
  }
  if (!db.backup.ok()) out["reason"] = db.backup.reason();
  if (!db.backup_target.empty()) out["target"] = db.backup_target;
  if (db.backup_running) {
    out["bytes_done"] = db.backup_bytes_done;
    out["files"] = db.backup_files;
    out["files_done"] = db.backup_files_done;
  }
  return out;
}

}  // namespace

// Boost.JSON prints the keys in the order in which they are put: here the alphabet's.
std::string StatusDocument(const DbStatus& db, const Status& ready, int64_t uptime_s) {
  using boost::json::object;
  object out;
  out["backup"] = BackupObject(db);
  out["compaction"] = CompactionObject(db);
  out["database_id"] = db.database_id;
  object flush{{"bytes_written", db.flush_bytes_written},
               {"failures", db.flush_failures},
               {"flushes", db.flushes}};
  if (!db.flush.ok()) flush["reason"] = db.flush.reason();
  out["flush"] = flush;
  out["flushed_lsn"] = db.flushed_lsn.value;
  out["identity_scope"] = db.identity_scope == IdentityScope::kAccount ? "account" : "global";
  out["incarnation"] = db.incarnation;
  out["lsn"] = db.lsn.value;
  out["memory"] = object{{"bytes", db.memory_bytes},
                         {"cache_bytes", db.cache_bytes},
                         {"key_tables", db.key_tables},
                         {"memtables", db.memtables}};
  out["queue"] = object{{"bytes", db.queue_bytes}, {"events", db.queue_events}};
  const bool serving = ready.ok() && !db.read_only;
  if (!serving) out["reason"] = ready.ok() ? "read_only" : ready.reason();
  out["recovery"] = object{{"frames", db.recovery_frames},
                           {"ms", db.recovery_ms},
                           {"rows", db.recovery_rows},
                           {"torn_bytes", db.recovery_torn_bytes}};
  out["rollups"] =
      object{{"bytes", db.rollup_bytes},      {"corrupt", db.rollups_corrupt},
             {"count", db.rollups},           {"lines", db.rollup_lines},
             {"rebuilt", db.rollups_rebuilt}, {"write_failures", db.rollup_write_failures}};
  out["scrub"] = ScrubObject(db.scrub);
  out["segments"] = object{{"bytes", db.segment_bytes},
                           {"count", db.segments},
                           {"damaged", db.segments_damaged},
                           {"file_bytes", db.segment_file_bytes},
                           {"rows", db.segment_rows}};
  object sidecars{{"corrupt", db.sidecars_corrupt},
                  {"filter_bytes", db.filter_bytes},
                  {"filters_loaded", db.filters_loaded},
                  {"hit", db.sidecars_hit},
                  {"missing", db.sidecars_missing}};
  if (!db.sidecar_rebuild.ok()) sidecars["reason"] = db.sidecar_rebuild.reason();
  sidecars["rebuilt"] = db.sidecars_rebuilt;
  sidecars["unknown"] = db.sidecars_unknown;
  sidecars["write_failures"] = db.sidecar_write_failures;
  out["sidecars"] = sidecars;
  out["state"] = serving ? "serving" : "read_only";
  out["uptime_s"] = uptime_s;
  out["version"] = Version();
  out["wal"] =
      object{{"bytes", db.wal_bytes}, {"files", db.wal_files}, {"poisoned", db.wal_poisoned}};
  return boost::json::serialize(out);
}

}  // namespace tallystick
