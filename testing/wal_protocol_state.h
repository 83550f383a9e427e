// The state of the model of testing/wal_protocol.h: a simulated directory and the one process that
// works on it. Plain bytes without padding, so that two states are the same if their bytes are.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace tallystick::wal_protocol {

inline constexpr int kDataBlocks = 3;  // of a file, behind its header
inline constexpr int kFiles = 6;       // inodes and file numbers (1..kFiles)
inline constexpr int kContents = 6;    // frames ever written, marks included (1..kContents)
inline constexpr int kListed = 5;      // files of a manifest
inline constexpr int kManifests = 6;   // manifests that a crash could still bring to light

// Block 0 is the header.
enum class BlockKind : uint8_t { kBlank, kHeader, kHead, kBody, kTorn };

struct Block {
  BlockKind kind = BlockKind::kBlank;
  uint8_t salt = 0;
  uint8_t value = 0;  // header: file number; frame: content
  friend bool operator==(const Block&, const Block&) = default;
};

struct Inode {
  std::array<Block, kDataBlocks + 1> visible;  // what a reader sees now
  std::array<Block, kDataBlocks + 1> durable;  // what a power cut leaves
  uint8_t dirty = 0;  // bit b: a sync would write block b. A failed sync clears it without writing
  friend bool operator==(const Inode&, const Inode&) = default;
};

struct Listed {
  uint8_t number = 0;
  uint8_t end = 0;      // last frame; 0: open
  uint8_t end_lsn = 0;  // the last LSN up to `end`
};

struct Manifest {
  uint8_t exists = 0;
  uint8_t synced = 0;  // its bytes; unsynced ones may turn out damaged
  uint8_t damaged = 0;
  uint8_t first_frame = 1;  // of the listed files
  uint8_t first_lsn = 1;
  uint8_t next_number = 1;  // above every file number given out
  uint8_t count = 0;
  std::array<Listed, kListed> files;

  bool Lists(uint8_t number) const {
    for (int i = 0; i < count; ++i) {
      if (files[i].number == number) return true;
    }
    return false;
  }
};

// What was once written as a frame. A copy of it in another file has the same content.
struct Content {
  uint8_t frame = 0;
  uint8_t lsn = 0;  // of its one row; of a mark: the next row's
  uint8_t blocks = 0;
  uint8_t mark = 0;
};

enum class Mode : uint8_t { kDown, kCreating, kRecovering, kRunning };

struct Committer {
  uint8_t active = 0;  // file number
  uint8_t offset = 0;  // next block
  uint8_t next_frame = 0;
  uint8_t next_lsn = 0;
  uint8_t content = 0;  // being written; 0: none
  uint8_t second = 0;   // kTwoOutstanding: written together with it
  uint8_t written = 0;  // blocks of it
  uint8_t synced = 0;
  uint8_t poisoned = 0;
  uint8_t spare = 0;   // offered
  uint8_t sealed = 0;  // the file before active, while the manifest has it open
  uint8_t sealed_end = 0;
  uint8_t sealed_end_lsn = 0;
};

enum class KeeperWork : uint8_t { kNone, kSpare, kDrop };

struct Keeper {
  KeeperWork work = KeeperWork::kNone;
  uint8_t step = 0;
  uint8_t number = 0;  // being prepared, or dropped
  uint8_t free = 0;    // dropped, may be recycled
};

struct Recovery {
  uint8_t step = 0;
  uint8_t number = 0;  // the new file's
  uint8_t last = 0;    // content of the last valid frame
  uint8_t next_frame = 0;
  uint8_t next_lsn = 0;
  std::array<uint8_t, kContents + 1> found{};  // by LSN
  Manifest next;
};

struct State {
  // The directory.
  std::array<Inode, kFiles + 1> inodes;             // [0] unused
  std::array<uint8_t, kFiles + 1> names_visible{};  // by number: inode
  std::array<uint8_t, kFiles + 1> names_durable{};
  std::array<uint8_t, kFiles + 1> names_dirty{};
  // [0] superseded, [1] durable, then those renamed into place whose names are not synced.
  std::array<Manifest, kManifests> manifests;
  uint8_t manifest_count = 2;
  // What was ever written, and what was said of it.
  std::array<Content, kContents + 1> contents;
  std::array<uint8_t, kContents + 1> promised{};  // by LSN: content
  // All before this is what a recovery sees, and what it is held against.
  // The process.
  Mode mode = Mode::kDown;
  Committer committer;
  Keeper keeper;
  Recovery recovery;
  // The bounds.
  uint8_t content_count = 0;
  uint8_t salts = 0;
  uint8_t frames_left = 0;
  uint8_t marks_left = 0;
  uint8_t crashes_left = 0;
  uint8_t failures_left = 0;
  uint8_t spares_left = 0;

  const Manifest& Newest() const { return manifests[manifest_count - 1]; }
};
static_assert(alignof(State) == 1, "no padding: states are compared and hashed as bytes");

}  // namespace tallystick::wal_protocol
