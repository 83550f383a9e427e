// Invariants:
//  1. A fault is told only of a file that counts when it is told: what was wrong with one that is
//     no longer listed, or in nobody's use, is nobody's loss.
//  2. A durable frame is in a listed file from before it is durable until a manifest that does not
//     list the file. So the frames are counted first and the files are listed second.
//  3. Sums of entries are compared only where they are of the sidecar that is in use.
#include "engine/scrub_pass.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/result.h"
#include "dedupe/sidecar_format.h"
#include "model/identity.h"
#include "query/row_scan.h"
#include "rollup/rollup_check.h"
#include "rollup/rollup_cursor.h"

namespace tallystick {
namespace {

constexpr uint64_t kCacheBytes = 4 << 20;
constexpr uint64_t kPagesAtOnce = 256;
constexpr uint32_t kGroupsAtOnce = 2;
constexpr uint64_t kLogBytesAtOnce = 1 << 20;
constexpr uint64_t kReadingsOfBuild = 2;  // BuildRollup goes over the rows twice

}  // namespace

ScrubFinding FindingOf(const std::string& path, const Status& status) {
  if (status.code() == StatusCode::kNotFound) return {.file = path, .what = "is missing"};
  ScrubFinding finding{.file = path, .what = std::string(status.message())};
  std::string_view rest = finding.what;
  if (!rest.starts_with(path)) return finding;
  rest.remove_prefix(path.size());
  constexpr std::string_view kAt = " at offset ";
  if (rest.starts_with(kAt)) {
    rest.remove_prefix(kAt.size());
    uint64_t offset = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), offset);
    if (error == std::errc()) finding.offset = offset;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
  }
  if (rest.starts_with(": ")) rest.remove_prefix(2);
  if (rest.starts_with(' ')) rest.remove_prefix(1);
  finding.what = std::string(rest);
  return finding;
}

struct ScrubPass::SidecarJob {
  std::shared_ptr<SidecarReader> installed;
  std::unique_ptr<SidecarReader> reader;  // the same file, opened anew
  EntrySum entries;
  std::unique_ptr<SidecarChecker> checker;
};

struct ScrubPass::RowsJob {
  explicit RowsJob(std::unique_ptr<SegmentReader> opened)
      : reader(std::move(opened)), checker(*reader), cursor(*reader, kAllSegmentColumns) {}

  std::unique_ptr<SegmentReader> reader;  // of the same file, with a cache of its own
  SegmentChecker checker;
  SegmentCursor cursor;
  uint32_t row = 0;  // the next to be hashed
  EntrySum entries;
  Bytes canonical;
  bool read = false;  // all of it
};

// An entry that is wrong, missing or there twice changes the sum, whatever the order: of 2^128
// chances one is missed.
void ScrubPass::EntrySum::Add(const SidecarEntry& entry) {
  std::byte bytes[kSidecarEntryBytes];
  StoreSidecarEntry(entry, bytes);
  const XXH128_hash_t hash = XXH3_128bits(bytes, sizeof bytes);
  low += hash.low64;
  high += hash.high64 + (low < hash.low64 ? 1 : 0);
}

ScrubPass::ScrubPass(const ScrubSources& sources, OnFault on_fault)
    : sources_(sources), on_fault_(std::move(on_fault)), cache_(kCacheBytes) {
  const auto version = sources_.versions.Current();
  for (const auto& segment : version->segments) {
    items_.push_back({segment, {}, {}});
    bytes_expected_ += segment->listed().bytes;
    if (const auto sidecar = segment->sidecar()) bytes_expected_ += sidecar->bytes();
    if (const auto rollup = segment->rollup()) {
      bytes_expected_ += 2 * rollup->bytes() + kReadingsOfBuild * segment->listed().bytes;
    }
  }
  // No position is kept over a restart: began each pass with the first segment, then the last ones
  // would never be read where restarts are more frequent than a pass is long.
  if (!items_.empty()) {
    const uint64_t first = sources_.env.random().Next64() % items_.size();
    std::ranges::rotate(items_, items_.begin() + static_cast<ptrdiff_t>(first));
  }
}
ScrubPass::~ScrubPass() = default;

