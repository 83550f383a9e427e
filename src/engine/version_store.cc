// Invariants:
//  1. Segments tile (0, flushed_lsn]; the memtables' rows follow without a gap. Checked at every
//     install.
//  2. A memtable's rows leave in the same step in which their segment appears: no reader sees
//     neither, none sees both.
#include "engine/version_store.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "base/check.h"

namespace tallystick {

VersionStore::VersionStore(SegmentList segments, MemtableList memtables,
                           const CompactionLimits& limits)
    : limits_(limits) {
  auto version = std::make_shared<DataVersion>();
  version->segments = std::move(segments);
  version->memtables = std::move(memtables);
  MutexLock lock(mutex_);
  Publish(std::move(version));
  ComputeCovered();
}

std::shared_ptr<const DataVersion> VersionStore::Current() const {
  MutexLock lock(mutex_);
  return version_;
}

void VersionStore::Publish(std::shared_ptr<const DataVersion> version) {
  Lsn next{1};
  for (const auto& segment : version->segments) {
    TALLY_CHECK(segment->listed().first_lsn == next);
    next = {segment->listed().last_lsn.value + 1};
  }
  for (const auto& memtable : version->memtables) {
    if (memtable->empty()) continue;
    TALLY_CHECK(memtable->first_lsn() == next);
    next = memtable->end_lsn();
  }
  version_ = std::move(version);
  CountRuns();
}

void VersionStore::CountRuns() {
  runs_.store(MergeableRuns(RunsOf(version_->segments), limits_), std::memory_order_relaxed);
}

void VersionStore::ComputeCovered() {
  Lsn covered{0};
  for (const auto& segment : version_->segments) {
    if (segment->sidecar() == nullptr) break;
    covered = segment->listed().last_lsn;
  }
  covered_.store(covered.value, std::memory_order_release);
}

void VersionStore::AddMemtable(std::shared_ptr<const Memtable> memtable) {
  MutexLock lock(mutex_);
  auto next = std::make_shared<DataVersion>(*version_);
  next->memtables.push_back(std::move(memtable));
  Publish(std::move(next));
  active_sealed_ = false;
}

void VersionStore::SealActive() {
  MutexLock lock(mutex_);
  active_sealed_ = true;
}

size_t VersionStore::SealedSize() const {
  const size_t all = version_->memtables.size();
  return active_sealed_ || all == 0 ? all : all - 1;
}

uint32_t VersionStore::sealed_count() const {
  MutexLock lock(mutex_);
  const auto begin = version_->memtables.begin();
  return static_cast<uint32_t>(
      std::count_if(begin, begin + static_cast<ptrdiff_t>(SealedSize()),
                    [](const auto& memtable) { return !memtable->empty(); }));
}

std::shared_ptr<const Memtable> VersionStore::OldestSealed() {
  MutexLock lock(mutex_);
  const MemtableList& memtables = version_->memtables;
  const size_t sealed = SealedSize();
  size_t first = 0;
  while (first < sealed && memtables[first]->empty()) ++first;
  if (first > 0) {
    auto next = std::make_shared<DataVersion>(*version_);
    next->memtables.erase(next->memtables.begin(),
                          next->memtables.begin() + static_cast<ptrdiff_t>(first));
    Publish(std::move(next));
  }
  return first < sealed ? version_->memtables.front() : nullptr;
}

void VersionStore::InstallSegment(std::shared_ptr<const LiveSegment> segment) {
  MutexLock lock(mutex_);
  auto next = std::make_shared<DataVersion>(*version_);
  TALLY_CHECK(!next->memtables.empty());
  const Memtable& flushed = *next->memtables.front();
  TALLY_CHECK(flushed.first_lsn() == segment->listed().first_lsn);
  TALLY_CHECK(flushed.end_lsn().value == segment->listed().last_lsn.value + 1);
  next->memtables.erase(next->memtables.begin());
  next->segments.push_back(std::move(segment));
  Publish(std::move(next));
  ComputeCovered();
}

void VersionStore::ReplaceSegments(const SegmentList& merged_ones,
                                   std::shared_ptr<const LiveSegment> merged) {
  MutexLock lock(mutex_);
  auto next = std::make_shared<DataVersion>(*version_);
  const auto begin = std::ranges::find(next->segments, merged_ones.front());
  TALLY_CHECK(next->segments.end() - begin >= std::ssize(merged_ones));
  TALLY_CHECK(std::ranges::equal(merged_ones, std::span(begin, merged_ones.size())));
  TALLY_CHECK(merged->sidecar() != nullptr);
  *begin = std::move(merged);
  next->segments.erase(begin + 1, begin + std::ssize(merged_ones));
  Publish(std::move(next));
  ComputeCovered();
}

void VersionStore::SidecarsChanged() {
  MutexLock lock(mutex_);
  ComputeCovered();
  CountRuns();
}

}  // namespace tallystick
