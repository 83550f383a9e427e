#include "tallystick/sidecars.h"

#include <fmt/format.h>

#include "base/result.h"
#include "engine/recovery.h"
#include "engine/sidecar_rebuild.h"
#include "env/env.h"
#include "usagedb/udbidx01.h"

namespace tallystick {
namespace {

// A database of which only manifest and segments are opened. Holds its lock.
struct Opened {
  explicit Opened(const std::string& directory) : layout(directory), cache(64 << 20) {}

  Layout layout;
  BlockCache cache;
  std::unique_ptr<FileLock> lock;
  Identity identity;
  OpenedSegments segments;
};

Result<std::unique_ptr<Opened>> OpenForTools(FileSystem& fs, const std::string& directory) {
  auto opened = std::make_unique<Opened>(directory);
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(opened->layout.identity));
  if (!there) return Status::NotFound("database_not_found", directory + " holds no database");
  TALLY_RETURN_IF_ERROR(CheckIsNoBackup(fs, opened->layout));
  TALLY_ASSIGN_OR_RETURN(opened->lock, fs.Lock(opened->layout.lock));
  TALLY_ASSIGN_OR_RETURN(opened->identity, LoadIdentity(fs, opened->layout));
  TALLY_ASSIGN_OR_RETURN(const Manifest manifest, LoadManifest(fs, opened->layout.manifest_dir,
                                                               opened->identity.database_id));
  TALLY_ASSIGN_OR_RETURN(opened->segments, OpenSegments(fs, opened->layout, opened->identity,
                                                        manifest, opened->cache));
  return opened;
}

// Calls `work` for every segment and collects what it reports.
Result<SidecarReports> ForEachSegment(
    const OpenOptions& options, const std::string& directory, const OnSidecarReport& done,
    const std::function<Status(FileSystem&, const Opened&, size_t, SidecarReport*)>& work) {
  FileSystem& fs = (options.env != nullptr ? *options.env : Env::Real()).fs();
  TALLY_ASSIGN_OR_RETURN(const auto opened, OpenForTools(fs, directory));
  SidecarReports reports;
  for (size_t i = 0; i < opened->segments.list.size(); ++i) {
    SidecarReport& report = reports.emplace_back();
    const LiveSegment& segment = *opened->segments.list[i];
    report.segment = segment.listed().number.value;
    report.file = JoinPath(opened->layout.segment_dir, SidecarFileName(segment.listed().number));
    report.status = work(fs, *opened, i, &report);
    if (done) done(report);
  }
  return reports;
}

// The sidecar's keys against those that the rows give.
Status CompareWithRows(const LiveSegment& segment, const SidecarReader& sidecar,
                       IdentityScope scope) {
  TALLY_RETURN_IF_ERROR(CheckSidecar(sidecar));
  TALLY_ASSIGN_OR_RETURN(const auto expected, KeysOfSegment(segment.rows(), scope));
  Status status;
  TALLY_RETURN_IF_ERROR(sidecar.ForEach([&](const SidecarEntry& entry) {
    if (status.ok() && entry != expected[entry.row]) {
      status = Status::Corruption(
          fmt::format("{}: row {} hashes to another key or payload", sidecar.path(), entry.row));
    }
  }));
  return status;
}

}  // namespace

Result<SidecarReports> CheckSidecars(const std::string& directory, const OpenOptions& options,
                                     const OnSidecarReport& done) {
  return ForEachSegment(options, directory, done,
                        [](FileSystem&, const Opened& opened, size_t i, SidecarReport* report) {
                          const LiveSegment& segment = *opened.segments.list[i];
                          const auto sidecar = segment.sidecar();
                          if (sidecar == nullptr) return opened.segments.sidecar_status[i];
                          report->entries = segment.listed().rows;
                          return CompareWithRows(segment, *sidecar, opened.identity.scope);
                        });
}

Result<SidecarReports> RebuildSidecars(const std::string& directory, const OpenOptions& options,
                                       bool all, const OnSidecarReport& done) {
  return ForEachSegment(
      options, directory, done,
      [all](FileSystem& fs, const Opened& opened, size_t i, SidecarReport* report) {
        const LiveSegment& segment = *opened.segments.list[i];
        const auto sidecar = segment.sidecar();
        if (!all && sidecar != nullptr &&
            CompareWithRows(segment, *sidecar, opened.identity.scope).ok()) {
          return Status::Ok();
        }
        report->entries = segment.listed().rows;
        return RebuildSidecar(fs, opened.layout, segment, opened.identity.scope, nullptr, {})
            .status();
      });
}

Result<SidecarReports> ExportSidecars(const std::string& directory, const OpenOptions& options,
                                      const std::string& target, const OnSidecarReport& done) {
  FileSystem& fs = (options.env != nullptr ? *options.env : Env::Real()).fs();
  TALLY_RETURN_IF_ERROR(fs.CreateDir(target));
  return ForEachSegment(
      options, directory, done,
      [&target](FileSystem& files, const Opened& opened, size_t i, SidecarReport* report) {
        const SegmentReader& rows = opened.segments.list[i]->rows();
        SegmentCursor cursor(rows, kAllSegmentColumns);
        std::vector<udbidx01::DedupeEntry> entries;
        for (uint32_t row = 0; row < rows.info().rows; ++row) {
          TALLY_RETURN_IF_ERROR(cursor.Seek(row));
          if (cursor.disposition() == Disposition::kQuarantined) {
            ++report->left_out;
            continue;
          }
          TALLY_ASSIGN_OR_RETURN(const int64_t commit_time_us, rows.CommitTimeMicros(cursor.lsn()));
          TALLY_ASSIGN_OR_RETURN(entries.emplace_back(),
                                 udbidx01::EntryOf(cursor.row(), commit_time_us));
        }
        report->entries = entries.size();
        report->file = JoinPath(target, SidecarFileName(rows.info().number));
        return udbidx01::WriteDedupeIndex(files, report->file, entries);
      });
}

}  // namespace tallystick
