// Invariants:
//  1. A WAL file is in a durable manifest before the committer can get it; a file in no durable
//  manifest is
//     never read.
//  2. A file is deleted, cut or recycled only when a durable manifest does not name it (or ends
//     before what is cut); no later manifest can name it again.
//     While a backup holds them, not even then.
//  3. A prepared file that was not listed yet keeps waiting in pending_; it is not prepared twice.
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
constexpr size_t kFreeFilesKept = 2;  // for recycling

}  // namespace

LogKeeper::LogKeeper(Env& env, const Layout& layout, const OpenOptions& options,
                     ManifestStore& manifests, RecoveryPlan plan,
                     std::shared_ptr<Memtable> replayed_active, std::function<Status()> budget)
    : env_(env),
      layout_(layout),
      options_(options),
      manifests_(manifests),
      budget_(std::move(budget)),
      plan_(std::move(plan)),
      replayed_active_(std::move(replayed_active)) {}

void LogKeeper::Log(LogLevel level, const std::string& text) const {
  if (options_.log) options_.log(level, text);
}

WalFileSpec LogKeeper::Spec(uint64_t file_bytes) {
  return {.dir = layout_.wal_dir,
          .database_id = plan_.identity.database_id,
          .number = manifests_.NewNumber(),
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
  std::vector<Ended> kept;
  const auto take_over = [&](Manifest& manifest) {
    manifest = TakeOver(manifest, pending_->writer->number());
    kept = KeptFiles(manifest.wal_files);
  };
  if (TALLY_MUTANT("deleted_before_manifest")) {
    Manifest draft = manifests_.Newest();
    take_over(draft);
    DeleteAndCut(kept);
  }
  TALLY_RETURN_IF_ERROR(manifests_.Commit(take_over));
  DeleteAndCut(kept);
  {
    MutexLock lock(mutex_);
    ended_ = kept;
    readings_.established = true;
    for (const Ended& ended : ended_) readings_.wal_bytes += ended.bytes;
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
  // A mark must always fit behind the last data frame.
  const uint64_t file_bytes =
      std::max(FirstFileBytes(options_), kWalHeaderBytes + last_frame.size() + kBlockBytes);
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
  std::optional<FileNumber> spare;
  auto is_empty = [&](const ListedWalFile& file) {
    const auto plan = std::ranges::find(plan_.wal.files, file.number,
                                        [](const WalFilePlan& f) { return f.listed.number; });
    // Not one that a failed write left something in: a poisoned log's file is never used again.
    const bool empty = plan != plan_.wal.files.end() && plan->frames == 0 &&
                       plan->verdict == TailVerdict::kCleanEnd;
    if (empty) spare = file.number;
    return empty;
  };
  if (std::ranges::none_of(manifests_.Newest().wal_files, is_empty)) return spare;
  TALLY_RETURN_IF_ERROR(
      manifests_.Commit([&](Manifest& manifest) { std::erase_if(manifest.wal_files, is_empty); }));
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

// The files with frames that stay, with the LSN that each reaches.
std::vector<LogKeeper::Ended> LogKeeper::KeptFiles(const std::vector<ListedWalFile>& kept) const {
  std::vector<Ended> files;
  const Memtable& active = *replayed_active_;
  const uint64_t moved_rows =
      active.empty() ? 0 : active.end_lsn().value - active.first_lsn().value;
  uint64_t last_lsn = plan_.manifest.flushed_lsn.value;
  for (const WalFilePlan& file : plan_.wal.files) {
    last_lsn += file.rows;
    const auto listed =
        std::ranges::find(kept, file.listed.number, [](const auto& f) { return f.number; });
    if (listed == kept.end()) continue;
    // Where its last frame went to the new log, so did that frame's rows.
    const bool moved = listed->end != file.last_frame;
    files.push_back({.file = *listed,
                     .last_lsn = {last_lsn - (moved ? moved_rows : 0)},
                     .bytes = moved ? file.last_frame_offset : file.end_offset,
                     .used = moved ? file.last_frame_offset : file.end_offset});
  }
  return files;
}

// Nothing here is needed any more; what cannot be removed now is an orphan next time.
void LogKeeper::DeleteAndCut(const std::vector<Ended>& kept) {
  FileSystem& fs = env_.fs();
  auto remove = [&](const std::string& path) {
    Status status = fs.Remove(path);
    if (!status.ok() && status.code() != StatusCode::kNotFound) {
      Log(LogLevel::kWarning,
          "could not remove a file that is no longer needed: " + status.ToString());
    }
  };
  for (const WalFilePlan& file : plan_.wal.files) {
    const std::string path = JoinPath(layout_.wal_dir, WalFileName(file.listed.number));
    const auto ended = std::ranges::find(kept, file.listed.number,
                                         [](const Ended& one) { return one.file.number; });
    if (ended == kept.end()) {
      remove(path);
      continue;
    }
    // Behind its end an ended file is never read: give the blocks back.
    auto opened = fs.Open(path, OpenMode::kReadWrite);
    if (opened.ok())
      IgnoreError((*opened)->Truncate(ended->bytes), "only saves space; tried again next time");
  }
  for (const std::string& path : plan_.orphans) remove(path);
}

// --- in the background ---

StepResult LogKeeper::Step() {
  const int64_t now = env_.clock().MonotonicMicros();
  if (now < retry_at_us_) return StepResult::WaitUntil(retry_at_us_);
  bool established, wanted;
  std::optional<Ended> surplus;
  {
    MutexLock lock(mutex_);
    established = readings_.established;
    wanted = offered_ == nullptr;
    const auto odd = std::ranges::find_if_not(free_, &Ended::whole);
    if (holds_ == 0 && (odd != free_.end() || free_.size() > kFreeFilesKept)) {
      const auto goes = odd != free_.end() ? odd : free_.begin();
      surplus = *goes;
      free_.erase(goes);
    }
  }
  if (surplus.has_value()) {
    RemoveFile(surplus->file.number);
    return StepResult::Again();
  }
  if (established && wanted && pending_ == nullptr) {
    if (Status full = budget_(); !full.ok()) {
      SetStatus(full);
      return StepResult::Wait();  // who frees memory wakes this task
    }
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
  if (status.code() != StatusCode::kNoSpace) {
    status = Status::Unavailable("log_unavailable",
                                 "the next log file cannot be prepared: " + status.ToString());
  }
  SetStatus(status);
  retry_at_us_ = now + kRetryMicros;
  return StepResult::WaitUntil(retry_at_us_);
}

Status LogKeeper::PrepareSpare() {
  TALLY_ASSIGN_OR_RETURN(auto writer, PrepareWriter());
  pending_ = std::make_unique<LogSlot>(
      LogSlot{std::move(writer),
              std::make_shared<Memtable>(MemtableCapacity(options_, options_.wal_file_bytes))});
  return Status::Ok();
}

// From a free file if there is one: its blocks are allocated and written already.
Result<std::unique_ptr<WalWriter>> LogKeeper::PrepareWriter() {
  const WalFileSpec spec = Spec(options_.wal_file_bytes);
  std::optional<FileNumber> recycled;
  {
    MutexLock lock(mutex_);
    const auto whole = std::ranges::find_if(free_, &Ended::whole);
    if (holds_ == 0 && whole != free_.end()) {
      recycled = whole->file.number;
      free_.erase(whole);
    }
  }
  return WalWriter::Prepare(env_.fs(), env_.random(), spec, recycled);
}

Status LogKeeper::ListSpare() {
  if (TALLY_MUTANT("offered_before_listed")) {
    Offer();
    return Status::Ok();
  }
  TALLY_RETURN_IF_ERROR(manifests_.Commit([&](Manifest& manifest) {
    MutexLock lock(mutex_);
    ApplyEnds(manifest);
    manifest.wal_files.push_back({pending_->writer->number(), std::nullopt});
  }));
  Offer();
  return Status::Ok();
}

// --- the flusher's side ---

void LogKeeper::ApplyEnds(Manifest& manifest) const {
  for (const Ended& ended : ended_) {
    const auto file = std::ranges::find(manifest.wal_files, ended.file.number,
                                        [](const auto& listed) { return listed.number; });
    // A flush's manifest may have dropped it a moment ago, and Free has yet to come.
    if (file != manifest.wal_files.end()) file->end = ended.file.end;
  }
}

std::vector<FileNumber> LogKeeper::Drop(Manifest& manifest, Lsn flushed_lsn) const {
  MutexLock lock(mutex_);
  TALLY_CHECK(readings_.established);
  ApplyEnds(manifest);
  std::vector<FileNumber> dropped;
  for (const Ended& ended : ended_) {
    if (ended.last_lsn > flushed_lsn) break;
    TALLY_CHECK(manifest.wal_files.front().number == ended.file.number);
    manifest.wal_files.erase(manifest.wal_files.begin());
    manifest.first_frame = {ended.file.end->value + 1};
    dropped.push_back(ended.file.number);
  }
  return dropped;
}

void LogKeeper::Free(const std::vector<FileNumber>& dropped) {
  {
    MutexLock lock(mutex_);
    for (const FileNumber number : dropped) {
      TALLY_CHECK(!ended_.empty() && ended_.front().file.number == number);
      readings_.wal_bytes -= ended_.front().bytes;
      free_.push_back(ended_.front());
      ended_.erase(ended_.begin());
    }
  }
  Wake();
}

Manifest LogKeeper::LiveFiles() const {
  Manifest manifest = manifests_.Newest();
  MutexLock lock(mutex_);
  ApplyEnds(manifest);
  return manifest;
}

// --- the backup's side ---

void LogKeeper::Hold() {
  MutexLock lock(mutex_);
  ++holds_;
}

void LogKeeper::Release() {
  {
    MutexLock lock(mutex_);
    TALLY_CHECK(holds_ > 0);
    --holds_;
  }
  Wake();
}

std::vector<LogKeeper::Ended> LogKeeper::EndedFiles() const {
  MutexLock lock(mutex_);
  return ended_;
}

void LogKeeper::RemoveFile(FileNumber number) {
  const std::string path = JoinPath(layout_.wal_dir, WalFileName(number));
  IgnoreError(env_.fs().Remove(path), "an orphan that the next start removes");
}

Status LogKeeper::DropAll(Lsn flushed_lsn) {
  std::vector<FileNumber> dropped, unused;
  TALLY_RETURN_IF_ERROR(manifests_.Commit([&](Manifest& manifest) {
    TALLY_CHECK(manifest.flushed_lsn == flushed_lsn);
    dropped = Drop(manifest, flushed_lsn);
    for (const ListedWalFile& file : manifest.wal_files) {
      TALLY_CHECK(!file.end.has_value());
      unused.push_back(file.number);
    }
    manifest.wal_files.clear();
  }));
  Free(dropped);
  for (const FileNumber number : unused) RemoveFile(number);
  return Status::Ok();
}

void LogKeeper::DeleteFree() {
  std::vector<Ended> files;
  {
    MutexLock lock(mutex_);
    files.swap(free_);
  }
  for (const Ended& ended : files) RemoveFile(ended.file.number);
}

// --- the committer's side ---

void LogKeeper::Offer() {
  {
    MutexLock lock(mutex_);
    readings_.wal_bytes += pending_->writer->file_bytes();
    readings_.spare_memory_bytes = pending_->memtable->bytes();
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

std::unique_ptr<LogSlot> LogKeeper::TakeSpare(std::optional<Ended> ended) {
  std::unique_ptr<LogSlot> taken;
  {
    MutexLock lock(mutex_);
    if (offered_ == nullptr) return nullptr;
    if (ended.has_value()) ended_.push_back(*ended);
    taken = std::move(offered_);
    readings_.spare_memory_bytes = 0;
  }
  Wake();
  return taken;
}

void LogKeeper::End(const Ended& ended) {
  MutexLock lock(mutex_);
  ended_.push_back(ended);
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