ScrubPass::Outcome ScrubPass::Step() {
  switch (stage_) {
    case Stage::kIdentity:
      StepIdentity();
      break;
    case Stage::kManifest:
      StepManifest();
      break;
    case Stage::kSidecars:
      StepSidecar();
      break;
    case Stage::kRollups:
      StepRollup();
      break;
    case Stage::kLog:
      if (!sources_.log.Read().established) {
        log_is_late_ = true;  // the rows need not wait for it
        NextStage();
      } else {
        StepLog();
      }
      break;
    case Stage::kRows:
      StepRows();
      break;
    case Stage::kLateLog:
      if (!log_is_late_) {
        NextStage();
      } else if (!sources_.log.Read().established) {
        return Outcome::kNoLogYet;
      } else {
        StepLog();
      }
      break;
    case Stage::kDone:
      break;
  }
  return stage_ == Stage::kDone ? Outcome::kDone : Outcome::kAgain;
}

void ScrubPass::NextStage() {
  item_ = 0;
  stage_ = static_cast<Stage>(static_cast<uint8_t>(stage_) + 1);
  const bool of_segments =
      stage_ == Stage::kSidecars || stage_ == Stage::kRollups || stage_ == Stage::kRows;
  if (of_segments && items_.empty()) NextStage();
}

void ScrubPass::NextItem() {
  sidecar_ = nullptr;
  rows_ = nullptr;
  if (++item_ == items_.size()) NextStage();
}

std::shared_ptr<const LiveSegment> ScrubPass::Live(const Item& item) const {
  auto segment = item.segment.lock();
  if (segment == nullptr) return nullptr;
  const auto version = sources_.versions.Current();
  return std::ranges::find(version->segments, segment) == version->segments.end() ? nullptr
                                                                                  : segment;
}

std::string ScrubPass::PathOf(const LiveSegment& segment, std::string (*name)(FileNumber)) const {
  return JoinPath(sources_.layout.segment_dir, name(segment.listed().number));
}

void ScrubPass::Fault(const std::string& path, const Status& status) {
  on_fault_(FindingOf(path, status));
}

// --- IDENTITY and manifest ---

Status ScrubPass::CompareFile(const std::string& path, ByteSpan expected) {
  file_ = path;
  TALLY_ASSIGN_OR_RETURN(const Bytes found,
                         ReadWholeFile(sources_.env.fs(), path, kManifestBytesMax));
  bytes_ += found.size();
  const auto differs = std::ranges::mismatch(found, expected).in1 - found.begin();
  if (found.size() == expected.size() && differs == std::ssize(found)) return Status::Ok();
  return Status::Corruption(
      fmt::format("{} at offset {}: the bytes are not what was written", path, differs));
}

void ScrubPass::StepIdentity() {
  const std::string& path = sources_.layout.identity;
  if (Status status = CompareFile(path, EncodeIdentity(sources_.identity)); !status.ok()) {
    Fault(path, status);
  }
  ++files_;
  NextStage();
}

void ScrubPass::StepManifest() {
  const Manifest newest = sources_.manifests.Newest();
  const std::string path = JoinPath(sources_.layout.manifest_dir, ManifestFileName(newest.number));
  const Status status = CompareFile(path, EncodeManifest(newest, sources_.identity.database_id));
  if (!status.ok()) {
    if (sources_.manifests.Newest().number != newest.number) return;  // the new one, then
    Fault(path, status);
  }
  ++files_;
  NextStage();
}

// --- sidecars and rollups in themselves ---

bool ScrubPass::BeginSidecar(const LiveSegment& segment) {
  auto installed = segment.sidecar();
  if (installed == nullptr) return false;  // that was told, and it is being rebuilt
  file_ = PathOf(segment, SidecarFileName);
  auto reader = SidecarReader::Open(sources_.env.fs(), file_, segment.binding());
  if (!reader.ok()) {
    BadSidecar(segment, installed.get(), reader.status());
    return false;
  }
  sidecar_ = std::make_unique<SidecarJob>();
  sidecar_->installed = std::move(installed);
  sidecar_->reader = *std::move(reader);
  sidecar_->checker = std::make_unique<SidecarChecker>(
      *sidecar_->reader, [&job = *sidecar_](const SidecarEntry& entry) { job.entries.Add(entry); });
  return true;
}

