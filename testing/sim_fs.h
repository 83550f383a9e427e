// SimFs: a file system in memory that knows what is synced. It is what durability is tested
// against.
//
// Known apart, each on its own: the bytes of a file (in blocks of 4 KiB), its size, and every
// directory entry; as a running process sees them, and as the disk has them. What a crash leaves:
//   kill        everything that was written stays visible, synced or not; a write that was under
//   way may
//               have got only part of the way. What was not synced can still be lost by a later
//               power cut.
//   power cut   what was synced stays. Of the rest, by seed: each block survives, is lost, or is
//   torn (each
//               sector of 512 bytes old or new); each size survives or not; each entry that was
//               made, renamed or removed survives or not (a rename: whole, both names, the old
//               name, or neither name; a removed file may come back). One cut in four loses all, or
//               keeps all.
// After a failed sync (LoseDirty) the dirty marks are gone: memory shows the new bytes, the disk
// has the old ones, and the next sync succeeds without writing anything, as on Linux. A
// direct_dsync write is durable when it returns. List gives names in any order, now and then with
// names of strangers among them.
//
// Every call is an operation with a number; CrashAt makes number n the one that the machine stops
// in: it has a partial effect, and it and everything behind it fails with reason "crashed", until
// Restart.
//
// Copying a SimFs (Clone) is cheap: blocks are shared.
// Thread rule: safe for several threads, one lock; deterministic only with one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "env/env.h"

namespace tallystick {

enum class CrashKind : uint8_t { kKill, kPowerCut };

class SimFs final : public FileSystem {
 public:
  explicit SimFs(uint64_t seed = 1);
  ~SimFs() override;

  using FileSystem::Open;
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                     OpenFlags flags) override;
  Status CreateDir(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status SyncDir(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Result<bool> Exists(const std::string& path) override;
  Result<std::string> RealPath(const std::string& path) override;
  Result<uint64_t> FreeBytes(const std::string& directory) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;

  // --- crashes ---
  // Operation `number` (see operations()) is the last; what it leaves is drawn from `seed`.
  void CrashAt(uint64_t number, uint64_t seed);
  bool crashed() const;
  // The machine as the next process finds it. Open files and locks of before are dead. Also without
  // a crash: a process may be killed between two operations.
  void Restart(CrashKind kind, uint64_t seed);
  // An independent machine in the same state, without open files, locks and a planned crash.
  std::unique_ptr<SimFs> Clone() const;

  uint64_t operations() const;  // so far
  uint64_t bytes_read() const;
  uint64_t retried_syncs() const;  // syncs of a file after LoseDirty: nobody should

  // --- the world around ---
  void SetDirectRefused(bool refused);
  // Writes and creations that would need more than this in all fail with kNoSpace, renames when
  // there is more than this already. What has no name any more takes no space.
  void SetCapacity(std::optional<uint64_t> bytes);
  uint64_t UsedBytes() const;  // of what has a name
  // What a failed sync leaves behind; all of the file's unsynced bytes and size.
  void LoseDirty(const std::string& path);

  // --- damage, for tests of bit rot; the bytes change in memory and on disk ---
  Result<Bytes> Content(const std::string& path) const;
  void SetContent(const std::string& path, ByteSpan content);
  std::vector<std::string> AllFiles() const;  // paths, sorted

 private:
  friend class SimFile;
  friend class SimLock;
  struct State;

  std::unique_ptr<State> state_;
  mutable Mutex mutex_;
};

}  // namespace tallystick
