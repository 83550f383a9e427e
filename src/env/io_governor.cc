#include "env/io_governor.h"

#include <algorithm>

#include "base/result.h"

namespace tallystick {
namespace {

constexpr size_t kPieceBytes = 256 << 10;
// Idle time saves up this much, no more.
constexpr int64_t kBurstMicros = 2'000;
constexpr int64_t kSleepMicros = 20'000;  // then Release is noticed

}  // namespace

void IoGovernor::Acquire(uint64_t bytes) {
  int64_t paid_at = 0;
  {
    MutexLock lock(mutex_);
    if (bytes_per_second_ == 0) return;
    free_at_us_ = std::max(free_at_us_, clock_.MonotonicMicros() - kBurstMicros);
    paid_at = free_at_us_;
    free_at_us_ += static_cast<int64_t>(bytes * 1'000'000 / bytes_per_second_);
  }
  while (true) {
    const int64_t wait = paid_at - clock_.MonotonicMicros();
    if (wait <= 0) return;
    clock_.SleepMicros(std::min(wait, kSleepMicros));
    MutexLock lock(mutex_);
    if (bytes_per_second_ == 0) return;  // released meanwhile
  }
}

void IoGovernor::Release() {
  MutexLock lock(mutex_);
  bytes_per_second_ = 0;
}

Status WriteGoverned(File& file, uint64_t offset, ByteSpan data, IoGovernor* governor) {
  while (!data.empty()) {
    const ByteSpan piece = data.first(std::min(data.size(), kPieceBytes));
    if (governor != nullptr) governor->Acquire(piece.size());
    TALLY_RETURN_IF_ERROR(WriteFully(file, offset, piece));
    offset += piece.size();
    data = data.subspan(piece.size());
  }
  return Status::Ok();
}

}  // namespace tallystick
