// A model of what happens to rows after the log: segments, their sidecars, the manifests that name
// them, and the key tables that know an event until its sidecar does. Small enough to be explored
// exhaustively, beside the log's own model (wal_protocol.h), whose rules are taken for granted
// here: a log file is prepared whole, and of its rows only the last may be missing from the disk.
//
// Invariants, checked in every reachable state, against every way in which the process could end
// now:
//   F1  a row that was acknowledged or served is in a live segment or in the log
//   F2  no event is stored twice
//   F3  recovery never refuses after crashes and failed operations alone
//   F4  segments tile the LSNs from 1, and no row is both in a segment and in memory
//   F5  a recovery that is cut short and begins anew finds the same rows
//   F6  a rotten newest manifest, or a log that lost its end, is never passed over in silence
// and two that cost time, not rows:
//   F7  a sidecar that was installed is found by every recovery, unless it has rotted
//   F8  ingest is refused for keys that nobody knows only where a sidecar was missing at the start,
//       or has rotted
//
// docs/flush-protocol.md describes it. Thread rule: free functions without shared state.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "testing/model_result.h"

namespace tallystick {

// What the protocol demands; each can be left out, to show that the model notices.
enum class BrokenFlushRule : uint8_t {
  kNone,
  kSegmentNotSynced,        // a manifest names a .seg that is not synced
  kSegmentNameNotSynced,    // ... or whose name is not
  kManifestNameNotSynced,   // a manifest's name is not synced
  kLogFreedEarly,           // log files go when the manifest without them is not durable yet
  kSegmentRemovedInDoubt,   // a segment goes after a manifest whose outcome is unknown
  kMemtableKept,            // a flushed memtable stays beside its segment
  kLogDroppedUnflushed,     // a close lists no log file, and some rows are in no segment
  kFlushedBeforeRecovered,  // recovered rows are flushed before recovery has its own manifest
  kLastRowNotCopied,        // recovery ends the old log before its last row, and copies nothing
  kOrphansDeletedEarly,     // recovery deletes before its own manifest is durable
  kOlderManifestTaken,      // a damaged newest manifest is passed over
  kLostLogPassedOver,       // a segment that no manifest names reaches above the log's end: so what
  kKeysUnknownNotCompared,  // a request is judged whatever its probe had covered
  kDroppedNotSaid,          // a key table is dropped, and requests are not told
  kKeysDroppedOutOfOrder,   // a key table is dropped while an older one is kept
  kKeysDroppedEarly,        // a key table is dropped before its segment's sidecar is installed
  kProbeErrorIsNew,         // a page that cannot be read is taken for "not found"
  kCorruptIsEmpty,          // a sidecar that does not open is taken for an empty one
  kMissingIsEmpty,          // ... and so is one that is not there
  kSidecarNotSynced,        // an .idx is installed unsynced
  kSidecarNameNotSynced,    // the directory is synced after .seg, not after .idx
  kRebuiltNotSynced,        // a rebuilt .idx is renamed into place unsynced
  kRebuiltNameNotSynced,    // ... and its name is not synced
};
std::span<const BrokenFlushRule> AllBrokenFlushRules();  // without kNone
std::string_view BrokenFlushRuleName(BrokenFlushRule rule);

// How far the exploration goes.
struct FlushProtocolBounds {
  int events = 2;    // different ones; each may be sent at any time, any number of times
  int crashes = 2;   // killed or power cut, in any combination
  int failures = 1;  // of writes and syncs
  int spares = 1;    // log files prepared while running
  int rots = 0;      // sidecars that are damaged
  int closes = 0;    // clean stops
  // Whether one request may rest between its probe and its verdict, while others overtake it.
  bool pinned = false;
  bool safety_only = false;  // F7 and F8 are not looked at
};

// Breadth first, so that a counterexample is a shortest one.
ModelResult ExploreFlushProtocol(BrokenFlushRule rule, const FlushProtocolBounds& bounds);

}  // namespace tallystick
