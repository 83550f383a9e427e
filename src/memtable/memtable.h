// Memtable: the rows of one stretch of the LSN line in memory, as the records that stand in the
// log, with their key table.
//
// All memory is allocated and touched at construction (by whoever prepares it, not by the commit
// path). Rows of an account are chained through a fixed array of buckets.
//
// Thread rule: one writer (the committer, or recovery). Any number of readers at the same time,
// without a lock, as long as they ask only for rows up to an LSN that was published after the rows
// were appended (View::visible); what is written never moves or changes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/coding.h"
#include "memtable/key_table.h"
#include "model/row.h"
#include "tallystick/event.h"

namespace tallystick {

class Memtable {
 public:
  struct Capacity {
    uint64_t record_bytes = 0;  // < 4 GiB
    uint32_t rows = 0;
    uint32_t frames = 0;
  };

  explicit Memtable(const Capacity& capacity);
  static uint64_t BytesFor(const Capacity& capacity);  // what bytes() will say
  Memtable(const Memtable&) = delete;
  Memtable& operator=(const Memtable&) = delete;

  // --- writer ---
  bool Fits(uint64_t record_bytes, uint64_t rows) const {
    return record_bytes <= capacity_.record_bytes - record_bytes_ &&
           rows <= capacity_.rows - rows_ &&
           frames_.load(std::memory_order_relaxed) < capacity_.frames;
  }
  bool FitsFrames(uint64_t frames) const {
    return frames <= capacity_.frames - frames_.load(std::memory_order_relaxed);
  }
  KeyTable& keys() { return *keys_; }
  // The rows of one frame, in order; their keys are inserted apart. The first call fixes first_lsn;
  // then frames must be adjacent. False if the records do not decode to exactly `rows` (then
  // nothing is appended). REQUIRES: Fits.
  bool AppendFrame(Lsn first_lsn, int64_t commit_time_us, ByteSpan records, uint32_t rows);

  // --- readers ---
  const KeyTable& keys() const { return *keys_; }
  // The key table outlives the rows where their sidecar is not there yet.
  std::shared_ptr<const KeyTable> shared_keys() const { return keys_; }
  // 0 while there is no row. Rows are first_lsn() .. end_lsn() - 1.
  Lsn first_lsn() const { return {first_lsn_.load(std::memory_order_acquire)}; }
  Lsn end_lsn() const { return {end_lsn_.load(std::memory_order_acquire)}; }
  bool empty() const { return first_lsn().value == 0; }
  RecordView Record(Lsn lsn) const;
  int64_t CommitTimeMicros(Lsn lsn) const;
  uint64_t bytes() const { return BytesFor(capacity_); }  // of memory, all allocated

  // Calls frame(Lsn first, int64_t commit_time_us) for every frame, in order.
  template <typename Fn>
  void ForEachFrame(Fn&& frame) const {
    const uint32_t count = frames_.load(std::memory_order_acquire);
    for (uint32_t i = 0; i < count; ++i) {
      frame(frame_slots_[i].first_lsn, frame_slots_[i].commit_time_us);
    }
  }

  // Calls row(Lsn, const RecordView&) for the quarantined rows up to `visible`, in LSN order.
  template <typename Fn>
  void ForEachQuarantined(Lsn visible, Fn&& row) const {
    const uint32_t count = quarantined_count_.load(std::memory_order_acquire);
    for (uint32_t i = 0; i < count; ++i) {
      const Lsn lsn{first_lsn().value + quarantined_[i]};
      if (lsn > visible) return;
      row(lsn, RecordAt(quarantined_[i]));
    }
  }

  // Calls row(Lsn, const RecordView&) for the account's rows up to `visible`, newest first, until
  // it returns false.
  template <typename Fn>
  void ForEachOfAccount(std::string_view account_id, Lsn visible, Fn&& row) const {
    uint32_t next = Bucket(account_id).load(std::memory_order_acquire);
    while (next != 0) {
      const uint32_t index = next - 1;
      next = slots_[index].previous;
      const Lsn lsn{first_lsn().value + index};
      if (lsn > visible) continue;
      const RecordView record = RecordAt(index);
      if (CanonicalAccountId(record.canonical) != account_id) continue;
      if (!row(lsn, record)) return;
    }
  }

 private:
  struct RowSlot {
    uint32_t offset = 0;    // of the record
    uint32_t previous = 0;  // index + 1 of the row before it in its bucket; 0: none
  };
  struct FrameSlot {
    Lsn first_lsn;
    int64_t commit_time_us = 0;
  };

  RecordView RecordAt(uint32_t index) const;
  std::atomic<uint32_t>& Bucket(std::string_view account_id) const;

  Capacity capacity_;
  std::shared_ptr<KeyTable> keys_;
  std::unique_ptr<std::byte[]> records_;
  std::unique_ptr<RowSlot[]> slots_;
  std::unique_ptr<FrameSlot[]> frame_slots_;
  std::unique_ptr<uint32_t[]> quarantined_;  // indexes of rows, ascending
  uint32_t bucket_mask_;
  std::unique_ptr<std::atomic<uint32_t>[]> buckets_;  // index + 1 of the newest row; 0: none

  uint64_t record_bytes_ = 0;  // the writer's
  uint32_t rows_ = 0;          // the writer's
  std::atomic<uint32_t> frames_ = 0;
  std::atomic<uint32_t> quarantined_count_ = 0;
  std::atomic<uint64_t> first_lsn_ = 0;
  std::atomic<uint64_t> end_lsn_ = 0;
};

}  // namespace tallystick
