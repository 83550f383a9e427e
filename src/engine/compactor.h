// Compactor: merges adjacent segments into larger ones, so that a database that is kept for years
// stays small and quick to read.
//
//   rows (N.seg) -> check -> keys (N.idx) -> check -> sums (N.sum) -> directory sync -> manifest
//   {-inputs, +output} -> version -> the inputs' files go with the last view that has them
//
// A step is a slice of one of these. Small merges go before large ones: a merge that is due and
// much smaller than the one that is going on interrupts it.
//
// Memory: a row group of each input and of the output, six bits a row for the maps of row numbers
// (190 MB for the largest merge), the dictionaries and tables, which the picker bounds; when the
// maps are gone, the lines of the rollup's largest entry (200 MB if they are a million).
//
// Thread rule: Step by the executor, never twice at once; the rest from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "dedupe/sidecar_merge.h"
#include "engine/compaction_picker.h"
#include "engine/layout.h"
#include "engine/manifest_store.h"
#include "engine/sidecar_keeper.h"
#include "engine/version_store.h"
#include "env/io_governor.h"
#include "manifest/manifest.h"
#include "segment/segment_merge.h"
#include "tallystick/db.h"
#include "tallystick/options.h"

namespace tallystick {

class Compactor {
 public:
  // What other parts say. Set once, before the steps run.
  struct Hooks {
    std::function<bool()> must_wait;     // a flush goes first, or there is no log yet
    std::function<Status()> trouble;     // ok, or why a log or a sidecar that it waits for is not
    std::function<void()> on_installed;  // a merged segment is in the version
    std::function<void(const LiveSegment&, const SidecarReader*, const Status&)> bad_sidecar;
  };

  Compactor(Env& env, const Layout& layout, const OpenOptions& options, const Identity& identity,
            ManifestStore& manifests, VersionStore& versions, BlockCache& cache,
            IoGovernor& governor);
  ~Compactor();

  void SetHooks(Hooks hooks) { hooks_ = std::move(hooks); }
  StepResult Step();
  // Merges while there is anything to merge, due or not, then calls `done`; or with why not.
  void RunFull(std::function<void(Status)> done);
  // No step takes long any more, and none begins anything. For closing.
  void Stop() { stopped_.store(true, std::memory_order_relaxed); }
  // Deletes what merges left half done, and files that nobody needs any more. For closing, when
  // Step does not run any more.
  void Finish();

  // Wakes the step when files may go.
  const std::shared_ptr<SegmentTrash>& trash() const { return trash_; }

  struct Readings {
    uint64_t compactions = 0;
    uint64_t failures = 0;
    uint64_t sidecar_failures = 0;  // among them
    uint64_t rollup_failures = 0;   // not among them: the merged segment goes without
    uint64_t rows_merged = 0;
    uint64_t bytes_written = 0;  // of all three files, of merges that succeeded or not
    uint64_t segments_deleted = 0;
    uint64_t left_out = 0;  // segments that no merge is tried with any more, though none is damaged
    Status status;  // ok, or why the last attempt failed, or kNoSpace: the next one waits for room
    std::vector<CompactionProgress> running;  // the one that is going on last
  };
  Readings Read() const;

 private:
  enum class Phase : uint8_t { kRows, kCheck, kKeys, kCheckKeys, kSums, kNames, kManifest };
  struct Job;

  std::optional<CompactionPlan> PickNext(const DataVersion& version) const;
  Status CheckRoom(const DataVersion& version, const CompactionPlan& plan) const;
  void StartJob(const DataVersion& version, const CompactionPlan& plan);
  Status RunPhase(Job& job);
  Status MergeRows(Job& job);
  Status CheckRows(Job& job);
  Status MergeKeys(Job& job);
  static void MapRows(Job& job, std::span<const uint32_t> inputs, std::span<SidecarEntry> entries);
  Status CheckKeys(Job& job);
  Status CheckSamples(Job& job);
  void WriteSums(Job& job);
  Status CheckInputs(const Job& job) const;
  Status CommitManifest(Job& job);
  StepResult Fail(Job& job, const Status& status);
  StepResult WaitForRoom(const Status& status, size_t segments);
  void NoteRoom();
  void BlameInputs(const Job& job, const Status& status);
  void RemoveFiles(FileNumber number);
  void EmptyTrash();
  Status Stopped() const;
  bool WaitsForSidecar() const;
  void LeaveOut(const Job& job, const Status& status);
  void Publish();
  bool full() const;
  void EndFull(const Status& status);
  void EndFullInTrouble();
  std::string Path(std::string name) const { return JoinPath(layout_.segment_dir, name); }
  void Log(LogLevel level, const std::string& text) const {
    if (options_.log) options_.log(level, text);
  }

  Env& env_;
  const Layout& layout_;
  const OpenOptions& options_;
  const Identity& identity_;
  ManifestStore& manifests_;
  VersionStore& versions_;
  BlockCache& cache_;
  IoGovernor& governor_;
  const std::shared_ptr<SegmentTrash> trash_;
  Hooks hooks_;
  std::atomic<bool> stopped_ = false;

  // Owned by the step.
  std::vector<std::unique_ptr<Job>> jobs_;  // each smaller than the one before; the last goes on
  int64_t retry_at_us_ = 0;
  int64_t pause_us_ = 0;  // before the next attempt; grows while attempts fail
  bool no_room_ = false;  // for what would be merged next, at the last look
  // By first input: how often what was made of it did not agree with it, though no input was to
  // blame.
  std::map<uint64_t, uint32_t> disagreed_;

  mutable Mutex mutex_;
  Readings readings_ GUARDED_BY(mutex_);
  std::vector<std::function<void(Status)>> full_done_ GUARDED_BY(mutex_);
  bool finished_ GUARDED_BY(mutex_) = false;
};

}  // namespace tallystick
