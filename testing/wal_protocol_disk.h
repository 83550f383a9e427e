// What the simulated directory of the model does: syncs, crashes, and what a recovery reads in it.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "testing/wal_protocol.h"
#include "testing/wal_protocol_state.h"

namespace tallystick::wal_protocol {

// --- what a file system does ---

void WriteBlock(State& state, int inode, int block, Block value);
void SyncFile(State& state, int inode);
void SyncWalDir(State& state);
// Gives the lowest free inode a name; blank content.
int CreateFile(State& state, int number);
void RemoveName(State& state, int number);
void RenameFile(State& state, int from, int to);
// Renames a manifest into place; with `synced` its bytes are durable.
void RenameManifest(State& state, Manifest manifest, bool synced);
void SyncManifestDir(State& state);

// The process is gone, what it wrote stays visible, and what it did not sync may still vanish.
void Kill(State& state);
// Calls `outcome` with every directory that a power cut could leave.
void ForEachPowerCut(const State& state, const std::function<void(const State&)>& outcome);
// Calls `outcome` with every state that a failed sync of the file could leave: the dirty mark is
// gone, each block may be on disk or not.
void ForEachFailedSync(const State& state, int inode,
                       const std::function<void(const State&)>& outcome);

// --- what recovery reads ---

struct Plan {
  std::string_view refused;  // why; empty: a plan
  bool create = false;       // nothing is there yet
  uint8_t last = 0;          // content of the last valid frame
  uint8_t last_file = 0;     // its file's number
  uint8_t next_frame = 0;
  uint8_t next_lsn = 0;
  std::array<uint8_t, kContents + 1> found{};  // by LSN: content
  Manifest next;                               // what recovery will write, without its new file
  uint8_t next_number = 0;                     // of the new file
};

Plan PlanRecovery(const State& state, BrokenRule rule);

// The content of a whole frame that begins at this block of the file, if one does.
std::optional<uint8_t> FrameAt(const State& state, int inode, int block);

}  // namespace tallystick::wal_protocol
