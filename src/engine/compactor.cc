// Invariants:
//  1. A manifest takes inputs away only together with adding their output, and only when the output
//     is durable, was read back whole, and has as many rows, keys and the same summed quantity as
//     the inputs together. Else the merge is abandoned, loudly, and the inputs go on serving.
//  2. Files of inputs are deleted only when a manifest without them is durable and no view has
//     them; files of an output whose manifest may count (its commit was tried) are never removed.
//  3. An output without a sidecar is not installed: keys would be unknown. One without a rollup is:
//     rows answer, and the rollup is rebuilt.
//  4. What a crash leaves behind is orphans, which the next start deletes; the merge starts over.
#include "engine/compactor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "dedupe/sidecar_check.h"
#include "model/identity.h"
#include "segment/segment_check.h"

namespace tallystick {
namespace {

constexpr int64_t kPauseMinMicros = 1'000'000;
constexpr int64_t kPauseMaxMicros = 60'000'000;
constexpr int64_t kRoomMicros = 5'000'000;  // between two looks at how much is free
constexpr uint32_t kSliceGroups = 16;       // row groups of a step
constexpr uint64_t kSliceKeys = 131'072;    // of a step
constexpr uint64_t kSlicePages = 1024;      // of a step
constexpr uint64_t kSampleKeys = 16;
constexpr size_t kJobsMax = 4;
constexpr uint32_t kDisagreementsMax = 3;

uint64_t FileBytesOf(std::span<const SegmentList::value_type> segments) {
  uint64_t bytes = 0;
  for (const auto& segment : segments) bytes += segment->file_bytes();
  return bytes;
}

}  // namespace

struct Compactor::Job {
  SegmentList inputs;
  uint64_t rows = 0;
  FileNumber number;
  Phase phase = Phase::kRows;
  std::unique_ptr<SegmentMerger> merger;  // until the keys are merged
  WrittenSegment written;
  ListedSegment listed;
  std::shared_ptr<LiveSegment> segment;  // from kCheck on, with its siblings as they are made
  std::unique_ptr<SegmentChecker> row_checker;
  std::vector<std::shared_ptr<SidecarReader>> input_sidecars;
  std::unique_ptr<SidecarMerger> key_merger;
  std::unique_ptr<SidecarReader> sidecar;  // while it is checked
  std::unique_ptr<SidecarChecker> key_checker;
  uint64_t keys_done = 0;
  std::vector<SidecarEntry> samples;  // of the merged keys
  uint64_t rows_done = 0;             // of the current phase
  uint64_t bytes = 0;                 // written so far
  bool sidecar_failed = false;

