// Invariants:
//  1. A manifest names a segment only when the rows, their file's size and its name are durable and
//     were read back whole.
//  2. Rows leave memory, and their log files are freed, only when that manifest is durable.
//  3. A sidecar is worth a try, not a flush: without it the segment is committed all the same, and
//     the committer keeps the key table until the sidecar is rebuilt. So is a rollup: without it
//     rows answer.
//  4. Files of a job whose manifest may count (its commit was tried) are never removed.
//  5. A failed attempt is tried again under a new number; a sync is never repeated.
#include "engine/flusher.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "dedupe/sidecar_writer.h"
#include "engine/sidecar_keeper.h"

namespace tallystick {
namespace {

constexpr int64_t kPauseMinMicros = 500'000;
constexpr int64_t kPauseMaxMicros = 30'000'000;

}  // namespace

StepResult Flusher::Step() {
  if (env_.clock().MonotonicMicros() < retry_at_us_) return StepResult::WaitUntil(retry_at_us_);
  if (job_ == nullptr) {
    // Before there is a log again, its files have no ends that a manifest could go by.
    if (!keeper_.Read().established) return StepResult::Wait();
    auto memtable = versions_.OldestSealed();
    if (memtable == nullptr) return StepResult::Wait();
    StartJob(std::move(memtable));
  }
  if (Status status = RunPhase(); !status.ok()) return Fail(status);
  return StepResult::Again();
}

void Flusher::StartJob(std::shared_ptr<const Memtable> memtable) {
  job_ = std::make_unique<Job>();
  job_->memtable = std::move(memtable);
  job_->number = manifests_.NewNumber();
  job_->rows_path = JoinPath(layout_.segment_dir, SegmentFileName(job_->number));
  job_->keys_path = JoinPath(layout_.segment_dir, SidecarFileName(job_->number));
  job_->sums_path = JoinPath(layout_.segment_dir, RollupFileName(job_->number));
}

Status Flusher::RunPhase() {
  switch (job_->phase) {
    case Phase::kRows:
      TALLY_RETURN_IF_ERROR(WriteRows());
      job_->phase = Phase::kCheck;
      return Status::Ok();
    case Phase::kCheck:
      TALLY_RETURN_IF_ERROR(CheckRows());
      job_->phase = Phase::kKeys;
      return Status::Ok();
    case Phase::kKeys:
      WriteKeys();
      job_->phase = Phase::kSums;
      return Status::Ok();
    case Phase::kSums:
      WriteSums();
      job_->phase = Phase::kNames;
      return Status::Ok();
    case Phase::kNames:
      if (!TALLY_MUTANT("segment_dir_sync_dropped")) {
        TALLY_RETURN_IF_ERROR(SyncDirectory(env_.fs(), layout_.segment_dir));
      }
      job_->phase = Phase::kManifest;
      return Status::Ok();
    case Phase::kManifest:
      return CommitManifest();
  }
  TALLY_CHECK(false);
}

Status Flusher::WriteRows() {
  const Memtable& memtable = *job_->memtable;
  const Lsn first = memtable.first_lsn(), end = memtable.end_lsn();
  std::vector<RecordView> records;
  records.reserve(end.value - first.value);
  for (Lsn lsn = first; lsn < end; ++lsn.value) records.push_back(memtable.Record(lsn));
  std::vector<CommitTime> commit_times;
  memtable.ForEachFrame([&](Lsn first_lsn, int64_t commit_time_us) {
    commit_times.push_back({first_lsn, commit_time_us});
  });
  const SegmentSpec spec{.database_id = identity_.database_id,
                         .number = job_->number,
                         .scope = identity_.scope,
                         .group_rows = options_.segment_group_rows};
  TALLY_ASSIGN_OR_RETURN(job_->written, WriteSegment(env_.fs(), job_->rows_path, spec,
                                                     {first, records, commit_times}, &governor_));
  job_->listed = {.number = job_->number,
                  .first_lsn = first,
                  .last_lsn = {end.value - 1},
                  .rows = records.size(),
                  .bytes = job_->written.bytes,
                  .footer_checksum = job_->written.footer_checksum};
  return Status::Ok();
}

// What was written must read back as the rows that went in: as many, with the same sum.
Status Flusher::CheckRows() {
  TALLY_ASSIGN_OR_RETURN(
      auto rows, SegmentReader::Open(
                     env_.fs(), job_->rows_path,
                     {identity_.database_id, job_->number, job_->written.footer_checksum}, cache_));
  TALLY_ASSIGN_OR_RETURN(const SegmentTotals totals, CheckSegment(*rows, {}));
  if (totals != job_->written.totals || totals.rows != job_->listed.rows) {
    return Status::Corruption(job_->rows_path + ": its rows do not add up to the memtable's");
  }
  job_->segment = std::make_shared<LiveSegment>(job_->listed, std::move(rows));
  return Status::Ok();
}

// The key table has every hash already; only the row numbers are new.
void Flusher::WriteKeys() {
  std::vector<SidecarEntry> entries;
  entries.reserve(job_->listed.rows);
  const uint64_t first = job_->listed.first_lsn.value;
  job_->memtable->keys().ForEach([&](const EventHash& key, const KeyTable::Found& found) {
    entries.push_back({key, found.payload_hash, job_->written.row_of[found.lsn.value - first]});
  });
  const SidecarBinding binding = job_->segment->binding();
  Status status = WriteSidecar(env_.fs(), job_->keys_path, binding, std::move(entries), &governor_);
  if (status.ok()) {
    auto sidecar = SidecarReader::Open(env_.fs(), job_->keys_path, binding);
    status = sidecar.ok() ? CheckSidecar(**sidecar) : sidecar.status();
    if (status.ok()) {
      if (FilterFits(*versions_.Current(), (*sidecar)->filter_bytes(), options_)) {
        IgnoreError((*sidecar)->LoadFilter(nullptr), "the sidecar keeper tries again, and reports");
      }
      return job_->segment->InstallSidecar(*std::move(sidecar));
    }
  }
  RemoveFile(job_->keys_path);
  {
    MutexLock lock(mutex_);
    ++readings_.sidecar_failures;
  }
  Log(LogLevel::kWarning,
      fmt::format("segment {} is committed without its sidecar, which will be rebuilt: {}",
                  job_->number.value, status.ToString()));
}

void Flusher::WriteSums() {
  auto rollup = MakeRollup(env_.fs(), job_->sums_path, job_->segment->rows(), options_, cache_,
                           &governor_, {});
  if (rollup.ok()) return job_->segment->InstallRollup(*std::move(rollup));
  RemoveFile(job_->sums_path);
  {
    MutexLock lock(mutex_);
    ++readings_.rollup_failures;
  }
  Log(LogLevel::kWarning,
      fmt::format("segment {} is committed without its rollup, which will be rebuilt: {}",
                  job_->number.value, rollup.status().ToString()));
}

Status Flusher::CommitManifest() {
  std::vector<FileNumber> dropped;
  auto edit = [&](Manifest& manifest) {
    manifest.segments.push_back(job_->listed);
    manifest.flushed_lsn = job_->listed.last_lsn;
    dropped = keeper_.Drop(manifest, manifest.flushed_lsn);
  };
  if (TALLY_MUTANT("wal_freed_early")) {
    Manifest draft = manifests_.Newest();
    edit(draft);
    for (const FileNumber number : dropped) {
      IgnoreError(env_.fs().Remove(JoinPath(layout_.wal_dir, WalFileName(number))), "planted");
    }
  }
  TALLY_RETURN_IF_ERROR(manifests_.Commit(edit));
  versions_.InstallSegment(job_->segment);
  keeper_.Free(dropped);
  {
    MutexLock lock(mutex_);
    ++readings_.flushes;
    readings_.bytes_written += job_->segment->file_bytes();
    readings_.status = Status::Ok();
  }
  job_.reset();
  pause_us_ = 0;
  if (on_ended_) on_ended_();
  return Status::Ok();
}

// The memtable stays where it is. Only a job whose manifest was not tried may be thrown away.
StepResult Flusher::Fail(const Status& status) {
  if (job_->phase != Phase::kManifest || TALLY_MUTANT("segment_removed_in_doubt")) {
    RemoveFile(job_->rows_path);
    RemoveFile(job_->keys_path);
    RemoveFile(job_->sums_path);
    cache_.Erase(job_->number);
    job_.reset();
  }
  pause_us_ = std::clamp(pause_us_ * 2, kPauseMinMicros, kPauseMaxMicros);
  retry_at_us_ = env_.clock().MonotonicMicros() + pause_us_;
  {
    MutexLock lock(mutex_);
    ++readings_.failures;
    readings_.status = status;
  }
  Log(LogLevel::kWarning, fmt::format("a flush failed, and is tried again in {} ms: {}",
                                      pause_us_ / 1000, status.ToString()));
  if (on_ended_) on_ended_();
  return StepResult::WaitUntil(retry_at_us_);
}

void Flusher::RemoveFile(const std::string& path) {
  const Status removed = env_.fs().Remove(path);
  if (removed.ok() || removed.code() == StatusCode::kNotFound) return;
  Log(LogLevel::kWarning, "an orphan stays until the next start: " + removed.ToString());
}

Flusher::Readings Flusher::Read() const {
  MutexLock lock(mutex_);
  return readings_;
}

}  // namespace tallystick
