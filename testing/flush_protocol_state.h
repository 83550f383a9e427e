// The state of the model of testing/flush_protocol.h: a simulated directory and the one process
// that works on it. Plain bytes without padding, so that two states are the same if their bytes
// are.
#pragma once

#include <array>
#include <cstdint>

namespace tallystick::flush_protocol {

inline constexpr int kLsns = 4;       // 1..kLsns
inline constexpr int kLogs = 7;       // file numbers, 1..kLogs
inline constexpr int kSegments = 7;   // file numbers, 1..kSegments; one for rows and sidecar
inline constexpr int kListed = 4;     // log files of a manifest
inline constexpr int kRuns = 3;       // segments of a manifest
inline constexpr int kManifests = 6;  // manifests that a crash could still bring to light

// What a reader finds under a name. One bit each: a set of them is what a power cut may leave.
enum Content : uint8_t {
  kNone = 1,    // no such name
  kPart = 2,    // does not open: a part of the file, or none of it
  kRotten = 4,  // opens, but what is read later does not verify
  kWhole = 8,
};

// A name and the file behind it.
struct File {
  uint8_t visible = kNone;  // what a reader finds now
  uint8_t inode = kNone;    // what a power cut may leave of this very file
  uint8_t old = 0;  // what it may leave if the name's last change did not survive; 0: it did
};

// By LSN: the event of the row; 0: not there.
using Rows = std::array<uint8_t, kLsns + 1>;

struct Log {
  File file;
  Rows rows{};
  uint8_t unsynced = 0;  // the LSN whose row may not be on disk
};

struct Segment {
  File rows_file;  // N.seg
  File keys_file;  // N.idx
  File temporary;  // N.idx.tmp
  uint8_t first = 0;
  uint8_t last = 0;
  Rows rows{};
};

struct ListedRun {
  uint8_t number = 0;
  uint8_t first = 0;
  uint8_t last = 0;
};

struct ListedLog {
  uint8_t number = 0;
  uint8_t end = 0;  // its last LSN; 0: open
};

struct Manifest {
  uint8_t damaged = 0;
  uint8_t flushed = 0;
  uint8_t next_log = 1;
  uint8_t next_segment = 1;
  uint8_t run_count = 0;
  uint8_t log_count = 0;
  std::array<ListedRun, kRuns> runs;
  std::array<ListedLog, kListed> logs;

  bool HasRun(uint8_t number) const {
    for (int i = 0; i < run_count; ++i) {
      if (runs[i].number == number) return true;
    }
    return false;
  }
  bool HasLog(uint8_t number) const {
    for (int i = 0; i < log_count; ++i) {
      if (logs[i].number == number) return true;
    }
    return false;
  }
};

enum class Mode : uint8_t { kDown, kRecovering, kRunning, kClosing };

// A full memtable: the rows behind the one before it, up to `last`.
struct Sealed {
  uint8_t last = 0;
  uint8_t last_log = 0;  // its rows are in log files up to this one
};

// What the sidecars said of an event, and how far they were asked.
struct Probe {
  uint8_t event = 0;
  uint8_t covered = 0;
  uint8_t hit = 0;
};

struct Process {
  Rows rows{};  // all that were found or stored: the truth to check against
  uint8_t visible = 0;
  // The committer.
  uint8_t active_log = 0;
  uint8_t spare = 0;    // an offered log file
  uint8_t writing = 0;  // the event whose row is written and not synced, LSN visible + 1
  uint8_t keys = 0;     // bit by LSN: its key is in a key table
  uint8_t dropped = 0;  // key tables up to this LSN were dropped
  Probe pinned;         // a request between probe and verdict
  // The version: bits by segment number.
  uint8_t run_count = 0;
  std::array<ListedRun, kRuns> runs;
  uint8_t sidecars = 0;  // installed
  uint8_t empty = 0;     // installed, taken for empty by a broken rule
  uint8_t excused = 0;   // missing at the start, or found rotten
  uint8_t sealed_count = 0;
  std::array<Sealed, kListed> sealed;
  // Background work.
  uint8_t manifest_writer = 0;  // 0 nobody; else whose manifest is renamed and not synced
  uint8_t free_logs = 0;        // bits by number: in no manifest that may count, to be removed
  uint8_t keeper_log = 0;       // prepared, not listed
  uint8_t flush_step = 0;
  uint8_t flush_number = 0;
  uint8_t rebuild_step = 0;
  uint8_t rebuild_number = 0;
  uint8_t next_log = 0;
  uint8_t next_segment = 0;
  uint8_t close_step = 0;
  // Recovery.
  uint8_t recovery_step = 0;
  uint8_t last_log = 0;  // that the last row was found in
  Manifest next;         // what it will write
};

struct State {
  // The directory.
  std::array<Log, kLogs + 1> logs;  // [0] unused, as everywhere
  std::array<Segment, kSegments + 1> segments;
  // [0] superseded, [1] durable, then those renamed into place whose names are not synced.
  std::array<Manifest, kManifests> manifests;
  uint8_t manifest_count = 2;
  // What was said of it.
  Rows promised{};                // acknowledged, or served
  uint8_t promised_sidecars = 0;  // bits by segment number: installed once, and not rotten
  // All before this is what a recovery sees, and what it is held against.
  Mode mode = Mode::kDown;
  Process process;
  // The bounds.
  uint8_t crashes_left = 0;
  uint8_t failures_left = 0;
  uint8_t spares_left = 0;
  uint8_t rots_left = 0;
  uint8_t closes_left = 0;

  const Manifest& Newest() const { return manifests[manifest_count - 1]; }
};
static_assert(alignof(State) == 1, "no padding: states are compared and hashed as bytes");

inline uint8_t Bit(int i) { return static_cast<uint8_t>(1 << i); }

// Bits of the LSNs first..last.
inline uint8_t LsnBits(int first, int last) {
  uint8_t bits = 0;
  for (int lsn = first; lsn <= last; ++lsn) bits |= Bit(lsn);
  return bits;
}

}  // namespace tallystick::flush_protocol
