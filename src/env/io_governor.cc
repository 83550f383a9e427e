#include "env/io_governor.h"

#include <algorithm>

#include "base/result.h"

namespace tallystick {
namespace {

constexpr size_t kPieceBytes = 256 << 10;
// Idle time saves up this much, no more.
constexpr int64_t kBurstMicros = 2'000;

}  // namespace

void IoGovernor::Acquire(uint64_t bytes) {
  int64_t wait = 0;
  {
    MutexLock lock(mutex_);
    if (bytes_per_second_ == 0) return;
    const int64_t now = clock_.MonotonicMicros();
    free_at_us_ = std::max(free_at_us_, now - kBurstMicros);
    wait = free_at_us_ - now;
    free_at_us_ += static_cast<int64_t>(bytes * 1'000'000 / bytes_per_second_);
  }
  if (wait > 0) clock_.SleepMicros(wait);
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
