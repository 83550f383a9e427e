// What the simulated directory of the flush model does: names, syncs, crashes, and what a recovery
// reads in it.
#pragma once

#include <functional>
#include <string_view>

#include "testing/flush_protocol.h"
#include "testing/flush_protocol_state.h"

namespace tallystick::flush_protocol {

// --- what a file system does ---

void Create(File& file);      // unsynced, and so is its name; replaces nothing durable yet
void WriteWhole(File& file);  // all of it, unsynced
void Sync(File& file);
void Remove(File& file);
void Rename(File& from, File& to);
void SyncLogDir(State& state);
void SyncSegmentDir(State& state);
void RenameManifest(State& state, const Manifest& manifest);  // its bytes are synced
void SyncManifestDir(State& state);
// Blank files where no reader can find anything any more, so that equal states are equal.
void ForgetGone(State& state);

// The process is gone, what it wrote stays visible, and what it did not sync may still vanish.
void Kill(State& state);
// Calls `outcome` with every directory that a power cut could leave.
void ForEachPowerCut(const State& state, const std::function<void(const State&)>& outcome);

// --- what recovery reads ---

struct Plan {
  std::string_view refused;  // why; empty: a plan
  uint8_t last = 0;          // LSN
  uint8_t last_log = 0;      // the log file with the last row; 0: none has any
  Rows found{};
  Manifest next;  // what recovery will write, without its new log file
};

Plan PlanRecovery(const State& state, BrokenFlushRule rule);

}  // namespace tallystick::flush_protocol
