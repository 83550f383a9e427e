// KeyTable: id hash -> (payload hash, LSN), for the rows of one memtable. Open addressing with
// linear probing over slots that are written once: no growth, no deletion, so readers need no lock.
//
// Thread rule: one writer (Insert); any number of readers at the same time (Find, ForEach). A
// reader may see keys whose row is not durable yet: it must compare the LSN with the visible one.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/types.h"
#include "tallystick/event.h"

namespace tallystick {

class KeyTable {
 public:
  struct Found {
    uint64_t payload_hash = 0;
    Lsn lsn;
  };

  // Room for `keys_max` keys at a load of 3/5 at most. Touches all of its memory at once, so that
  // the commit path never takes a page fault for it.
  explicit KeyTable(uint32_t keys_max)
      : keys_max_(keys_max),
        mask_(SlotsFor(keys_max) - 1),
        slots_(std::make_unique<Slot[]>(mask_ + 1)) {}

  void Prefetch(const EventHash& hash) const { __builtin_prefetch(&slots_[hash.Low() & mask_]); }

  std::optional<Found> Find(const EventHash& hash) const {
    for (uint64_t at = hash.Low() & mask_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      const uint64_t lsn = slot.lsn.load(std::memory_order_acquire);
      if (lsn == 0) return std::nullopt;
      if (slot.hash == hash) return Found{slot.payload_hash, Lsn{lsn}};
    }
  }

  // Calls key(hash, Found) for every key of the table, in no stated order.
  template <typename Fn>
  void ForEach(Fn&& key) const {
    for (uint64_t at = 0; at <= mask_; ++at) {
      const uint64_t lsn = slots_[at].lsn.load(std::memory_order_acquire);
      if (lsn != 0) key(slots_[at].hash, Found{slots_[at].payload_hash, Lsn{lsn}});
    }
  }

  // REQUIRES: the hash is not in the table, and there is room.
  void Insert(const EventHash& hash, uint64_t payload_hash, Lsn lsn) {
    TALLY_CHECK(size_ < keys_max_ && lsn.value != 0);
    uint64_t at = hash.Low() & mask_;
    while (slots_[at].lsn.load(std::memory_order_relaxed) != 0) at = (at + 1) & mask_;
    slots_[at].hash = hash;
    slots_[at].payload_hash = payload_hash;
    slots_[at].lsn.store(lsn.value, std::memory_order_release);
    ++size_;
  }

  uint32_t size() const { return size_; }  // the writer's
  static uint64_t BytesFor(uint32_t keys_max) { return SlotsFor(keys_max) * sizeof(Slot); }

 private:
  static uint64_t SlotsFor(uint32_t keys_max) {
    return std::bit_ceil(static_cast<uint64_t>(keys_max) * 5 / 3 + 2);
  }

  struct alignas(32) Slot {
    EventHash hash;
    uint64_t payload_hash = 0;
    std::atomic<uint64_t> lsn = 0;  // 0: empty; published last
  };
  static_assert(sizeof(Slot) == 32);

  uint32_t keys_max_;
  uint32_t size_ = 0;
  uint64_t mask_;
  std::unique_ptr<Slot[]> slots_;
};

}  // namespace tallystick