void ScrubPass::StepSidecar() {
  Item& item = items_[item_];
  const auto segment = Live(item);
  if (segment == nullptr) return NextItem();
  if (sidecar_ == nullptr && !BeginSidecar(*segment)) return NextItem();
  const auto more = sidecar_->checker->Step(kPagesAtOnce);
  if (!more.ok()) {
    BadSidecar(*segment, sidecar_->installed.get(), more.status());
    return NextItem();
  }
  const uint64_t bytes = sidecar_->reader->bytes();
  const uint64_t pieces = bytes / (kPagesAtOnce * kSidecarPageBytes) + 1;
  bytes_ += bytes / pieces;
  if (*more) return;
  item.summed = sidecar_->installed;
  item.entries = sidecar_->entries;
  ++files_;
  NextItem();
}

// Only bytes that are wrong are taken out of use. A file that is gone is read still by who has it
// open, and one that could not be opened or read this time may be sound: without its sidecar ingest
// would have to wait.
void ScrubPass::BadSidecar(const LiveSegment& segment, const SidecarReader* installed,
                           const Status& status) {
  if (segment.sidecar().get() != installed) return;
  Fault(PathOf(segment, SidecarFileName), status);
  if (status.code() != StatusCode::kCorruption) return;
  sources_.sidecars.ReportBad(segment, installed, status);
}

void ScrubPass::StepRollup() {
  const auto segment = Live(items_[item_]);
  const auto installed = segment == nullptr ? nullptr : segment->rollup();
  if (installed == nullptr) return NextItem();  // that was told, and it is being rebuilt
  file_ = PathOf(*segment, RollupFileName);
  const auto reader = RollupReader::Open(sources_.env.fs(), file_, segment->rows().info(), cache_);
  const Status status =
      reader.ok() ? DigestOf(**reader, sources_.stopped).status() : reader.status();
  if (!status.ok() && !sources_.stopped()) BadRollup(*segment, installed.get(), status);
  bytes_ += installed->bytes();
  NextItem();
}

void ScrubPass::BadRollup(const LiveSegment& segment, const RollupReader* installed,
                          const Status& status) {
  if (segment.rollup().get() != installed) return;
  Fault(PathOf(segment, RollupFileName), status);
  if (status.code() != StatusCode::kCorruption) return;
  if (segment.RemoveRollup(installed)) sources_.sidecars.ReportBadRollup(status);
}

// --- the log ---

void ScrubPass::StepLog() {
  if (log_ == nullptr) {
    if (!BeginLogFile()) NextStage();
    return;
  }
  const uint64_t before = log_->offset();
  const auto more = log_->Step(log_end_, kLogBytesAtOnce);
  bytes_ += log_->offset() - before;
  if (more.ok() && *more) return;
  if (!more.ok()) BadLog(more.status());
  ++files_;
  log_ = nullptr;
}

// False: there is none behind the last one.
bool ScrubPass::BeginLogFile() {
  const FrameNumber durable_end = sources_.next_frame();  // invariant 2
  const Manifest live = sources_.log.LiveFiles();
  FrameNumber first = live.first_frame;
  for (const ListedWalFile& file : live.wal_files) {
    // What has no end yet reaches to the newest frame, and nothing is in the files behind it.
    const FrameNumber end = file.end.has_value() ? FrameNumber{file.end->value + 1} : durable_end;
    if (file.number.value <= log_number_.value) {
      first = end;
      continue;
    }
    log_number_ = file.number;
    log_end_ = end;
    file_ = JoinPath(sources_.layout.wal_dir, WalFileName(file.number));
    auto opened = WalFileChecker::Open(sources_.env.fs(), sources_.layout.wal_dir,
                                       sources_.identity.database_id, file.number,
                                       sources_.options.wal_direct_io);
    bytes_ += kWalHeaderBytes;
    if (!opened.ok()) {
      BadLog(opened.status());
      return true;
    }
    log_ = *std::move(opened);
    log_->StartAt(first);
    return true;
  }
  return false;
}

