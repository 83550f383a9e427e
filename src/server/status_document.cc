#include "server/status_document.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace tallystick {

// Keys are put in alphabetical order; Boost.JSON prints them in the order put.
std::string StatusDocument(const DbStatus& db, const Status& ready, int64_t uptime_s) {
  using boost::json::object;
  object out;
  out["compaction"] = object();
  out["database_id"] = db.database_id;
  object flush{{"failures", db.flush_failures}, {"flushes", db.flushes}};
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
  out["segments"] = object{{"bytes", db.segment_bytes},
                           {"count", db.segments},
                           {"damaged", db.segments_damaged},
                           {"rows", db.segment_rows}};
  out["sidecars"] =
      object{{"corrupt", db.sidecars_corrupt},      {"filter_bytes", db.filter_bytes},
             {"filters_loaded", db.filters_loaded}, {"hit", db.sidecars_hit},
             {"missing", db.sidecars_missing},      {"rebuilt", db.sidecars_rebuilt},
             {"unknown", db.sidecars_unknown},      {"write_failures", db.sidecar_write_failures}};
  out["state"] = serving ? "serving" : "read_only";
  out["uptime_s"] = uptime_s;
  out["version"] = Version();
  out["wal"] =
      object{{"bytes", db.wal_bytes}, {"files", db.wal_files}, {"poisoned", db.wal_poisoned}};
  return boost::json::serialize(out);
}

}  // namespace tallystick
