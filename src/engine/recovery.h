// Recovery, first half: look, judge, change nothing. (The second half, which applies a plan, is
// replay.h for the rows and LogKeeper::Establish for the files.)
//
// The order of the whole, and why a crash at any point of it, or running it twice, gives the same
// database:
//   1. plan              read-only; opens segments and their sidecars (footers only)
//   2. replay            memory only
//   3. copy the last valid frame, the only one that may not be on disk, into a new, unlisted WAL
//   file
//   4. a manifest that ends the old file before that frame, drops listed files without frames, and
//   lists
//      the new one; until it is durable everything from before is still in place
//   5. only then delete or cut anything
//   6. serve
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/layout.h"
#include "manifest/manifest.h"
#include "query/view.h"
#include "segment/block_cache.h"
#include "tallystick/options.h"
#include "wal/wal_reader.h"

namespace tallystick {

struct OpenedSegments {
  SegmentList list;
  // For each: ok, or why it has no sidecar: missing (kNotFound), or not to be believed.
  std::vector<Status> sidecar_status;
  std::vector<Status> rollup_status;  // the same of its rollup
};

struct RecoveryPlan {
  Identity identity;
  Manifest manifest;  // the one that counts
  OpenedSegments segments;
  WalPlan wal;
  uint64_t next_number = 1;          // above every number in any name of the directory
  std::vector<std::string> orphans;  // paths of files that no manifest names; deleted last
  int64_t last_commit_time_us = 0;   // the later of the manifest's and the last frame's
};

// Creates an empty database in a directory that holds none, or finishes a creation that a crash
// interrupted. A directory that holds one already is left alone. kCorruption where IDENTITY or the
// manifest is missing and there are files that only a living database has.
Status CreateIfMissing(Env& env, const Layout& layout, IdentityScope scope);

// kFailedPrecondition `is_backup` or `restore_unfinished` where the directory is one of these and
// no database to be opened.
Status CheckIsNoBackup(FileSystem& fs, const Layout& layout);

// True where CreateIfMissing would have something to do.
Result<bool> IsMissing(FileSystem& fs, const Layout& layout);

Result<Identity> LoadIdentity(FileSystem& fs, const Layout& layout);

// Opens the footers of all listed segments and of their sidecars. `cache` outlives them.
// kCorruption where a segment is missing or is not what the manifest says.
Result<OpenedSegments> OpenSegments(FileSystem& fs, const Layout& layout, const Identity& identity,
                                    const Manifest& manifest, BlockCache& cache);

// kCorruption also where an unlisted segment proves that the log has lost its end.
Result<RecoveryPlan> PlanRecovery(FileSystem& fs, const Layout& layout, BlockCache& cache);

}  // namespace tallystick
