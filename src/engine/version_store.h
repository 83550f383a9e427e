// VersionStore: which segments and memtables there are now, and up to where sidecars answer.
//
// Thread rule: any thread; the lock is held for some microseconds only, never during I/O.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "engine/compaction_picker.h"
#include "query/view.h"

namespace tallystick {

class VersionStore {
 public:
  // The last memtable is the active one, the others are sealed.
  VersionStore(SegmentList segments, MemtableList memtables, const CompactionLimits& limits);

  std::shared_ptr<const DataVersion> Current() const;

  // The memtable that rows go to from now on; the one before it is sealed.
  void AddMemtable(std::shared_ptr<const Memtable> memtable);
  // No rows go to the active one any more (the database is being closed).
  void SealActive();
  // The oldest sealed memtable with rows, null if there is none. Empty ones before it are dropped.
  std::shared_ptr<const Memtable> OldestSealed();
  // Sealed memtables with rows. Empty ones go without a flush, so nobody could wait for that.
  uint32_t sealed_count() const;

  // The rows of the oldest memtable stand in this segment from now on. REQUIRES: the same LSNs, and
  // the segment is durable and in the newest durable manifest.
  void InstallSegment(std::shared_ptr<const LiveSegment> segment);
  // The rows of these segments, neighbours in the version, stand in `merged` from now on.
  // REQUIRES: the same LSNs, a sidecar, and it is durable and in the newest durable manifest.
  void ReplaceSegments(const SegmentList& merged_ones, std::shared_ptr<const LiveSegment> merged);
  // To be called after a segment's sidecar came or went, or it was found damaged.
  void SidecarsChanged();

  // All segments up to this LSN have their sidecar.
  Lsn covered() const { return {covered_.load(std::memory_order_acquire)}; }
  // Segments that merging has not done with, as of the newest version.
  uint32_t mergeable_runs() const { return runs_.load(std::memory_order_relaxed); }

 private:
  void Publish(std::shared_ptr<const DataVersion> version) REQUIRES(mutex_);
  void ComputeCovered() REQUIRES(mutex_);
  void CountRuns() REQUIRES(mutex_);
  size_t SealedSize() const REQUIRES(mutex_);  // empty ones included

  mutable Mutex mutex_;
  std::shared_ptr<const DataVersion> version_ GUARDED_BY(mutex_);
  bool active_sealed_ GUARDED_BY(mutex_) = false;
  std::atomic<uint64_t> covered_ = 0;
  const CompactionLimits limits_;
  std::atomic<uint32_t> runs_ = 0;
};

}  // namespace tallystick
