// A request on its way from the caller to the committer, with what the sidecars say of its events.
#pragma once

#include <cstdint>
#include <vector>

#include "tallystick/db.h"

namespace tallystick {

// An event of the batch whose id is in a segment.
struct ProbeHit {
  uint32_t entry = 0;  // index into the batch
  bool same_payload = false;
  Lsn original;  // 0: not looked up
  // With another payload: is this very copy quarantined in a segment already?
  bool conflict_kept = false;
  Lsn conflict;  // 0: not looked up
};

struct ProbeResult {
  // Every segment up to this LSN has been asked. What is above it only key tables can know.
  Lsn covered;
  std::vector<ProbeHit> hits;  // ascending by entry
};

struct Request {
  Batch batch;
  IngestDone done;
  IngestOptions options;
  ProbeResult probe;
};

}  // namespace tallystick
