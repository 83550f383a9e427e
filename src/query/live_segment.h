// LiveSegment: one segment of a version, with its sidecar and its rollup as long as there are such
// to believe.
//
// Thread rule: any thread. The rows are immutable; sidecar and rollup may be installed and taken
// away at any time, and whoever holds one goes on with it.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "dedupe/sidecar_reader.h"
#include "manifest/manifest.h"
#include "query/segment_trash.h"
#include "rollup/rollup_reader.h"
#include "segment/segment_reader.h"

namespace tallystick {

class LiveSegment {
 public:
  LiveSegment(const ListedSegment& listed, std::unique_ptr<SegmentReader> rows)
      : listed_(listed), rows_(std::move(rows)) {}
  ~LiveSegment() {
    if (trash_ != nullptr) trash_->Add(listed_.number);
  }
  LiveSegment(const LiveSegment&) = delete;
  LiveSegment& operator=(const LiveSegment&) = delete;

  const ListedSegment& listed() const { return listed_; }
  const SegmentReader& rows() const { return *rows_; }
  SidecarBinding binding() const {
    const SegmentInfo& info = rows_->info();
    return {info.database_id, info.number, info.first_lsn,
            info.last_lsn,    info.rows,   info.footer_checksum};
  }

  // Null: the keys of this segment are unknown to everybody but a key table.
  std::shared_ptr<SidecarReader> sidecar() const {
    MutexLock lock(mutex_);
    return sidecar_;
  }
  void InstallSidecar(std::shared_ptr<SidecarReader> sidecar) const {
    MutexLock lock(mutex_);
    sidecar_ = std::move(sidecar);
  }
  // Takes `bad` away, unless another is there by now. True if it did.
  bool RemoveSidecar(const SidecarReader* bad) const {
    MutexLock lock(mutex_);
    if (sidecar_.get() != bad || bad == nullptr) return false;
    sidecar_ = nullptr;
    return true;
  }

  // Null: there is none yet; rows answer.
  std::shared_ptr<RollupReader> rollup() const {
    MutexLock lock(mutex_);
    return rollup_;
  }
  void InstallRollup(std::shared_ptr<RollupReader> rollup) const {
    MutexLock lock(mutex_);
    rollup_ = std::move(rollup);
  }
  // As RemoveSidecar.
  bool RemoveRollup(const RollupReader* bad) const {
    MutexLock lock(mutex_);
    if (rollup_.get() != bad || bad == nullptr) return false;
    rollup_ = nullptr;
    return true;
  }

  // Of rows, sidecar and rollup, as far as they are there.
  uint64_t file_bytes() const {
    MutexLock lock(mutex_);
    return listed_.bytes + (sidecar_ == nullptr ? 0 : sidecar_->bytes()) +
           (rollup_ == nullptr ? 0 : rollup_->bytes());
  }

  // Set for good when a block did not verify, or could not be read by a merge: such a segment is
  // left out of compaction.
  void MarkDamaged() const { damaged_.store(true, std::memory_order_relaxed); }
  bool damaged() const { return damaged_.load(std::memory_order_relaxed); }

  // Set for good when merges with it came to nothing, though nothing is known to be damaged.
  void LeaveOutOfMerging() const { left_out_.store(true, std::memory_order_relaxed); }
  bool left_out_of_merging() const { return left_out_.load(std::memory_order_relaxed); }

  // No durable manifest names it any more: its files go with the last view that has it. Called
  // once.
  void TrashWhenUnused(std::shared_ptr<SegmentTrash> trash) const {
    MutexLock lock(mutex_);
    trash_ = std::move(trash);
  }

 private:
  const ListedSegment listed_;
  const std::unique_ptr<SegmentReader> rows_;
  mutable std::atomic<bool> damaged_ = false;
  mutable std::atomic<bool> left_out_ = false;
  mutable Mutex mutex_;
  mutable std::shared_ptr<SidecarReader> sidecar_ GUARDED_BY(mutex_);
  mutable std::shared_ptr<RollupReader> rollup_ GUARDED_BY(mutex_);
  mutable std::shared_ptr<SegmentTrash> trash_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
