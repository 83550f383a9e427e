// SidecarKeeper: sees to it that every segment has a sidecar and a rollup that can be believed:
// rebuilds what is missing or damaged, and loads filters within their budget. Who reads one and
// finds it damaged (a probe, a query, the scrubber) reports it here.
//
// Thread rule: Step by the executor, never twice at once; the rest from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "dedupe/sidecar_writer.h"
#include "engine/layout.h"
#include "engine/version_store.h"
#include "env/io_governor.h"
#include "tallystick/options.h"

namespace tallystick {

// Builds the segment's rollup and writes it; then opens it, reads all of it back, past the cache,
// and compares it with what was built and with the totals of the segment. Memory: BuildRollup's and
// RollupWriter's. kUnavailable `cancelled` soon after `stopped` (may be empty) says so. On an error
// a partial file may be left.
Result<std::unique_ptr<RollupReader>> MakeRollup(FileSystem& fs, const std::string& path,
                                                 const SegmentReader& rows,
                                                 const OpenOptions& options, BlockCache& cache,
                                                 IoGovernor* governor,
                                                 const std::function<bool()>& stopped);

// Whether another filter of this size may be in memory.
bool FilterFits(const DataVersion& version, uint64_t filter_bytes, const OpenOptions& options);

class SidecarKeeper {
 public:
  SidecarKeeper(Env& env, const Layout& layout, const OpenOptions& options, IdentityScope scope,
                VersionStore& versions, BlockCache& cache, IoGovernor& governor)
      : env_(env),
        layout_(layout),
        options_(options),
        scope_(scope),
        versions_(versions),
        cache_(cache),
        governor_(governor) {}

  StepResult Step();
  // A step that takes long gives up: the database is being closed.
  void Stop() { stopped_ = true; }
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }
  void Wake() const {
    if (wake_) wake_();
  }
  // Called when a sidecar was installed or could not be made. Set once, before the steps run.
  void SetOnChange(std::function<void()> on_change) { on_change_ = std::move(on_change); }

  // Takes a sidecar that did not verify out of use; it is rebuilt.
  void ReportBad(const LiveSegment& segment, const SidecarReader* sidecar, const Status& status);

  // What events are refused with while the keys of this segment are not known: kUnavailable
  // `dedupe_rebuilding`, or kNoSpace where rebuilding them found none.
  Status Rebuilding(const LiveSegment& segment) const;

  // A rollup that could not be read was taken out of use; it is rebuilt.
  void ReportBadRollup(const Status& status);

  struct Readings {
    uint64_t corrupt = 0;
    uint64_t rebuilt = 0;
    uint64_t rollups_corrupt = 0;
    uint64_t rollups_rebuilt = 0;
    Status status;  // ok, or why the last sidecar could not be rebuilt
  };
  Readings Read() const;

 private:
  StepResult Rebuild(const LiveSegment& segment);
  StepResult RebuildRollup(const LiveSegment& segment);
  StepResult LoadFilter(const LiveSegment& segment, SidecarReader& sidecar);
  void Log(LogLevel level, const std::string& text) const {
    if (options_.log) options_.log(level, text);
  }

  Env& env_;
  const Layout& layout_;
  const OpenOptions& options_;
  const IdentityScope scope_;
  VersionStore& versions_;
  BlockCache& cache_;
  IoGovernor& governor_;
  std::function<void()> wake_;
  std::function<void()> on_change_;
  std::atomic<bool> stopped_ = false;

  // Owned by the step.
  int64_t retry_at_us_ = 0;  // a rebuild that failed waits until then
  int64_t rollup_retry_at_us_ = 0;

  mutable Mutex mutex_;
  Readings readings_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