void ScrubPass::BadLog(const Status& status) {
  const Manifest newest = sources_.manifests.Newest();
  const bool listed = std::ranges::any_of(
      newest.wal_files, [this](const auto& file) { return file.number == log_number_; });
  if (listed) Fault(file_, status);
}

// --- rows ---

bool ScrubPass::BeginRows(const LiveSegment& segment) {
  file_ = PathOf(segment, SegmentFileName);
  const ListedSegment& listed = segment.listed();
  auto reader = SegmentReader::Open(
      sources_.env.fs(), file_,
      {sources_.identity.database_id, listed.number, listed.footer_checksum}, cache_);
  if (!reader.ok()) {
    BadRows(segment, reader.status());
    return false;
  }
  rows_ = std::make_unique<RowsJob>(*std::move(reader));
  return true;
}

void ScrubPass::StepRows() {
  const auto segment = Live(items_[item_]);
  if (segment == nullptr) return NextItem();
  if (rows_ == nullptr && !BeginRows(*segment)) return NextItem();
  if (rows_->read) {
    CompareSidecar(*segment);
    CompareRollup(*segment);
    ++files_;
    return NextItem();
  }
  const uint32_t before = rows_->row;
  const auto more = ReadRows();
  if (!more.ok()) {
    BadRows(*segment, more.status());
    return NextItem();
  }
  const SegmentInfo& info = rows_->reader->info();
  bytes_ += info.bytes / info.rows * (rows_->row - before);
  rows_->read = !*more;
}

Result<bool> ScrubPass::ReadRows() {
  RowsJob& job = *rows_;
  TALLY_ASSIGN_OR_RETURN(const bool more, job.checker.Step(kGroupsAtOnce));
  for (; job.row < job.checker.totals().rows; ++job.row) {
    TALLY_RETURN_IF_ERROR(job.cursor.Seek(job.row));
    const RowView view = job.cursor.row();
    job.canonical.clear();
    EncodeRow(view, job.canonical);
    const RowKey key =
        KeyOfRow(sources_.identity.scope, view, job.cursor.disposition(), job.canonical);
    job.entries.Add({key.key, key.payload_hash, job.row});
  }
  return more;
}

void ScrubPass::CompareSidecar(const LiveSegment& segment) {
  const Item& item = items_[item_];
  const auto summed = item.summed.lock();
  if (summed == nullptr || summed != segment.sidecar() || item.entries == rows_->entries) return;
  const std::string path = PathOf(segment, SidecarFileName);
  BadSidecar(segment, summed.get(),
             Status::Corruption(path + ": its entries are not those that the rows hash to"));
}

void ScrubPass::CompareRollup(const LiveSegment& segment) {
  const auto installed = segment.rollup();
  if (installed == nullptr) return;
  const std::string path = PathOf(segment, RollupFileName);
  const auto reader = RollupReader::Open(sources_.env.fs(), path, segment.rows().info(), cache_);
  if (reader.status().code() == StatusCode::kNotFound) return;  // that was told
  if (!reader.ok()) return BadRollup(segment, installed.get(), reader.status());
  const RollupComparison found = CompareWithRows(**reader, *rows_->reader, sources_.stopped);
  // What was read at once is paid for now: the caller pauses by these bytes.
  bytes_ += installed->bytes() + kReadingsOfBuild * segment.listed().bytes;
  if (sources_.stopped()) return;
  if (!found.rows.ok()) return BadRows(segment, found.rows);
  if (!found.rollup.ok()) BadRollup(segment, installed.get(), found.rollup);
  ++files_;
}

// Of a file that is gone the rows are still read by who has it open: it is not marked, so that they
// may be saved.
void ScrubPass::BadRows(const LiveSegment& segment, const Status& status) {
  const auto version = sources_.versions.Current();
  const bool live = std::ranges::any_of(
      version->segments, [&segment](const auto& other) { return other.get() == &segment; });
  if (!live) return;
  Fault(PathOf(segment, SegmentFileName), status);
  IgnoreError(NoteDamage(segment, status), "it was told");
}

}  // namespace tallystick
