// Invariants:
//  1. Row i of the memtable has LSN first_lsn + i; frames are adjacent.
//  2. A slot, a record and a frame are complete before the store that lets a reader reach them
//  (bucket head,
//     frames_, end_lsn_; all release), and never change afterwards.
//  3. Every row is in the chain of its account's bucket exactly once; chains run from newer to
//  older.
#include "memtable/memtable.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace tallystick {
namespace {

uint32_t BucketMask(uint32_t rows) {
  return std::bit_ceil(std::clamp<uint32_t>(rows / 8, 16, 1u << 16)) - 1;
}

// Makes the kernel hand out the pages now.
template <typename T>
std::unique_ptr<T[]> MakeTouched(size_t count) {
  auto memory = std::make_unique_for_overwrite<T[]>(count);
  std::memset(static_cast<void*>(memory.get()), 0, count * sizeof(T));
  return memory;
}

}  // namespace

Memtable::Memtable(const Capacity& capacity)
    : capacity_(capacity),
      keys_(std::make_shared<KeyTable>(capacity.rows)),
      records_(MakeTouched<std::byte>(capacity.record_bytes)),
      slots_(MakeTouched<RowSlot>(capacity.rows)),
      frame_slots_(MakeTouched<FrameSlot>(capacity.frames)),
      quarantined_(std::make_unique_for_overwrite<uint32_t[]>(capacity.rows)),  // touched when used
      bucket_mask_(BucketMask(capacity.rows)),
      buckets_(std::make_unique<std::atomic<uint32_t>[]>(bucket_mask_ + 1)) {
  TALLY_CHECK(capacity.record_bytes < (1ull << 32));
}

std::atomic<uint32_t>& Memtable::Bucket(std::string_view account_id) const {
  return buckets_[XXH3_64bits(account_id.data(), account_id.size()) & bucket_mask_];
}

bool Memtable::AppendFrame(Lsn first_lsn, int64_t commit_time_us, ByteSpan records, uint32_t rows) {
  TALLY_CHECK(rows > 0 && Fits(records.size(), rows));
  TALLY_CHECK(rows_ == 0 || first_lsn.value == first_lsn_.load(std::memory_order_relaxed) + rows_);
  std::byte* const to = records_.get() + record_bytes_;
  std::memcpy(to, records.data(), records.size());

  // The whole frame is walked before anything of it can be reached.
  Decoder check(ByteSpan(to, records.size()));
  for (uint32_t i = 0; i < rows; ++i) {
    RecordView record;
    slots_[rows_ + i].offset = static_cast<uint32_t>(record_bytes_ + check.position());
    if (!DecodeRecord(check, &record)) return false;
  }
  if (check.remaining() != 0) return false;

  if (rows_ == 0) first_lsn_.store(first_lsn.value, std::memory_order_release);
  const uint32_t frame = frames_.load(std::memory_order_relaxed);
  frame_slots_[frame] = {first_lsn, commit_time_us};
  frames_.store(frame + 1, std::memory_order_release);
  for (uint32_t index = rows_; index < rows_ + rows; ++index) {
    const RecordView record = RecordAt(index);
    if (record.disposition == Disposition::kQuarantined) {
      const uint32_t count = quarantined_count_.load(std::memory_order_relaxed);
      quarantined_[count] = index;
      quarantined_count_.store(count + 1, std::memory_order_release);
    }
    std::atomic<uint32_t>& bucket = Bucket(CanonicalAccountId(record.canonical));
    slots_[index].previous = bucket.load(std::memory_order_relaxed);
    bucket.store(index + 1, std::memory_order_release);
  }
  record_bytes_ += records.size();
  rows_ += rows;
  end_lsn_.store(first_lsn.value + rows, std::memory_order_release);
  return true;
}

RecordView Memtable::RecordAt(uint32_t index) const {
  const std::byte* at = records_.get() + slots_[index].offset;
  const auto bytes = LoadFixed<uint32_t>(at);
  return {static_cast<Disposition>(at[4]), ByteSpan(at + kRecordHeaderBytes, bytes)};
}

RecordView Memtable::Record(Lsn lsn) const {
  TALLY_CHECK(lsn >= first_lsn() && lsn < end_lsn());
  return RecordAt(static_cast<uint32_t>(lsn.value - first_lsn().value));
}

int64_t Memtable::CommitTimeMicros(Lsn lsn) const {
  const FrameSlot* const begin = frame_slots_.get();
  const FrameSlot* const end = begin + frames_.load(std::memory_order_acquire);
  const FrameSlot* after = std::upper_bound(
      begin, end, lsn, [](Lsn wanted, const FrameSlot& slot) { return wanted < slot.first_lsn; });
  TALLY_CHECK(after != begin);
  return (after - 1)->commit_time_us;
}

uint64_t Memtable::BytesFor(const Capacity& capacity) {
  return capacity.record_bytes + capacity.rows * (sizeof(RowSlot) + sizeof(uint32_t)) +
         capacity.frames * sizeof(FrameSlot) +
         (BucketMask(capacity.rows) + 1ull) * sizeof(uint32_t) + KeyTable::BytesFor(capacity.rows);
}

}  // namespace tallystick
