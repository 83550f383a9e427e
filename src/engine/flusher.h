// Flusher: writes sealed memtables to segments, oldest first, one at a time.
//
//   rows (N.seg) -> check -> keys (N.idx) -> sums (N.sum) -> directory sync -> manifest -> version
//   -> free the log
//
// One of these a step, so that the rest of the engine goes on between them.
//
// Thread rule: Step by the executor, never twice at once; the rest from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "engine/layout.h"
#include "engine/log_keeper.h"
#include "engine/manifest_store.h"
#include "engine/version_store.h"
#include "env/io_governor.h"
#include "manifest/manifest.h"
#include "segment/segment_writer.h"
#include "tallystick/options.h"

namespace tallystick {

class Flusher {
 public:
  Flusher(Env& env, const Layout& layout, const OpenOptions& options, const Identity& identity,
          ManifestStore& manifests, VersionStore& versions, LogKeeper& keeper, BlockCache& cache,
          IoGovernor& governor)
      : env_(env),
        layout_(layout),
        options_(options),
        identity_(identity),
        manifests_(manifests),
        versions_(versions),
        keeper_(keeper),
        cache_(cache),
        governor_(governor) {}

  StepResult Step();
  // Called when a segment was installed, and when an attempt failed. Set once, before the steps
  // run.
  void SetOnEnded(std::function<void()> on_ended) { on_ended_ = std::move(on_ended); }

  struct Readings {
    uint64_t flushes = 0;
    uint64_t bytes_written = 0;  // rows, sidecars and rollups of these
    uint64_t failures = 0;
    uint64_t sidecar_failures = 0;
    uint64_t rollup_failures = 0;
    Status status;  // ok, or why the last attempt failed
  };
  Readings Read() const;

 private:
  enum class Phase : uint8_t { kRows, kCheck, kKeys, kSums, kNames, kManifest };
  struct Job {
    std::shared_ptr<const Memtable> memtable;
    FileNumber number;
    std::string rows_path;
    std::string keys_path;
    std::string sums_path;
    Phase phase = Phase::kRows;
    WrittenSegment written;
    ListedSegment listed;
    std::shared_ptr<LiveSegment> segment;  // from kCheck on, with its siblings as they are made
  };

  void StartJob(std::shared_ptr<const Memtable> memtable);
  Status RunPhase();
  Status WriteRows();
  Status CheckRows();
  void WriteKeys();
  void WriteSums();
  Status CommitManifest();
  StepResult Fail(const Status& status);
  void RemoveFile(const std::string& path);
  void Log(LogLevel level, const std::string& text) const {
    if (options_.log) options_.log(level, text);
  }

  Env& env_;
  const Layout& layout_;
  const OpenOptions& options_;
  const Identity& identity_;
  ManifestStore& manifests_;
  VersionStore& versions_;
  LogKeeper& keeper_;
  BlockCache& cache_;
  IoGovernor& governor_;
  std::function<void()> on_ended_;

  // Owned by the step.
  std::unique_ptr<Job> job_;
  int64_t retry_at_us_ = 0;
  int64_t pause_us_ = 0;  // before the next attempt; grows while attempts fail

  mutable Mutex mutex_;
  Readings readings_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
