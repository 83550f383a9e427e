// ManifestStore: the only writer of manifests, and the counter of file numbers.
//
// Thread rule: any thread. A commit holds the lock during its file operations; only background
// tasks commit.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "base/mutex.h"
#include "engine/layout.h"
#include "manifest/manifest.h"

namespace tallystick {

class ManifestStore {
 public:
  // `durable`: the manifest that counts now. `next_number`: above every number in any name.
  ManifestStore(FileSystem& fs, const Layout& layout, const DatabaseId& database_id,
                Manifest durable, uint64_t next_number);

  FileNumber NewNumber() { return {next_number_.fetch_add(1)}; }

  // Applies `edit` to the newest durable manifest and makes the result the one that counts. On an
  // error the newest durable one may or may not have changed on disk; nothing that either of the
  // two names may be deleted or recycled until a later commit is ok. Another attempt takes a higher
  // number and starts from what was durable before.
  Status Commit(const std::function<void(Manifest&)>& edit);

  Manifest Newest() const;  // the newest durable one
  // The same, with what `look` does while no other one can become durable. It must not commit.
  Manifest NewestWhile(const std::function<void()>& look) const;
  // The newest frame's commit time, for the next manifest.
  void NoteCommitTime(int64_t micros) {
    last_commit_time_us_.store(micros, std::memory_order_relaxed);
  }

 private:
  void RemoveOld() REQUIRES(mutex_);

  FileSystem& fs_;
  const Layout& layout_;
  const DatabaseId database_id_;
  std::atomic<uint64_t> next_number_;
  std::atomic<int64_t> last_commit_time_us_;
  mutable Mutex mutex_;
  Manifest newest_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
