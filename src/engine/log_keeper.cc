// Invariants:
//  1. A WAL file is in a durable manifest before the committer can get it; a file in no durable
//  manifest is
//     never read.
//  2. A file is deleted, cut or recycled only when the newest durable manifest does not name it (or
//  ends
//     before what is cut), and no manifest whose outcome is unknown was written after that one.
//  3. File numbers only go up, over all kinds of file; a manifest whose outcome is unknown has used
//  its.
//  4. A prepared file that was not listed yet keeps waiting in pending_; it is not prepared twice.
#include "engine/log_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "engine/replay.h"
#include "env/number_name.h"

namespace tallystick {
namespace {

constexpr int64_t kRetryMicros = 500'000;
constexpr size_t kTornCopiesMax = 10;

// A mark must always fit behind the last data frame.
uint64_t FileBytesFor(const OpenOptions& options, uint64_t frame_bytes) {
  return std::max(options.wal_file_bytes, kWalHeaderBytes + frame_bytes + kBlockBytes);
}

}  // namespace

LogKeeper::LogKeeper(Env& env, const Layout& layout, const OpenOptions& options, RecoveryPlan plan,
                     std::shared_ptr<Memtable> replayed_active, uint64_t memory_in_use)
    : env_(env),
      layout_(layout),
      options_(options),
      last_commit_time_us_(plan.last_commit_time_us),
      plan_(std::move(plan)),
      replayed_active_(std::move(replayed_active)),
      manifest_(plan_.manifest),
      next_number_(plan_.next_number) {
  MutexLock lock(mutex_);
  readings_.memory_bytes = memory_in_use;
}

void LogKeeper::Log(LogLevel level, const std::string& text) const {
  if (options_.log) options_.log(level, text);
}

WalFileSpec LogKeeper::Spec(uint64_t file_bytes) {
  return {.dir = layout_.wal_dir,
          .database_id = plan_.identity.database_id,
          .number = {next_number_++},
          .file_bytes = file_bytes,
          .direct_io = options_.wal_direct_io};
}

// --- recovery ---

Status LogKeeper::Establish() {
  if (plan_.wal.torn_file.has_value()) {
    const WalFilePlan& torn = plan_.wal.files[*plan_.wal.torn_file];
    Log(LogLevel::kWarning,
        fmt::format("wal/{}: dropped a torn tail at offset {}: a write that was never acknowledged",
                    WalFileName(torn.listed.number), torn.end_offset));
  }
  Status status = EstablishOnce();
  if (status.code() == StatusCode::kNoSpace) SetStatus(status);
  return status;
}

Status LogKeeper::EstablishOnce() {
  // The names that an earlier process made, and this one found, may be in the page cache only.
  if (!TALLY_MUTANT("root_not_synced")) {
    TALLY_RETURN_IF_ERROR(SyncDirectory(env_.fs(), ParentPath(layout_.root)));
    TALLY_RETURN_IF_ERROR(SyncDirectory(env_.fs(), layout_.root));
    // A first manifest that vanished from beside a new log file would look like loss.
    TALLY_RETURN_IF_ERROR(SyncDirectory(env_.fs(), layout_.manifest_dir));
  }
  if (pending_ == nullptr) {
    TALLY_ASSIGN_OR_RETURN(auto writer, PrepareFirstFile());
    pending_ = std::make_unique<LogSlot>(LogSlot{std::move(writer), replayed_active_});
    SaveTornTail();
  }
  Manifest next = TakeOver(manifest_, pending_->writer->number());
  const std::vector<ListedWalFile> kept = next.wal_files;
  if (TALLY_MUTANT("deleted_before_manifest")) DeleteAndCut(kept);
  TALLY_RETURN_IF_ERROR(CommitManifest(std::move(next)));
  DeleteAndCut(kept);
  RemoveOldManifests();
  {
    MutexLock lock(mutex_);
    readings_.established = true;
  }
  Offer();
  return Status::Ok();
}

// For people, so as well as it goes. A file can end torn once only.
void LogKeeper::SaveTornTail() {
  if (!plan_.wal.torn_file.has_value() || plan_.wal.torn_bytes.empty()) return;
  FileSystem& fs = env_.fs();
  auto names = fs.List(layout_.wal_dir);
  if (!names.ok()) return;
  std::set<std::string> copies;
  for (const std::string& name : *names) {
    if (name.ends_with(".torn") && LeadingNumber(name).has_value()) copies.insert(name);
  }
  while (copies.size() >= kTornCopiesMax) {
    IgnoreError(fs.Remove(JoinPath(layout_.wal_dir, *copies.begin())), "an old copy for people");
    copies.erase(copies.begin());
  }
  const FileNumber number = plan_.wal.files[*plan_.wal.torn_file].listed.number;
  auto file =
      fs.Open(JoinPath(layout_.wal_dir, WalFileName(number) + ".torn"), OpenMode::kCreateNew);
  if (file.ok()) IgnoreError(WriteFully(**file, 0, plan_.wal.torn_bytes), "a copy for people");
}

// The new log, with the last valid frame as its first, synced, in no manifest.
Result<std::unique_ptr<WalWriter>> LogKeeper::PrepareFirstFile() {
  const Bytes& last_frame = plan_.wal.last_frame;
  const uint64_t file_bytes = FileBytesFor(options_, last_frame.size());
  auto writer = WalWriter::Prepare(env_.fs(), env_.random(), Spec(file_bytes), std::nullopt);
  if (writer.status().code() == StatusCode::kNoSpace) {
    TALLY_ASSIGN_OR_RETURN(const auto spare, UnlistEmptySpare());
    if (!spare.has_value()) return writer.status();
    auto recycled = WalWriter::Prepare(env_.fs(), env_.random(), Spec(file_bytes), spare);
    if (!recycled.ok()) return writer.status();
    writer = std::move(recycled);
  }
  if (!writer.ok()) return writer.status();
  if (!last_frame.empty() && !TALLY_MUTANT("tail_not_rewritten")) {
    Status status = (*writer)->AppendCopy(last_frame);
    if (!status.ok()) {
      IgnoreError(env_.fs().Remove(JoinPath(layout_.wal_dir, WalFileName((*writer)->number()))),
                  "an unlisted file is an orphan that the next recovery removes");
      return status;
    }
  }
  return writer;
}

// An empty spare of before has the blocks that a new file lacks. First it must leave the list.
Result<std::optional<FileNumber>> LogKeeper::UnlistEmptySpare() {
  Manifest without = manifest_;
  std::optional<FileNumber> spare;
  std::erase_if(without.wal_files, [&](const ListedWalFile& file) {
    const auto plan = std::ranges::find(plan_.wal.files, file.number,
                                        [](const WalFilePlan& f) { return f.listed.number; });
    // Not one that a failed write left something in: a poisoned log's file is never used again.
    const bool empty = plan != plan_.wal.files.end() && plan->frames == 0 &&
                       plan->verdict == TailVerdict::kCleanEnd;
    if (empty) spare = file.number;
    return empty;
  });
  if (spare.has_value()) TALLY_RETURN_IF_ERROR(CommitManifest(std::move(without)));
  return spare;
}

// What the list becomes: files with frames, ended; the one with the last frame, before it; the new
// one.
Manifest LogKeeper::TakeOver(const Manifest& from, FileNumber new_file) const {
  const WalPlan& wal = plan_.wal;
  Manifest next = from;
  next.wal_files.clear();
  const bool moved = !wal.last_frame.empty() && !TALLY_MUTANT("tail_not_rewritten");
  for (size_t i = 0; i < wal.files.size(); ++i) {
    const WalFilePlan& file = wal.files[i];
    if (file.frames == 0) continue;
    FrameNumber end = file.last_frame;
    if (moved && i == wal.last_frame_file) {
      if (file.frames == 1) continue;
      --end.value;
    }
    next.wal_files.push_back({file.listed.number, end});
  }
  if (next.wal_files.empty()) {
    next.first_frame = {wal.end.next_frame.value - (moved ? 1 : 0)};
  }
  next.wal_files.push_back({new_file, std::nullopt});
  return next;
}

// Nothing here is needed any more; what cannot be removed now is an orphan next time.
void LogKeeper::DeleteAndCut(const std::vector<ListedWalFile>& kept) {
  FileSystem& fs = env_.fs();
  auto remove = [&](const std::string& path) {
    Status status = fs.Remove(path);
    if (!status.ok() && status.code() != StatusCode::kNotFound) {
      Log(LogLevel::kWarning,
          "could not remove a file that is no longer needed: " + status.ToString());
    }
  };
  uint64_t bytes = 0;
  for (const WalFilePlan& file : plan_.wal.files) {
    const std::string path = JoinPath(layout_.wal_dir, WalFileName(file.listed.number));
    const auto listed =
        std::ranges::find(kept, file.listed.number, [](const auto& f) { return f.number; });
    if (listed == kept.end()) {
      remove(path);
      continue;
    }
    // Behind its end an ended file is never read: give the blocks back.
    const bool moved = listed->end != file.last_frame;  // its last frame went to the new log
    const uint64_t end = moved ? file.last_frame_offset : file.end_offset;
    auto opened = fs.Open(path, OpenMode::kReadWrite);
    if (opened.ok())
      IgnoreError((*opened)->Truncate(end), "only saves space; tried again next time");
    bytes += end;
  }
  for (const std::string& path : plan_.orphans) remove(path);
  MutexLock lock(mutex_);
  readings_.wal_bytes = bytes;
}

// --- in the background ---

StepResult LogKeeper::Step() {
  const int64_t now = env_.clock().MonotonicMicros();
  if (now < retry_at_us_) return StepResult::WaitUntil(retry_at_us_);
  bool established, wanted;
  {
    MutexLock lock(mutex_);
    established = readings_.established;
    wanted = offered_ == nullptr;
  }
  Status status;
  if (!established) {
    status = EstablishOnce();
  } else if (wanted) {
    status = pending_ == nullptr ? PrepareSpare() : ListSpare();
  } else {
    return StepResult::Wait();
  }
  if (status.ok()) {
    SetStatus(status);
    return StepResult::Again();
  }
  if (status.code() != StatusCode::kNoSpace && status.reason() != "memory_full") {
    status = Status::Unavailable("log_unavailable",
                                 "the next log file cannot be prepared: " + status.ToString());
  }
  SetStatus(status);
  retry_at_us_ = now + kRetryMicros;
  return StepResult::WaitUntil(retry_at_us_);
}

Status LogKeeper::PrepareSpare() {
  const Memtable::Capacity capacity = MemtableCapacity(options_);
  uint64_t in_use;
  {
    MutexLock lock(mutex_);
    in_use = readings_.memory_bytes;
  }
  if (in_use + Memtable::BytesFor(capacity) > options_.memory_bytes_max) {
    return Status::Unavailable(
        "memory_full",
        fmt::format("{} bytes of memtables are in use, another would pass the limit of {}", in_use,
                    options_.memory_bytes_max));
  }
  TALLY_ASSIGN_OR_RETURN(
      auto writer,
      WalWriter::Prepare(env_.fs(), env_.random(), Spec(FileBytesFor(options_, 0)), std::nullopt));
  pending_ =
      std::make_unique<LogSlot>(LogSlot{std::move(writer), std::make_shared<Memtable>(capacity)});
  MutexLock lock(mutex_);
  readings_.memory_bytes += pending_->memtable->bytes();
  return Status::Ok();
}

Status LogKeeper::ListSpare() {
  if (TALLY_MUTANT("offered_before_listed")) {
    Offer();
    return Status::Ok();
  }
  Manifest next = manifest_;
  {
    MutexLock lock(mutex_);
    for (const ListedWalFile& sealed : sealed_) {
      auto file =
          std::ranges::find(next.wal_files, sealed.number, [](const auto& f) { return f.number; });
      TALLY_CHECK(file != next.wal_files.end());
      file->end = sealed.end;
    }
  }
  next.wal_files.push_back({pending_->writer->number(), std::nullopt});
  TALLY_RETURN_IF_ERROR(CommitManifest(std::move(next)));
  RemoveOldManifests();
  Offer();
  return Status::Ok();
}

// On ok, `next` is durable and manifest_. A failure uses its number up.
Status LogKeeper::CommitManifest(Manifest next) {
  next.number = {next_number_++};
  next.next_number = next_number_;
  next.last_commit_time_us = last_commit_time_us_.load(std::memory_order_relaxed);
  bool renamed = false;
  TALLY_RETURN_IF_ERROR(
      WriteManifest(env_.fs(), layout_.manifest_dir, plan_.identity.database_id, next, &renamed));
  manifest_ = std::move(next);
  MutexLock lock(mutex_);
  readings_.wal_files = manifest_.wal_files.size();
  std::erase_if(sealed_, [&](const ListedWalFile& sealed) {
    return std::ranges::find(manifest_.wal_files, sealed) != manifest_.wal_files.end();
  });
  return Status::Ok();
}

void LogKeeper::RemoveOldManifests() {
  auto names = env_.fs().List(layout_.manifest_dir);
  if (!names.ok()) return;  // only saves space; tried again with the next manifest
  std::set<uint64_t> numbers;
  for (const std::string& name : *names) {
    if (const auto number = ParseNumberName(name); number.has_value()) numbers.insert(*number);
  }
  while (numbers.size() > kManifestsKept && *numbers.begin() < manifest_.number.value) {
    const std::string path = JoinPath(layout_.manifest_dir, NumberName(*numbers.begin()));
    IgnoreError(env_.fs().Remove(path), "only saves space; tried again with the next manifest");
    numbers.erase(numbers.begin());
  }
}

// --- the committer's side ---

void LogKeeper::Offer() {
  {
    MutexLock lock(mutex_);
    readings_.wal_bytes += pending_->writer->file_bytes();
    offered_ = std::move(pending_);
  }
  if (on_change_) on_change_();
}

void LogKeeper::SetStatus(const Status& status) {
  {
    MutexLock lock(mutex_);
    if (status.reason() == status_.reason()) return;
    status_ = status;
  }
  if (status.ok()) {
    Log(LogLevel::kInfo, "a log file could be prepared again");
  } else {
    Log(LogLevel::kWarning, "no new log file: " + status.ToString());
  }
  if (on_change_) on_change_();
}

std::unique_ptr<LogSlot> LogKeeper::TakeSpare(std::optional<ListedWalFile> sealed) {
  std::unique_ptr<LogSlot> taken;
  {
    MutexLock lock(mutex_);
    if (offered_ == nullptr) return nullptr;
    if (sealed.has_value()) sealed_.push_back(*sealed);
    taken = std::move(offered_);
  }
  if (wake_) wake_();
  return taken;
}

Status LogKeeper::SpareStatus() const {
  MutexLock lock(mutex_);
  return offered_ != nullptr ? Status::Ok() : status_;
}

LogKeeper::Readings LogKeeper::Read() const {
  MutexLock lock(mutex_);
  return readings_;
}

}  // namespace tallystick
