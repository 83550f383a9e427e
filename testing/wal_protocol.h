// A model of the write-ahead log's protocol, small enough to be explored exhaustively.
//
// It has no bytes and no checksums: a file is a header and three blocks, each block has a visible
// and a durable value, names and manifests likewise. What remains is exactly what durability is
// about: the order of writes, syncs, renames and directory syncs, and what a killed process or a
// power cut leaves of them at any point, twice in a row, inside recovery too. docs/wal-protocol.md
// describes it.
//
// Invariants, checked in every reachable state, against every way in which the power could go now:
//   I1  an acknowledged frame is found by every recovery from here on
//   I2  recovery never refuses after crashes and failed syncs alone
//   I3  a log sequence number that was acknowledged is never given to another content
//   I4  what an earlier recovery served is never lost later
//   I5  only files in the durable list are written to by the committer
//   I6  a rotten frame that has a successor, or a rotten newest manifest, is never passed over in
//   silence
//
// Thread rule: free functions without shared state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "testing/model_result.h"

namespace tallystick {

// What the protocol demands; each can be left out, to show that the model notices.
enum class BrokenRule : uint8_t {
  kNone,
  kAckBeforeSync,          // acknowledged when written, synced later
  kSyncSkipped,            // an append is never synced
  kEarlyDuplicate,         // a duplicate is answered before its original is durable
  kSyncRetried,            // a failed sync is called again, and believed
  kMarkAfterPoison,        // a mark is written behind a frame whose sync failed
  kTwoOutstanding,         // frame n+1 is written before frame n is synced
  kWalNameNotSynced,       // a prepared file's name is not synced before it is listed
  kHeaderNotSynced,        // ... nor its header
  kOfferedBeforeListed,    // a spare is offered before the manifest that lists it
  kManifestNotSynced,      // a manifest is renamed into place unsynced
  kManifestNameNotSynced,  // ... and its name is not synced
  kFoundNotSynced,         // recovery creates files before the manifest that it read is durable
  kTailNotCopied,          // recovery lists the old file with its last frame, and copies nothing
  kTailCopyNotSynced,      // the copy is not synced before it is listed
  kDeletedBeforeManifest,  // recovery deletes before its own manifest is durable
  kServedBeforeApply,      // recovery serves what it read before it has written it again
  kSaltKept,               // a recycled file keeps its salt
  kRecycledWhileListed,    // a file is recycled while a manifest still lists it
  kMidLogTruncated,        // a bad frame ends the log, whatever stands behind it
  kOlderManifestTaken,     // a damaged newest manifest is passed over
  kLsnReused,              // recovery gives out the last LSN again
};
std::span<const BrokenRule> AllBrokenRules();  // without kNone
std::string_view BrokenRuleName(BrokenRule rule);

// How far the exploration goes. The defaults take a few seconds.
struct WalProtocolBounds {
  int crashes = 2;       // killed or power cut, in any combination
  int frames = 2;        // appended over the whole run, of one or two blocks
  int failed_syncs = 1;  // or failed writes
  int spares = 1;        // files prepared while running, created or recycled
};

using WalProtocolResult = ModelResult;

// Breadth first, so that a counterexample is a shortest one.
WalProtocolResult ExploreWalProtocol(BrokenRule rule, const WalProtocolBounds& bounds = {});

// Whether operations of the real engine, in the line form of testing/trace_fs.h (`create wal/000003
// direct`, `write wal/000003 0+4096`, `sync wal/000003`, `rename A B`, `syncdir wal`, `remove A`),
// are in an order that the model allows. If not, `why` has the line and the rule. The trace must be
// of one process and without failed operations.
bool TraceIsPathOfModel(const std::vector<std::string>& trace_lines, std::string* why);

}  // namespace tallystick
