// Invariants:
//  1. newest_ is durable. A manifest whose outcome is unknown is never built upon.
//  2. Numbers only go up, over all kinds of file; a failed commit has used its number.
#include "engine/manifest_store.h"

#include <set>
#include <utility>

#include "base/result.h"
#include "env/number_name.h"

namespace tallystick {

ManifestStore::ManifestStore(FileSystem& fs, const Layout& layout, const DatabaseId& database_id,
                             Manifest durable, uint64_t next_number)
    : fs_(fs),
      layout_(layout),
      database_id_(database_id),
      next_number_(next_number),
      last_commit_time_us_(durable.last_commit_time_us),
      newest_(std::move(durable)) {}

Status ManifestStore::Commit(const std::function<void(Manifest&)>& edit) {
  MutexLock lock(mutex_);
  Manifest next = newest_;
  edit(next);
  next.number = NewNumber();
  next.next_number = next_number_.load();
  next.last_commit_time_us = last_commit_time_us_.load(std::memory_order_relaxed);
  bool renamed = false;
  TALLY_RETURN_IF_ERROR(WriteManifest(fs_, layout_.manifest_dir, database_id_, next, &renamed));
  newest_ = std::move(next);
  RemoveOld();
  return Status::Ok();
}

Manifest ManifestStore::Newest() const {
  MutexLock lock(mutex_);
  return newest_;
}

Manifest ManifestStore::NewestWhile(const std::function<void()>& look) const {
  MutexLock lock(mutex_);
  look();
  return newest_;
}

void ManifestStore::RemoveOld() {
  auto names = fs_.List(layout_.manifest_dir);
  if (!names.ok()) return;  // only saves space; tried again with the next manifest
  std::set<uint64_t> numbers;
  for (const std::string& name : *names) {
    if (const auto number = ParseNumberName(name); number.has_value()) numbers.insert(*number);
  }
  while (numbers.size() > kManifestsKept && *numbers.begin() < newest_.number.value) {
    const std::string path = JoinPath(layout_.manifest_dir, NumberName(*numbers.begin()));
    IgnoreError(fs_.Remove(path), "only saves space; tried again with the next manifest");
    numbers.erase(numbers.begin());
  }
}

}  // namespace tallystick
