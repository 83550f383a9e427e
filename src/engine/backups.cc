// Invariants:
//  1. BACKUP is written only when every file that it names is durable, bytes and name.
//  2. The log keeper holds its files from before the position is taken until the last log file is
//     copied, or the job has failed.
//  3. A run that fails removes what it has made, unless BACKUP may count already.
#include "engine/backups.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "segment/segment_format.h"
#include "wal/wal_writer.h"

namespace tallystick {
namespace {

constexpr int64_t kPositionRetryMicros = 1'000;

// Of one file of a segment.
std::string SegmentSibling(BackupFileKind kind, FileNumber number) {
  switch (kind) {
    case BackupFileKind::kRows:
      return SegmentFileName(number);
    case BackupFileKind::kSidecar:
      return SidecarFileName(number);
    case BackupFileKind::kRollup:
      return RollupFileName(number);
    case BackupFileKind::kWal:
      break;
  }
  TALLY_CHECK(false);
}

bool HasTheSegmentsOf(const DataVersion& version, const Manifest& manifest) {
  return std::ranges::equal(version.segments, manifest.segments, {},
                            [](const auto& segment) { return segment->listed(); });
}

}  // namespace

BackupInfo InfoOf(const BackupContent& content, const std::string& directory) {
  BackupInfo info{.directory = directory,
                  .database_id = content.identity.database_id.ToHex(),
                  .incarnation = fmt::format("{:016x}", content.manifest.incarnation),
                  .lsn = content.lsn,
                  .created_us = content.created_us,
                  .files = content.files.size()};
  for (const BackupFile& file : content.files) info.bytes += file.bytes;
  return info;
}

Status Backups::Start(const std::string& target, const BackupOptions& options, BackupDone done) {
  MutexLock lock(mutex_);
  if (closed_) return Status::FailedPrecondition("closed", "the database is closed");
  if (readings_.running) {
    return Status::FailedPrecondition("backup_running",
                                      fmt::format("a backup to {} is running", readings_.target));
  }
  waiting_ = std::make_unique<Request>(Request{target, options, std::move(done)});
  readings_.running = true;
  readings_.target = target;
  readings_.files = readings_.files_done = readings_.bytes_done = 0;
  return Status::Ok();
}

void Backups::Note(const std::function<void(Readings&)>& change) {
  MutexLock lock(mutex_);
  change(readings_);
}

Backups::Readings Backups::Read() const {
  MutexLock lock(mutex_);
  return readings_;
}

StepResult Backups::Step() {
  if (job_ == nullptr) {
    MutexLock lock(mutex_);
    if (waiting_ == nullptr) return StepResult::Wait();
    job_ = std::make_unique<Job>();
    job_->request = std::move(*waiting_);
    waiting_.reset();
  }
  Status status;
  const StepResult result = RunPhase(&status);
  if (!status.ok()) Finish(status);
  return result;
}

StepResult Backups::RunPhase(Status* status) {
  switch (job_->phase) {
    case Phase::kTarget:
      *status = OpenTarget();
      job_->phase = Phase::kPosition;
      break;
    case Phase::kPosition: {
      const auto taken = TakePosition();
      *status = taken.status();
      if (taken.ok() && !*taken) {
        return StepResult::WaitUntil(env_.clock().MonotonicMicros() + kPositionRetryMicros);
      }
      job_->phase = Phase::kFiles;
      break;
    }
    case Phase::kFiles:
      if (job_->next < job_->wanted.size()) {
        *status = FileStep();
      } else {
        job_->phase = Phase::kNames;
      }
      break;
    case Phase::kNames:
      *status = job_->target->SyncNames();
      job_->phase = Phase::kBackup;
      break;
    case Phase::kBackup:
      *status = WriteBackup();
      if (status->ok()) Finish(*status);
      break;
  }
  return StepResult::Again();
}

Status Backups::OpenTarget() {
  TALLY_ASSIGN_OR_RETURN(BackupTarget target,
                         BackupTarget::Open(env_.fs(), job_->request.target, layout_, identity_,
                                            manifests_.Newest().incarnation));
  job_->target.emplace(std::move(target));
  keeper_.Hold();
  job_->holds_log = true;
  return Status::Ok();
}

// False: a flush has committed its manifest and not yet installed its segment, or the committer is
// between two log files. A moment later it is not.
Result<bool> Backups::TakePosition() {
  Committer::LogEnd end;
  std::vector<LogKeeper::Ended> ended;
  Manifest manifest = manifests_.NewestWhile([&] {
    end = committer_.log_end();
    ended = keeper_.EndedFiles();  // later: what the committer has left is among them
  });
  if (end.file.value == 0) {
    return Status::Unavailable("log_unavailable", "the log is being prepared");
  }
  job_->version = versions_.Current();
  if (!HasTheSegmentsOf(*job_->version, manifest) || !EndLog(manifest, end, ended)) return false;
  if (TALLY_MUTANT("backup_misses_last_segment") && !manifest.segments.empty()) {
    manifest.segments.pop_back();
    manifest.flushed_lsn = manifest.segments.empty() ? Lsn{0} : manifest.segments.back().last_lsn;
  }
  BackupContent& content = job_->content;
  content.identity = identity_;
  content.manifest = std::move(manifest);
  content.lsn = end.last_lsn;
  content.created_us = env_.clock().WallMicros();
  for (Wanted& wanted : job_->wanted) wanted.name = BackupFilePath(content, wanted.file);
  TALLY_RETURN_IF_ERROR(job_->target->CheckHistory(content));
  ListSegments();
  if (content.manifest.wal_files.empty()) ReleaseLog();
  Note([&](Readings& readings) { readings.files = job_->wanted.size(); });
  return true;
}

// Gives every log file of the manifest that has frames its end, leaves the others out, and wants
// their copies.
bool Backups::EndLog(Manifest& manifest, const Committer::LogEnd& end,
                     const std::vector<LogKeeper::Ended>& ended) {
  job_->wanted.clear();
  auto& files = manifest.wal_files;
  const auto active = std::ranges::find(files, end.file, &ListedWalFile::number);
  if (active == files.end()) return false;
  files.erase(end.has_frames ? active + 1 : active, files.end());
  for (ListedWalFile& file : files) {
    uint64_t used = end.used;
    if (file.number == end.file) {
      file.end = end.last_frame;
    } else {
      const auto left = std::ranges::find(
          ended, file.number, [](const LogKeeper::Ended& one) { return one.file.number; });
      if (left == ended.end()) return false;
      file.end = left->file.end;
      used = left->used;
    }
    job_->wanted.push_back({.file = {.kind = BackupFileKind::kWal, .number = file.number},
                            .name = {},
                            .source = JoinPath(layout_.wal_dir, WalFileName(file.number)),
                            .bytes = used});
  }
  return true;
}

void Backups::ListSegments() {
  for (const ListedSegment& segment : job_->content.manifest.segments) {
    for (const auto kind :
         {BackupFileKind::kRows, BackupFileKind::kSidecar, BackupFileKind::kRollup}) {
      const BackupFile file{.kind = kind, .number = segment.number};
      std::optional<uint64_t> bytes;
      if (kind == BackupFileKind::kRows) bytes = segment.bytes;
      job_->wanted.push_back(
          {.file = file,
           .name = BackupFilePath(job_->content, file),
           .source = JoinPath(layout_.segment_dir, SegmentSibling(kind, segment.number)),
           .bytes = bytes});
    }
  }
}

Status Backups::FileStep() {
  if (job_->log_check != nullptr) return LogCheckStep();
  const Wanted& wanted = job_->wanted[job_->next];
  if (job_->copier == nullptr) {
    TALLY_ASSIGN_OR_RETURN(const auto kept, job_->target->Kept(wanted.name, wanted.bytes));
    if (kept.has_value()) {
      ++job_->report.kept_files;
      job_->log_next.reset();  // it was checked when it was copied
      EndFile(*kept);
      return Status::Ok();
    }
    Status started = StartFile(wanted);
    // A sidecar or a rollup that is not there will be rebuilt, here and from the backup.
    const bool may_lack =
        wanted.file.kind == BackupFileKind::kSidecar || wanted.file.kind == BackupFileKind::kRollup;
    if (may_lack && started.code() == StatusCode::kNotFound) {
      ++job_->next;
      return Status::Ok();
    }
    return started;
  }
  const uint64_t before = job_->copier->copied();
  TALLY_RETURN_IF_ERROR(job_->copier->Step());
  const uint64_t bytes = job_->copier->copied() - before;
  Note([&](Readings& readings) { readings.bytes_done += bytes; });
  if (!job_->copier->done()) return Status::Ok();
  BackupFile file = wanted.file;
  file.bytes = job_->copier->bytes();
  file.checksum = job_->copier->checksum();
  ++(job_->linked ? job_->report.linked_files : job_->report.copied_files);
  job_->report.copied_bytes += job_->linked ? 0 : file.bytes;
  job_->copier.reset();
  return StartCheck(file);
}

// What was copied must be what the position lists, before BACKUP says that it is: a bad sector or a
// lost write in the source is not to be found at the restore.
Status Backups::StartCheck(const BackupFile& file) {
  const std::string path = job_->target->In(job_->wanted[job_->next].name);
  if (file.kind == BackupFileKind::kRows) TALLY_RETURN_IF_ERROR(CheckSegment(file, path));
  if (file.kind != BackupFileKind::kWal) {
    EndFile(file);
    return Status::Ok();
  }
  TALLY_ASSIGN_OR_RETURN(
      job_->log_check, WalFileChecker::OpenPath(env_.fs(), path, identity_.database_id, file.number,
                                                /*direct_io=*/false));
  TALLY_RETURN_IF_ERROR(job_->log_check->StartAtFirst());
  job_->log_file = file;
  const Manifest& manifest = job_->content.manifest;
  const WalPosition& first = job_->log_check->position();
  const bool is_first = job_->next == 0;
  const bool follows =
      is_first ? first.next_lsn.value <= manifest.flushed_lsn.value + 1
               : first.next_frame.value == manifest.wal_files[job_->next - 1].end->value + 1 &&
                     first.next_lsn == job_->log_next.value_or(first.next_lsn);
  if (follows) return Status::Ok();
  return Status::Corruption(fmt::format(
      "{} at offset {}: frame {} with LSN {} does not follow on what the backup has before it",
      path, kWalHeaderBytes, first.next_frame.value, first.next_lsn.value));
}

Status Backups::LogCheckStep() {
  const auto& files = job_->content.manifest.wal_files;
  const FrameNumber last = *files[job_->next].end;
  WalFileChecker& check = *job_->log_check;
  TALLY_ASSIGN_OR_RETURN(const bool more, check.Step({last.value + 1}, FileCopier::kStepBytes));
  if (more) return Status::Ok();
  const Lsn next = check.position().next_lsn;
  const bool ends = job_->next + 1 < files.size() || next.value == job_->content.lsn.value + 1;
  if (check.offset() != job_->log_file.bytes || !ends) {
    return Status::Corruption(
        fmt::format("{} at offset {}: the log ends at frame {} and LSN {}, and is to end at offset "
                    "{} and LSN {}",
                    job_->target->In(job_->wanted[job_->next].name), check.offset(), last.value,
                    next.value - 1, job_->log_file.bytes, job_->content.lsn.value));
  }
  job_->log_next = next;
  job_->log_check.reset();
  EndFile(job_->log_file);
  return Status::Ok();
}

// Its size and its footer are those of the manifest.
Status Backups::CheckSegment(const BackupFile& file, const std::string& path) {
  const auto& segments = job_->content.manifest.segments;
  const auto listed = std::ranges::find(segments, file.number, &ListedSegment::number);
  TALLY_ASSIGN_OR_RETURN(const auto opened, env_.fs().Open(path, OpenMode::kRead));
  TALLY_ASSIGN_OR_RETURN(const uint64_t bytes, opened->Size());
  Bytes tail(kSegmentTailBytes);
  if (bytes != listed->bytes || bytes < tail.size()) {
    return Status::Corruption(
        fmt::format("{}: it has {} bytes, not {}", path, bytes, listed->bytes));
  }
  TALLY_RETURN_IF_ERROR(ReadFully(*opened, bytes - tail.size(), tail));
  const auto footer = DecodeSegmentTail(tail, bytes);
  if (!footer.ok()) {
    return footer.status().WithContext(fmt::format("{} at offset {}", path, bytes - tail.size()));
  }
  if (footer->info.footer_checksum == listed->footer_checksum) return Status::Ok();
  return Status::Corruption(
      fmt::format("{} at offset {}: the footer is not that of the segment that is listed", path,
                  bytes - tail.size()));
}

Status Backups::StartFile(const Wanted& wanted) {
  TALLY_RETURN_IF_ERROR(job_->target->Clear(wanted.name));
  const std::string path = job_->target->In(wanted.name);
  const bool may_link = wanted.file.kind != BackupFileKind::kWal && !job_->links_refused &&
                        !job_->request.options.copy;
  job_->linked = false;
  if (may_link) {
    Status linked = env_.fs().Link(wanted.source, path);
    if (linked.ok() || linked.reason() != "link_refused") {
      if (linked.code() != StatusCode::kNotFound) job_->made.push_back(wanted.name);
      TALLY_RETURN_IF_ERROR(linked);
      // Read under the new name: the old one may mean another file by now.
      TALLY_ASSIGN_OR_RETURN(job_->copier,
                             FileCopier::Start(env_.fs(), path, "", wanted.bytes, &governor_));
      job_->linked = true;
      return Status::Ok();
    }
    job_->links_refused = true;
  }
  auto copier = FileCopier::Start(env_.fs(), wanted.source, path, wanted.bytes, &governor_);
  if (copier.status().code() != StatusCode::kNotFound) job_->made.push_back(wanted.name);
  if (!copier.ok()) return copier.status();
  job_->copier = *std::move(copier);
  return Status::Ok();
}

void Backups::EndFile(const BackupFile& file) {
  job_->content.files.push_back(file);
  ++job_->next;
  Note([&](Readings& readings) { readings.files_done = job_->next; });
  if (job_->next == job_->content.manifest.wal_files.size()) ReleaseLog();
}

void Backups::ReleaseLog() {
  if (!std::exchange(job_->holds_log, false)) return;
  keeper_.Release();
}

Status Backups::WriteBackup() {
  BackupContent& content = job_->content;
  std::ranges::sort(content.files, [](const BackupFile& a, const BackupFile& b) {
    return std::pair(a.kind, a.number) < std::pair(b.kind, b.number);
  });
  // What earlier files said is in it: an error, never an abort.
  if (const std::string fault = CheckBackup(content); !fault.empty()) {
    return Status::Corruption(
        fmt::format("the backup to {} would contradict itself: {}", job_->request.target, fault));
  }
  TALLY_RETURN_IF_ERROR(job_->target->Write(content, &job_->in_doubt));
  job_->report.removed_files = job_->target->RemoveOthers(content);
  job_->report.backup = InfoOf(content, job_->target->real_path());
  return Status::Ok();
}

void Backups::Finish(const Status& status) {
  const std::unique_ptr<Job> job = std::move(job_);
  job->copier.reset();
  job->log_check.reset();
  if (job->holds_log) keeper_.Release();
  if (!status.ok() && !job->in_doubt) {
    for (const std::string& name : job->made) {
      IgnoreError(job->target->Clear(name), "the next backup clears it away");
    }
  }
  job->target.reset();  // its lock
  const BackupInfo& backup = job->report.backup;
  Note([&](Readings& readings) {
    readings.running = false;
    readings.status = status;
    ++(status.ok() ? readings.backups : readings.failures);
    if (!status.ok()) return;
    readings.target = backup.directory;
    readings.files_done = readings.files;
    readings.lsn = backup.lsn;
    readings.created_us = backup.created_us;
  });
  if (status.ok()) {
    Log(LogLevel::kInfo,
        fmt::format("backup to {} at LSN {}: {} files, {} copied, {} linked, {} kept",
                    backup.directory, backup.lsn.value, backup.files, job->report.copied_files,
                    job->report.linked_files, job->report.kept_files));
    job->request.done(std::move(job->report));
  } else {
    Log(LogLevel::kWarning,
        fmt::format("the backup to {} failed: {}", job->request.target, status.ToString()));
    job->request.done(status);
  }
}

void Backups::Close() {
  const Status closed = Status::FailedPrecondition("closed", "the database was closed");
  BackupDone waiting;
  {
    MutexLock lock(mutex_);
    closed_ = true;
    if (waiting_ != nullptr) {
      waiting = std::move(waiting_->done);
      waiting_.reset();
      readings_.running = false;
    }
  }
  if (waiting) waiting(closed);
  if (job_ != nullptr) Finish(closed);
}

}  // namespace tallystick
