// Reading the log at start: what the listed files hold, in order, and how the log ends.
//
// PlanWal reads and judges, and changes nothing; ReplayWalFile reads a judged file again, frame by
// frame.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "env/env.h"
#include "wal/wal_format.h"
#include "wal/wal_tail.h"

namespace tallystick {

// What the next frame must carry.
struct WalPosition {
  FrameNumber next_frame{1};
  Lsn next_lsn{1};
  int64_t commit_time_after_us = INT64_MIN;  // its commit time is later than this
};

struct WalFilePlan {
  ListedWalFile listed;
  uint64_t salt = 0;
  uint64_t frames = 0;
  uint64_t rows = 0;
  FrameNumber first_frame;  // with frames > 0
  FrameNumber last_frame;
  uint64_t last_frame_offset = 0;
  uint64_t end_offset = kWalHeaderBytes;  // behind the last frame
  TailVerdict verdict = TailVerdict::kCleanEnd;
};

struct WalPlan {
  std::vector<WalFilePlan> files;  // as listed
  WalPosition end;                 // what the next frame to be written must carry
  // The last valid frame: the only one that may not be on disk. Whole bytes; empty if there is
  // none.
  Bytes last_frame;
  size_t last_frame_file = 0;  // index into files
  // Set where a torn tail was found: files[torn_file] from its end_offset on.
  std::optional<size_t> torn_file;
  Bytes torn_bytes;  // for the copy that is kept: as far as not zero, kTornCopyBytesMax at most
};

inline constexpr uint64_t kTornCopyBytesMax = 1 << 20;
inline constexpr uint64_t kWalFileBytesMax = 1ull
                                             << 30;  // above any option; a larger file is foreign

// kCorruption names file and offset; kIoError passes through (an I/O error is never the end of a
// log).
Result<WalPlan> PlanWal(FileSystem& fs, const std::string& dir, const DatabaseId& database_id,
                        std::span<const ListedWalFile> list, const WalPosition& start);

// Calls `frame` for every frame that the plan counted, marks included. `scratch` is kept from file
// to file by the caller.
Status ReplayWalFile(FileSystem& fs, const std::string& dir, const WalFilePlan& plan,
                     Bytes* scratch, const std::function<Status(const FrameView&)>& frame);

}  // namespace tallystick
