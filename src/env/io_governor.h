// IoGovernor: holds background writing to a rate, so that it leaves the disk to the log. Without it
// a flush raises the commit p99.9 from under a millisecond to tens of them.
//
// A token bucket that may run into debt: the caller of a large write pays for it afterwards, by
// sleeping before its next one. Source: the I/O rate limiters of RocksDB and Pebble, cut down to
// one class of work.
//
// Thread rule: any thread.
#pragma once

#include <cstdint>

#include "base/mutex.h"
#include "env/env.h"

namespace tallystick {

class IoGovernor {
 public:
  // bytes_per_second 0: no limit.
  IoGovernor(Clock& clock, uint64_t bytes_per_second)
      : clock_(clock), bytes_per_second_(bytes_per_second) {}

  // To be called before each write of background work, with a piece of at most some 256 KiB.
  // Sleeps until the writes so far keep to the rate.
  void Acquire(uint64_t bytes);
  // From now on nobody sleeps: the database is being closed.
  void Release();

 private:
  Clock& clock_;
  Mutex mutex_;
  uint64_t bytes_per_second_ GUARDED_BY(mutex_);
  int64_t free_at_us_ GUARDED_BY(mutex_) = 0;  // when all that was asked for is paid
};

// A large file is synced every so many bytes while it is written, so that its last sync is short.
inline constexpr uint64_t kSyncBytes = 64ull << 20;

// WriteFully in pieces that the governor is asked for one by one. `governor` may be null.
Status WriteGoverned(File& file, uint64_t offset, ByteSpan data, IoGovernor* governor);

}  // namespace tallystick
