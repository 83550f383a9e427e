#include "engine/sidecar_rebuild.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "dedupe/sidecar_check.h"
#include "dedupe/sidecar_merge.h"
#include "model/identity.h"
#include "query/row_scan.h"

namespace tallystick {
namespace {

constexpr uint32_t kRowsBetweenLooks = 8192;
constexpr uint64_t kPagesBetweenLooks = 1024;
constexpr uint64_t kEntriesBetweenLooks = 131'072;

using Stopped = std::function<bool()>;

Status Look(const Stopped& stopped) {
  if (!stopped || !stopped()) return Status::Ok();
  return Status::Unavailable("cancelled", "the database is being closed");
}

// The entries of these rows, which are numbered from the first of them.
Result<std::vector<SidecarEntry>> KeysOfRows(const SegmentReader& rows, IdentityScope scope,
                                             RowRange range, const Stopped& stopped) {
  std::vector<SidecarEntry> entries;
  entries.reserve(range.end - range.begin);
  SegmentCursor cursor(rows, kAllSegmentColumns);
  Bytes canonical;
  for (uint32_t row = range.begin; row < range.end; ++row) {
    if (row % kRowsBetweenLooks == 0) TALLY_RETURN_IF_ERROR(Look(stopped));
    TALLY_RETURN_IF_ERROR(cursor.Seek(row));
    const RowView view = cursor.row();
    canonical.clear();
    EncodeRow(view, canonical);
    const RowKey key = KeyOfRow(scope, view, cursor.disposition(), canonical);
    entries.push_back({key.key, key.payload_hash, row - range.begin});
  }
  return entries;
}

Status CheckUntilStopped(const SidecarReader& sidecar, const Stopped& stopped) {
  SidecarChecker checker(sidecar, {});
  for (bool more = true; more;) {
    TALLY_RETURN_IF_ERROR(Look(stopped));
    TALLY_ASSIGN_OR_RETURN(more, checker.Step(kPagesBetweenLooks));
  }
  return Status::Ok();
}

// The sidecars of parts of a segment, in temporary files.
class Parts {
 public:
  Parts(FileSystem& fs, const LiveSegment& segment, IoGovernor* governor, uint32_t rows_at_once)
      : fs_(fs), segment_(segment), governor_(governor), rows_at_once_(rows_at_once) {}
  ~Parts() {
    readers_.clear();
    for (const std::string& path : paths_) {
      IgnoreError(fs_.Remove(path), "an orphan that the next start removes");
    }
  }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  Status Write(const std::string& path, IdentityScope scope, const Stopped& stopped) {
    const auto rows = static_cast<uint32_t>(segment_.listed().rows);
    for (RowRange range{0, 0}; range.end < rows;) {
      range.begin = range.end;
      range.end = range.begin + std::min(rows_at_once_, rows - range.begin);
      auto entries = KeysOfRows(segment_.rows(), scope, range, stopped);
      if (!entries.ok()) return NoteDamage(segment_, entries.status());
      SidecarBinding binding = segment_.binding();
      binding.rows = range.end - range.begin;
      paths_.push_back(fmt::format("{}.{}.tmp", path, paths_.size()));
      const Status removed = fs_.Remove(paths_.back());  // what a crash left behind
      if (!removed.ok() && removed.code() != StatusCode::kNotFound) return removed;
      TALLY_RETURN_IF_ERROR(
          WriteSidecar(fs_, paths_.back(), binding, *std::move(entries), governor_));
      TALLY_ASSIGN_OR_RETURN(auto reader, SidecarReader::Open(fs_, paths_.back(), binding));
      readers_.push_back(std::move(reader));
    }
    return Status::Ok();
  }

  Status Merge(const std::string& path, const Stopped& stopped) const {
    std::vector<const SidecarReader*> inputs;
    for (const auto& reader : readers_) inputs.push_back(reader.get());
    const auto map_rows = [this](std::span<const uint32_t> parts, std::span<SidecarEntry> entries) {
      for (size_t i = 0; i < entries.size(); ++i) entries[i].row += parts[i] * rows_at_once_;
    };
    TALLY_ASSIGN_OR_RETURN(const auto merger, SidecarMerger::Start(fs_, path, segment_.binding(),
                                                                   inputs, map_rows, governor_));
    for (bool done = false; !done;) {
      TALLY_RETURN_IF_ERROR(Look(stopped));
      TALLY_ASSIGN_OR_RETURN(done, merger->Step(kEntriesBetweenLooks));
    }
    return merger->Finish();
  }

 private:
  FileSystem& fs_;
  const LiveSegment& segment_;
  IoGovernor* const governor_;
  const uint32_t rows_at_once_;
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<SidecarReader>> readers_;
};

}  // namespace

// Has `write` make a temporary file, synced, and puts it in the place of `path`. On an error no
// partial file is left.
Status ReplaceFile(FileSystem& fs, const std::string& directory, const std::string& path,
                   const std::function<Status(const std::string&)>& write) {
  const std::string temporary = path + ".tmp";
  Status status = fs.Remove(temporary);  // what a crash left behind
  if (!status.ok() && status.code() != StatusCode::kNotFound) return status;
  status = write(temporary);
  if (status.ok()) status = fs.Rename(temporary, path);
  if (status.ok()) status = SyncDirectory(fs, directory);
  if (!status.ok()) IgnoreError(fs.Remove(temporary), "an orphan that the next start removes");
  return status;
}

Result<std::vector<SidecarEntry>> KeysOfSegment(const SegmentReader& rows, IdentityScope scope) {
  return KeysOfRows(rows, scope, {0, static_cast<uint32_t>(rows.info().rows)}, {});
}

Result<std::unique_ptr<SidecarReader>> RebuildSidecar(FileSystem& fs, const Layout& layout,
                                                      const LiveSegment& segment,
                                                      IdentityScope scope, IoGovernor* governor,
                                                      const Stopped& stopped,
                                                      uint32_t rows_at_once) {
  const std::string path = JoinPath(layout.segment_dir, SidecarFileName(segment.listed().number));
  const auto rows = static_cast<uint32_t>(segment.listed().rows);
  TALLY_RETURN_IF_ERROR(
      ReplaceFile(fs, layout.segment_dir, path, [&](const std::string& temporary) -> Status {
        if (rows > rows_at_once) {
          Parts parts(fs, segment, governor, rows_at_once);
          TALLY_RETURN_IF_ERROR(parts.Write(path, scope, stopped));
          return parts.Merge(temporary, stopped);
        }
        auto entries = KeysOfRows(segment.rows(), scope, {0, rows}, stopped);
        if (!entries.ok()) return NoteDamage(segment, entries.status());
        return WriteSidecar(fs, temporary, segment.binding(), *std::move(entries), governor);
      }));
  TALLY_ASSIGN_OR_RETURN(auto sidecar, SidecarReader::Open(fs, path, segment.binding()));
  TALLY_RETURN_IF_ERROR(CheckUntilStopped(*sidecar, stopped));
  return sidecar;
}

}  // namespace tallystick