  bool Has(const LiveSegment* segment) const {
    return std::ranges::any_of(inputs, [&](const auto& input) { return input.get() == segment; });
  }
};

Compactor::Compactor(Env& env, const Layout& layout, const OpenOptions& options,
                     const Identity& identity, ManifestStore& manifests, VersionStore& versions,
                     BlockCache& cache, IoGovernor& governor)
    : env_(env),
      layout_(layout),
      options_(options),
      identity_(identity),
      manifests_(manifests),
      versions_(versions),
      cache_(cache),
      governor_(governor),
      trash_(std::make_shared<SegmentTrash>()) {}

Compactor::~Compactor() = default;

Status Compactor::Stopped() const {
  if (!stopped_.load(std::memory_order_relaxed)) return Status::Ok();
  return Status::Unavailable("closed", "the database is being closed");
}

StepResult Compactor::Step() {
  EmptyTrash();
  if (!Stopped().ok() || options_.compaction_fan_in == 0) return StepResult::Wait();
  const int64_t now = env_.clock().MonotonicMicros();
  if (now < retry_at_us_) return StepResult::WaitUntil(retry_at_us_);
  if (hooks_.must_wait && hooks_.must_wait()) {  // we are woken
    EndFullInTrouble();
    return StepResult::Wait();
  }
  if (jobs_.empty() || jobs_.back()->phase <= Phase::kCheckKeys) {
    const auto version = versions_.Current();
    const auto plan = PickNext(*version);
    const Status room = plan.has_value() ? CheckRoom(*version, *plan) : Status::Ok();
    if (!room.ok() && jobs_.empty()) return WaitForRoom(room, plan->end - plan->begin);
    if (room.ok()) NoteRoom();
    if (room.ok() && plan.has_value()) StartJob(*version, *plan);
  }
  if (jobs_.empty()) {
    if (WaitsForSidecar()) {  // its rebuilding wakes us
      EndFullInTrouble();
    } else {
      EndFull(Status::Ok());
    }
    return StepResult::Wait();
  }
  Job& job = *jobs_.back();
  Status status = RunPhase(job);
  if (!status.ok() && !Stopped().ok()) return StepResult::Wait();  // Finish takes it away
  if (!status.ok()) return Fail(job, status);
  Publish();
  return StepResult::Again();
}

std::optional<CompactionPlan> Compactor::PickNext(const DataVersion& version) const {
  if (jobs_.size() == kJobsMax) return std::nullopt;
  std::vector<SegmentRun> runs = RunsOf(version.segments);
  for (size_t i = 0; i < runs.size(); ++i) {
    for (const auto& job : jobs_) {
      runs[i].waiting = runs[i].waiting || job->Has(version.segments[i].get());
    }
  }
  const CompactionLimits limits = LimitsOf(options_);
  auto plan = PickCompaction(runs, limits);
  // Before ingest is held back any merge is better than none: a tier need not be full.
  const bool many = options_.runs_slow > 0 && versions_.mergeable_runs() >= options_.runs_slow;
  if ((full() || many) && jobs_.empty() && (!plan.has_value() || !CheckRoom(version, *plan).ok())) {
    plan = PickAny(runs, limits);
  }
  if (!plan.has_value() || jobs_.empty()) return plan;
  uint64_t memory = MergeMemory(std::span(runs).subspan(plan->begin, plan->end - plan->begin));
  for (const auto& job : jobs_) memory += MergeMemory(RunsOf(job->inputs));
  return MayInterrupt(plan->rows, jobs_.back()->rows, memory, limits) ? plan : std::nullopt;
}

// A merge that fills the disk would stop ingest until it has failed, and again at its next attempt.
Status Compactor::CheckRoom(const DataVersion& version, const CompactionPlan& plan) const {
  uint64_t needed =
      FileBytesOf(std::span(version.segments).subspan(plan.begin, plan.end - plan.begin));
  for (const auto& job : jobs_) {  // what is promised to those that are interrupted
    const uint64_t bytes = FileBytesOf(job->inputs);
    needed += bytes - std::min(bytes, job->bytes);
  }
  needed += std::min(needed, 2 * options_.wal_file_bytes);  // the log goes on meanwhile
  const auto free = env_.fs().FreeBytes(layout_.segment_dir);
  if (!free.ok() || *free >= needed) return Status::Ok();  // who cannot tell finds out
  return Status::NoSpace(
      fmt::format("the output and the log take up to {} bytes, {} are free", needed, *free));
}

void Compactor::StartJob(const DataVersion& version, const CompactionPlan& plan) {
  auto job = std::make_unique<Job>();
  job->inputs.assign(version.segments.begin() + static_cast<ptrdiff_t>(plan.begin),
                     version.segments.begin() + static_cast<ptrdiff_t>(plan.end));
  job->rows = plan.rows;
  job->number = manifests_.NewNumber();
  jobs_.push_back(std::move(job));
}

Status Compactor::RunPhase(Job& job) {
  switch (job.phase) {
    case Phase::kRows:
      return MergeRows(job);
    case Phase::kCheck:
      return CheckRows(job);
    case Phase::kKeys:
      return MergeKeys(job);
    case Phase::kCheckKeys:
      return CheckKeys(job);
    case Phase::kSums:
      WriteSums(job);
      return Stopped();
    case Phase::kNames:
      TALLY_RETURN_IF_ERROR(SyncDirectory(env_.fs(), layout_.segment_dir));
      TALLY_RETURN_IF_ERROR(CheckInputs(job));
      job.phase = Phase::kManifest;
      return Status::Ok();
    case Phase::kManifest:
      return CommitManifest(job);
  }
  TALLY_CHECK(false);
}

Status Compactor::MergeRows(Job& job) {
  if (job.merger == nullptr) {
    std::vector<const SegmentReader*> inputs;
    for (const auto& input : job.inputs) inputs.push_back(&input->rows());
    const SegmentSpec spec{.database_id = identity_.database_id,
                           .number = job.number,
                           .scope = identity_.scope,
                           .group_rows = options_.segment_group_rows};
    TALLY_ASSIGN_OR_RETURN(job.merger,
                           SegmentMerger::Start(env_.fs(), Path(SegmentFileName(job.number)), spec,
                                                std::move(inputs), &governor_));
    return Status::Ok();
  }
  TALLY_ASSIGN_OR_RETURN(const bool done, job.merger->Step(kSliceGroups));
  job.rows_done = job.merger->rows_done();
  if (!done) return Status::Ok();
  TALLY_ASSIGN_OR_RETURN(job.written, job.merger->Finish());
  job.bytes += job.written.bytes;
  job.listed = {.number = job.number,
                .first_lsn = job.inputs.front()->listed().first_lsn,
                .last_lsn = job.inputs.back()->listed().last_lsn,
                .rows = job.rows,
                .bytes = job.written.bytes,
                .footer_checksum = job.written.footer_checksum};
  job.phase = Phase::kCheck;
  job.rows_done = 0;
  return Status::Ok();
}

// What was written must read back as the inputs' rows: each LSN once, as many, with the same sum.
Status Compactor::CheckRows(Job& job) {
  if (job.segment == nullptr) {
    TALLY_ASSIGN_OR_RETURN(
        auto rows, SegmentReader::Open(
                       env_.fs(), Path(SegmentFileName(job.number)),
                       {identity_.database_id, job.number, job.written.footer_checksum}, cache_));
    job.segment = std::make_shared<LiveSegment>(job.listed, std::move(rows));
    job.row_checker = std::make_unique<SegmentChecker>(job.segment->rows());
  }
  if (!TALLY_MUTANT("compaction_check_skipped")) {
    TALLY_ASSIGN_OR_RETURN(const bool more, job.row_checker->Step(kSliceGroups));
    const SegmentTotals& totals = job.row_checker->totals();
    job.rows_done = totals.rows;
    if (more) return Status::Ok();
    if (totals != job.written.totals || totals.rows != job.rows) {
      return Status::Corruption(job.segment->rows().path() +
                                ": its rows do not add up to those that were merged");
    }
  }
  job.row_checker.reset();
  job.phase = Phase::kKeys;
  job.rows_done = 0;
  return Status::Ok();
}

Status Compactor::MergeKeys(Job& job) {
  if (job.key_merger == nullptr) {
    std::vector<const SidecarReader*> inputs;
    for (const auto& input : job.inputs) {
      auto sidecar = input->sidecar();
      if (sidecar == nullptr) {
        return Status::Unavailable(
            "sidecar_missing",
            fmt::format("segment {} has lost its sidecar meanwhile", input->listed().number.value));
      }
      inputs.push_back(sidecar.get());
      job.input_sidecars.push_back(std::move(sidecar));
    }
    job.sidecar_failed = true;  // until it is there
    TALLY_ASSIGN_OR_RETURN(
        job.key_merger,
        SidecarMerger::Start(
            env_.fs(), Path(SidecarFileName(job.number)), job.segment->binding(), inputs,
            [&job](std::span<const uint32_t> of_inputs, std::span<SidecarEntry> entries) {
              MapRows(job, of_inputs, entries);
            },
            &governor_));
    return Status::Ok();
  }
  TALLY_ASSIGN_OR_RETURN(const bool done, job.key_merger->Step(kSliceKeys));
  job.rows_done = job.keys_done;
  if (!done) return Status::Ok();
  TALLY_RETURN_IF_ERROR(job.key_merger->Finish());
  job.key_merger.reset();
  job.merger.reset();
  job.phase = Phase::kCheckKeys;
  job.rows_done = 0;
  return Status::Ok();
}

void Compactor::MapRows(Job& job, std::span<const uint32_t> inputs,
                        std::span<SidecarEntry> entries) {
  const std::vector<RowMap>& maps = job.merger->maps();
  const auto known = [&](size_t i) { return entries[i].row < maps[inputs[i]].size(); };
  for (size_t i = 0; i < entries.size(); ++i) {
    if (known(i)) maps[inputs[i]].PrefetchSample(entries[i].row);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    if (known(i)) maps[inputs[i]].PrefetchBits(entries[i].row);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    // Refused as beyond the rows.
    entries[i].row = known(i) ? maps[inputs[i]].At(entries[i].row) : UINT32_MAX;
    if (TALLY_MUTANT("row_map_shifted")) {
      entries[i].row = static_cast<uint32_t>((entries[i].row + 1) % job.rows);
    }
    if (job.keys_done++ % (job.rows / kSampleKeys + 1) == 0) job.samples.push_back(entries[i]);
  }
}

Status Compactor::CheckKeys(Job& job) {
  if (job.sidecar == nullptr) {
    TALLY_ASSIGN_OR_RETURN(
        job.sidecar,
        SidecarReader::Open(env_.fs(), Path(SidecarFileName(job.number)), job.segment->binding()));
    job.bytes += job.sidecar->bytes();
    job.key_checker = std::make_unique<SidecarChecker>(
        *job.sidecar, [&job](const SidecarEntry&) { ++job.rows_done; });
  }
  TALLY_ASSIGN_OR_RETURN(const bool more, job.key_checker->Step(kSlicePages));
  if (more) return Status::Ok();
  job.key_checker.reset();
  TALLY_RETURN_IF_ERROR(CheckSamples(job));
  if (FilterFits(*versions_.Current(), job.sidecar->filter_bytes(), options_)) {
    IgnoreError(job.sidecar->LoadFilter(nullptr), "the sidecar keeper tries again, and reports");
  }
  job.segment->InstallSidecar(std::move(job.sidecar));
  job.sidecar_failed = false;
  job.phase = Phase::kSums;
  job.rows_done = 0;
  return Status::Ok();
}

// Nothing is hashed again, so that a few rows are, to see that keys lead to their rows.
Status Compactor::CheckSamples(Job& job) {
  SegmentCursor cursor(job.segment->rows(), kAllSegmentColumns);
  Bytes canonical;
  for (const SidecarEntry& sample : job.samples) {
    TALLY_RETURN_IF_ERROR(cursor.Seek(sample.row));
    canonical.clear();
    EncodeRow(cursor.row(), canonical);
    const RowKey key = KeyOfRow(identity_.scope, cursor.row(), cursor.disposition(), canonical);
    if (key.key == sample.key && key.payload_hash == sample.payload_hash) continue;
    return Status::Corruption(fmt::format("{}: the key of row {} is not that of the row",
                                          Path(SidecarFileName(job.number)), sample.row));
  }
  job.samples.clear();
  return Status::Ok();
}

void Compactor::WriteSums(Job& job) {
  const std::string path = Path(RollupFileName(job.number));
  auto rollup = MakeRollup(env_.fs(), path, job.segment->rows(), options_, cache_, &governor_,
                           [this] { return !Stopped().ok(); });
  job.phase = Phase::kNames;
  if (rollup.ok()) {
    job.bytes += (*rollup)->bytes();
    return job.segment->InstallRollup(*std::move(rollup));
  }
  IgnoreError(env_.fs().Remove(path), "an orphan that a rebuild replaces");
  if (!Stopped().ok()) return;
  {
    MutexLock lock(mutex_);
    ++readings_.rollup_failures;
  }
  Log(LogLevel::kWarning,
      fmt::format("merged segment {} goes without its rollup, which will be rebuilt: {}",
                  job.number.value, rollup.status().ToString()));
}

// A sidecar that has been taken out of use meanwhile may have been wrong when it was merged.
Status Compactor::CheckInputs(const Job& job) const {
  for (size_t i = 0; i < job.inputs.size(); ++i) {
    const LiveSegment& input = *job.inputs[i];
    if (input.sidecar() == job.input_sidecars[i] || TALLY_MUTANT("bad_sidecar_merged")) continue;
    return Status::Unavailable(
        "sidecar_changed",
        fmt::format("the sidecar of segment {} was taken out of use", input.listed().number.value));
  }
  return Status::Ok();
}

Status Compactor::CommitManifest(Job& job) {
  if (TALLY_MUTANT("inputs_deleted_early")) {
    for (const auto& input : job.inputs) RemoveFiles(input->listed().number);
  }
  TALLY_RETURN_IF_ERROR(manifests_.Commit([&](Manifest& manifest) {
    auto& segments = manifest.segments;
    const auto begin = std::ranges::find(segments, job.inputs.front()->listed());
    TALLY_CHECK(segments.end() - begin >= std::ssize(job.inputs));
    *begin = job.listed;
    segments.erase(begin + 1, begin + std::ssize(job.inputs));
  }));
  versions_.ReplaceSegments(job.inputs, job.segment);
  for (const auto& input : job.inputs) input->TrashWhenUnused(trash_);
  {
    MutexLock lock(mutex_);
    ++readings_.compactions;
    readings_.rows_merged += job.rows;
    readings_.bytes_written += job.bytes;
    readings_.status = Status::Ok();
  }
  Log(LogLevel::kInfo, fmt::format("merged {} segments into {}: {} rows", job.inputs.size(),
                                   job.number.value, job.rows));
  jobs_.pop_back();
  pause_us_ = 0;
  if (hooks_.on_installed) hooks_.on_installed();
  return Status::Ok();
}

// Whose fault it is: a damaged input is left out from now on, its sidecar is rebuilt.
void Compactor::BlameInputs(const Job& job, const Status& status) {
  if (status.code() != StatusCode::kCorruption && status.code() != StatusCode::kIoError &&
      status.code() != StatusCode::kInvalidArgument) {
    return;
  }
  const std::string text = status.ToString();
  bool blamed = false;
  for (size_t i = 0; i < job.inputs.size(); ++i) {
    const LiveSegment& input = *job.inputs[i];
    if (text.find(input.rows().path()) != std::string::npos) {
      input.MarkDamaged();
      blamed = true;
    }
    if (i >= job.input_sidecars.size()) continue;
    const SidecarReader& sidecar = *job.input_sidecars[i];
    if (text.find(sidecar.path()) == std::string::npos) continue;
    if (hooks_.bad_sidecar) hooks_.bad_sidecar(input, &sidecar, status);
    blamed = true;
  }
  if (!blamed && status.code() != StatusCode::kIoError) LeaveOut(job, status);
}

// Files that are sound each but do not agree, or a merge that does not: to try for ever would keep
// all others from being merged.
void Compactor::LeaveOut(const Job& job, const Status& status) {
  const uint64_t first = job.inputs.front()->listed().number.value;
  if (status.code() == StatusCode::kCorruption && ++disagreed_[first] < kDisagreementsMax) return;
  for (const auto& input : job.inputs) input->LeaveOutOfMerging();
  Log(LogLevel::kError,
      fmt::format("segments {} to {} are left out of merging until the next start: {}", first,
                  job.inputs.back()->listed().number.value, status.ToString()));
  MutexLock lock(mutex_);
  readings_.left_out += job.inputs.size();
}

// The inputs go on serving. Only a merge whose manifest was not tried may be thrown away.
StepResult Compactor::Fail(Job& job, const Status& status) {
  BlameInputs(job, status);
  versions_.SidecarsChanged();  // and what may be merged
  {
    MutexLock lock(mutex_);
    ++readings_.failures;
    readings_.sidecar_failures += job.sidecar_failed ? 1 : 0;
    readings_.status = status;
  }
  EndFull(status);
  pause_us_ = std::clamp(pause_us_ * 2, kPauseMinMicros, kPauseMaxMicros);
  retry_at_us_ = env_.clock().MonotonicMicros() + pause_us_;
  Log(status.code() == StatusCode::kCorruption ? LogLevel::kError : LogLevel::kWarning,
      fmt::format("merging {} segments into {} failed, and is put off for {} ms: {}",
                  job.inputs.size(), job.number.value, pause_us_ / 1000, status.ToString()));
  if (job.phase != Phase::kManifest) {
    const FileNumber number = job.number;
    {
      MutexLock lock(mutex_);
      readings_.bytes_written += job.bytes;
    }
    jobs_.pop_back();
    cache_.Erase(number);
    RemoveFiles(number);
  }
  Publish();
  return StepResult::WaitUntil(retry_at_us_);
}

// Nothing has failed, and to ask again costs nothing.
StepResult Compactor::WaitForRoom(const Status& status, size_t segments) {
  EndFull(status);
  {
    MutexLock lock(mutex_);
    readings_.status = status;
  }
  if (!no_room_) {
    Log(LogLevel::kWarning,
        fmt::format("merging {} segments waits for room: {}", segments, status.ToString()));
  }
  no_room_ = true;
  retry_at_us_ = env_.clock().MonotonicMicros() + kRoomMicros;
  return StepResult::WaitUntil(retry_at_us_);
}

void Compactor::NoteRoom() {
  if (!std::exchange(no_room_, false)) return;
  MutexLock lock(mutex_);
  readings_.status = Status::Ok();
}

void Compactor::RemoveFiles(FileNumber number) {
  for (const std::string& name :
       {SegmentFileName(number), SidecarFileName(number), RollupFileName(number)}) {
    const Status removed = env_.fs().Remove(Path(name));
    if (removed.ok() || removed.code() == StatusCode::kNotFound) continue;
    Log(LogLevel::kWarning, "an orphan stays until the next start: " + removed.ToString());
  }
}

void Compactor::EmptyTrash() {
  for (const FileNumber number : trash_->Take()) {
    RemoveFiles(number);
    cache_.Erase(number);
    MutexLock lock(mutex_);
    ++readings_.segments_deleted;
  }
}

void Compactor::Finish() {
  while (!jobs_.empty()) {
    const bool in_doubt = jobs_.back()->phase == Phase::kManifest;
    const FileNumber number = jobs_.back()->number;
    jobs_.pop_back();
    if (!in_doubt) RemoveFiles(number);
  }
  EmptyTrash();
  {
    MutexLock lock(mutex_);
    finished_ = true;
  }
  EndFull(Status::Unavailable("closed", "the database was closed"));
}

void Compactor::RunFull(std::function<void(Status)> done) {
  {
    MutexLock lock(mutex_);
    if (!finished_) return full_done_.push_back(std::move(done));
  }
  done(Status::Unavailable("closed", "the database was closed"));
}

bool Compactor::WaitsForSidecar() const {
  const auto version = versions_.Current();
  return std::ranges::any_of(version->segments, [](const auto& segment) {
    return segment->sidecar() == nullptr && !segment->damaged();
  });
}

bool Compactor::full() const {
  MutexLock lock(mutex_);
  return !full_done_.empty();
}

// Who asked is not kept waiting for what may never come.
void Compactor::EndFullInTrouble() {
  const Status trouble = hooks_.trouble ? hooks_.trouble() : Status::Ok();
  if (!trouble.ok()) EndFull(trouble);
}

void Compactor::EndFull(const Status& status) {
  std::vector<std::function<void(Status)>> done;
  {
    MutexLock lock(mutex_);
    done.swap(full_done_);
  }
  for (const auto& call : done) call(status);
}

void Compactor::Publish() {
  static constexpr std::string_view kPhases[] = {"rows", "check", "keys",    "check_keys",
                                                 "sums", "names", "manifest"};
  std::vector<CompactionProgress> running;
  for (const auto& job : jobs_) {
    running.push_back({.output = job->number.value,
                       .inputs = job->inputs.size(),
                       .first_lsn = job->inputs.front()->listed().first_lsn,
                       .last_lsn = job->inputs.back()->listed().last_lsn,
                       .rows = job->rows,
                       .rows_done = job->rows_done,
                       .phase = kPhases[static_cast<size_t>(job->phase)]});
  }
  MutexLock lock(mutex_);
  readings_.running = std::move(running);
}

Compactor::Readings Compactor::Read() const {
  MutexLock lock(mutex_);
  return readings_;
}

}  // namespace tallystick
