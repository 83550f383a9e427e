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
  out["flushed_lsn"] = db.flushed_lsn.value;
  out["identity_scope"] = db.identity_scope == IdentityScope::kAccount ? "account" : "global";
  out["incarnation"] = db.incarnation;
  out["lsn"] = db.lsn.value;
  out["memory"] = object{
      {"bytes", db.memory_bytes}, {"key_tables", db.key_tables}, {"memtables", db.memtables}};
  out["queue"] = object{{"bytes", db.queue_bytes}, {"events", db.queue_events}};
  const bool serving = ready.ok() && !db.read_only;
  if (!serving) out["reason"] = ready.ok() ? "read_only" : ready.reason();
  out["recovery"] = object{{"frames", db.recovery_frames},
                           {"ms", db.recovery_ms},
                           {"rows", db.recovery_rows},
                           {"torn_bytes", db.recovery_torn_bytes}};
  out["segments"] = object{{"bytes", 0}, {"count", 0}, {"damaged", 0}, {"rows", 0}};
  out["sidecars"] = object{{"corrupt", 0}, {"hit", 0}, {"missing", 0}, {"rebuilt", 0}};
  out["state"] = serving ? "serving" : "read_only";
  out["uptime_s"] = uptime_s;
  out["version"] = Version();
  out["wal"] =
      object{{"bytes", db.wal_bytes}, {"files", db.wal_files}, {"poisoned", db.wal_poisoned}};
  return boost::json::serialize(out);
}

}  // namespace tallystick
