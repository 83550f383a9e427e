// Invariants:
//  1. A sidecar is installed only after it was checked whole against its binding, or opened at the
//     start with a footer that verifies (then its pages are verified as they are read, and by the
//     scrubber).
//  2. A sidecar that failed once is never used again; its place is unknown until it is rebuilt. The
//     same is true of a rollup.
#include "engine/sidecar_keeper.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "engine/sidecar_rebuild.h"
#include "model/identity.h"
#include "query/row_scan.h"
#include "rollup/rollup_cursor.h"
#include "rollup/rollup_writer.h"

namespace tallystick {
namespace {

constexpr int64_t kRetryMicros = 10'000'000;

}  // namespace

Result<std::unique_ptr<RollupReader>> MakeRollup(FileSystem& fs, const std::string& path,
                                                 const SegmentReader& rows,
                                                 const OpenOptions& options, BlockCache& cache,
                                                 IoGovernor* governor,
                                                 const std::function<bool()>& stopped) {
  const uint32_t rows_per_line_min = options.rollup_rows_per_line_min;
  TALLY_ASSIGN_OR_RETURN(const auto writer,
                         RollupWriter::Create(fs, path, rows.info(), rows_per_line_min, governor));
  TALLY_RETURN_IF_ERROR(BuildRollup(rows, rows_per_line_min, stopped, *writer));
  TALLY_RETURN_IF_ERROR(writer->Finish());
  TALLY_ASSIGN_OR_RETURN(auto reader, RollupReader::Open(fs, path, rows.info(), cache));
  TALLY_ASSIGN_OR_RETURN(const RollupDigest stored, DigestOf(*reader, stopped));
  if (stored != writer->digest()) {
    return Status::Corruption(path + ": its lines are not those that were written");
  }
  TALLY_RETURN_IF_ERROR(stored.CheckTotals(rows));
  return reader;
}

bool FilterFits(const DataVersion& version, uint64_t filter_bytes, const OpenOptions& options) {
  uint64_t loaded = filter_bytes;
  for (const auto& segment : version.segments) {
    const auto sidecar = segment->sidecar();
    if (sidecar != nullptr && sidecar->filter_loaded()) loaded += sidecar->filter_bytes();
  }
  return loaded <= options.dedupe_memory_bytes_max;
}

void SidecarKeeper::ReportBad(const LiveSegment& segment, const SidecarReader* sidecar,
                              const Status& status) {
  if (!segment.RemoveSidecar(sidecar)) return;  // somebody has reported it already
  versions_.SidecarsChanged();
  {
    MutexLock lock(mutex_);
    ++readings_.corrupt;
  }
  Log(LogLevel::kError,
      "a sidecar is not to be believed and will be rebuilt: " + status.ToString());
  Wake();
}

Status SidecarKeeper::Rebuilding(const LiveSegment& segment) const {
  Status status = Read().status;
  if (status.code() == StatusCode::kNoSpace) return status;
  return Status::Unavailable("dedupe_rebuilding",
                             fmt::format("the keys of segment {} are being rebuilt; until then no "
                                         "event can be called new",
                                         segment.listed().number.value));
}

void SidecarKeeper::ReportBadRollup(const Status& status) {
  {
    MutexLock lock(mutex_);
    ++readings_.rollups_corrupt;
  }
  Log(LogLevel::kError,
      "a rollup is not to be believed and will be rebuilt; rows answer meanwhile: " +
          status.ToString());
  Wake();
}

// Rebuilding comes first, since ingest may wait for it.
StepResult SidecarKeeper::Step() {
  const int64_t now = env_.clock().MonotonicMicros();
  const auto version = versions_.Current();
  int64_t due = 0;
  for (const auto& segment : version->segments) {
    if (segment->sidecar() != nullptr) continue;
    if (now >= retry_at_us_) return Rebuild(*segment);
    due = retry_at_us_;
  }
  for (const auto& segment : version->segments) {
    const auto sidecar = segment->sidecar();
    if (sidecar == nullptr || sidecar->filter_loaded() ||
        !FilterFits(*version, sidecar->filter_bytes(), options_)) {
      continue;
    }
    return LoadFilter(*segment, *sidecar);
  }
  for (const auto& segment : version->segments) {
    if (segment->rollup() != nullptr || segment->damaged()) continue;
    if (now >= rollup_retry_at_us_) return RebuildRollup(*segment);
    due = due == 0 ? rollup_retry_at_us_ : std::min(due, rollup_retry_at_us_);
  }
  return due == 0 ? StepResult::Wait() : StepResult::WaitUntil(due);
}

StepResult SidecarKeeper::Rebuild(const LiveSegment& segment) {
  auto sidecar = RebuildSidecar(env_.fs(), layout_, segment, scope_, &governor_,
                                [this] { return stopped_.load(); });
  if (!sidecar.ok()) {
    if (stopped_) return StepResult::Wait();
    Log(LogLevel::kError, fmt::format("the sidecar of segment {} cannot be rebuilt yet: {}",
                                      segment.listed().number.value, sidecar.status().ToString()));
    retry_at_us_ = env_.clock().MonotonicMicros() + kRetryMicros;
    {
      MutexLock lock(mutex_);
      readings_.status = sidecar.status();
    }
    if (on_change_) on_change_();
    return StepResult::Again();
  }
  segment.InstallSidecar(*std::move(sidecar));
  versions_.SidecarsChanged();
  {
    MutexLock lock(mutex_);
    ++readings_.rebuilt;
    readings_.status = Status::Ok();
  }
  Log(LogLevel::kInfo,
      fmt::format("the sidecar of segment {} was rebuilt", segment.listed().number.value));
  if (on_change_) on_change_();
  return StepResult::Again();
}

StepResult SidecarKeeper::RebuildRollup(const LiveSegment& segment) {
  FileSystem& fs = env_.fs();
  const FileNumber number = segment.listed().number;
  const std::string path = JoinPath(layout_.segment_dir, RollupFileName(number));
  const Status status =
      ReplaceFile(fs, layout_.segment_dir, path, [&](const std::string& temporary) {
        return MakeRollup(fs, temporary, segment.rows(), options_, cache_, &governor_,
                          [this] { return stopped_.load(); })
            .status();
      });
  auto rollup = status.ok() ? RollupReader::Open(fs, path, segment.rows().info(), cache_)
                            : Result<std::unique_ptr<RollupReader>>(status);
  if (!rollup.ok() && stopped_) return StepResult::Wait();
  if (!rollup.ok()) {
    Log(LogLevel::kWarning, fmt::format("the rollup of segment {} cannot be rebuilt yet: {}",
                                        number.value, rollup.status().ToString()));
    rollup_retry_at_us_ = env_.clock().MonotonicMicros() + kRetryMicros;
    return StepResult::Again();
  }
  segment.InstallRollup(*std::move(rollup));
  {
    MutexLock lock(mutex_);
    ++readings_.rollups_rebuilt;
  }
  Log(LogLevel::kInfo, fmt::format("the rollup of segment {} was rebuilt", number.value));
  return StepResult::Again();
}

StepResult SidecarKeeper::LoadFilter(const LiveSegment& segment, SidecarReader& sidecar) {
  Status status = sidecar.LoadFilter(&governor_);
  if (!status.ok()) {
    // Its pages could still answer, but a file that is damaged in one place is built anew.
    ReportBad(segment, &sidecar, status);
  }
  return StepResult::Again();
}

SidecarKeeper::Readings SidecarKeeper::Read() const {
  MutexLock lock(mutex_);
  return readings_;
}

}  // namespace tallystick
