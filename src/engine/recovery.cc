#include "engine/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/result.h"
#include "env/number_name.h"
#include "manifest/backup_file.h"
#include "wal/wal_writer.h"

namespace tallystick {
namespace {

// What a directory holds, as far as creation is concerned.
struct Presence {
  bool identity = false;
  bool manifest = false;
  bool rows = false;  // anything under wal/ or segments/
};

Result<std::vector<std::string>> ListIfThere(FileSystem& fs, const std::string& dir) {
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(dir));
  if (!there) return std::vector<std::string>();
  return fs.List(dir);
}

bool HasNumbered(const std::vector<std::string>& names) {
  return std::ranges::any_of(names,
                             [](const auto& name) { return LeadingNumber(name).has_value(); });
}

Result<Presence> Look(FileSystem& fs, const Layout& layout) {
  Presence presence;
  TALLY_ASSIGN_OR_RETURN(presence.identity, fs.Exists(layout.identity));
  TALLY_ASSIGN_OR_RETURN(const auto manifests, ListIfThere(fs, layout.manifest_dir));
  presence.manifest = std::ranges::any_of(
      manifests, [](const auto& name) { return ParseNumberName(name).has_value(); });
  for (const std::string& dir : {layout.wal_dir, layout.segment_dir}) {
    TALLY_ASSIGN_OR_RETURN(const auto names, ListIfThere(fs, dir));
    presence.rows = presence.rows || HasNumbered(names);
  }
  return presence;
}

// What a repair has not moved aside yet would look like orphans.
Status CheckNoRepair(FileSystem& fs, const Layout& layout) {
  TALLY_ASSIGN_OR_RETURN(const bool under_way, fs.Exists(layout.repair));
  if (!under_way) return Status::Ok();
  return Status::FailedPrecondition(
      "repair_unfinished",
      layout.repair + ": a repair was interrupted; `tallystick repair DIR --apply` completes it");
}

// Unfinished creation is told from loss by what only a finished one leaves behind.
Result<bool> NeedsCreation(FileSystem& fs, const Layout& layout) {
  TALLY_RETURN_IF_ERROR(CheckNoRepair(fs, layout));
  TALLY_ASSIGN_OR_RETURN(const Presence presence, Look(fs, layout));
  if (presence.identity && presence.manifest) return false;
  const std::string missing = presence.identity ? layout.manifest_dir + "/" : layout.identity;
  if (presence.rows || presence.manifest) {
    return Status::Corruption(missing + " is missing, but the directory holds a database's files");
  }
  return true;
}

DatabaseId DrawDatabaseId(Random& random) {
  DatabaseId id;
  for (size_t i = 0; i < id.bytes.size(); i += sizeof(uint64_t)) {
    const uint64_t word = random.Next64();
    std::memcpy(id.bytes.data() + i, &word, sizeof word);
  }
  return id;
}

// The first number above every number in any name, temporary and torn ones too.
Result<uint64_t> NumberAboveAllNames(FileSystem& fs, const Layout& layout, uint64_t at_least) {
  uint64_t next = at_least;
  for (const std::string& dir : {layout.manifest_dir, layout.wal_dir, layout.segment_dir}) {
    TALLY_ASSIGN_OR_RETURN(const auto names, fs.List(dir));
    for (const std::string& name : names) {
      const auto number = LeadingNumber(name);
      // Nearly 2^64 files: somebody else's name. The counter must not wrap.
      if (number.has_value() && *number < UINT64_MAX / 2) next = std::max(next, *number + 1);
    }
  }
  return next;
}

bool IsSegmentFile(const std::string& name) {
  if (!LeadingNumber(name).has_value()) return false;
  return name.ends_with(".seg") || name.ends_with(".idx") || name.ends_with(".sum") ||
         name.ends_with(".tmp");
}

// Numbered files that no manifest names, and temporary ones. Names that are not ours are left
// alone.
Result<std::vector<std::string>> FindOrphans(FileSystem& fs, const Layout& layout,
                                             const Manifest& manifest) {
  std::set<std::string> live;
  for (const ListedWalFile& file : manifest.wal_files) live.insert(WalFileName(file.number));
  std::vector<std::string> orphans;
  TALLY_ASSIGN_OR_RETURN(const auto wal_names, fs.List(layout.wal_dir));
  for (const std::string& name : wal_names) {
    if (ParseNumberName(name).has_value() && !live.contains(name)) {
      orphans.push_back(JoinPath(layout.wal_dir, name));
    }
  }
  std::set<std::string> live_segments;
  for (const ListedSegment& segment : manifest.segments) {
    live_segments.insert(SegmentFileName(segment.number));
    live_segments.insert(SidecarFileName(segment.number));
    live_segments.insert(RollupFileName(segment.number));
  }
  TALLY_ASSIGN_OR_RETURN(const auto segment_names, fs.List(layout.segment_dir));
  for (const std::string& name : segment_names) {
    if (IsSegmentFile(name) && !live_segments.contains(name)) {
      orphans.push_back(JoinPath(layout.segment_dir, name));
    }
  }
  TALLY_ASSIGN_OR_RETURN(const auto manifest_names, fs.List(layout.manifest_dir));
  for (const std::string& name : manifest_names) {
    if (LeadingNumber(name).has_value() && name.ends_with(".tmp")) {
      orphans.push_back(JoinPath(layout.manifest_dir, name));
    }
  }
  TALLY_ASSIGN_OR_RETURN(const bool identity_temporary, fs.Exists(layout.identity + ".tmp"));
  if (identity_temporary) orphans.push_back(layout.identity + ".tmp");
  std::ranges::sort(orphans);  // a directory lists in any order
  return orphans;
}

// An unlisted segment is a flush that did not come to its manifest: the log has its rows. One that
// reaches above the log's end proves that the log has lost some.
Status CheckOrphanSegments(FileSystem& fs, const Layout& layout, BlockCache& cache,
                           const RecoveryPlan& plan) {
  const Lsn end{plan.wal.end.next_lsn.value - 1};
  for (const std::string& path : plan.orphans) {
    if (!path.ends_with(".seg")) continue;
    const auto number = LeadingNumber(path.substr(layout.segment_dir.size() + 1));
    auto rows = SegmentReader::Open(fs, path, {plan.identity.database_id, {*number}}, cache);
    if (rows.status().code() == StatusCode::kIoError) return rows.status();
    if (!rows.ok() || (*rows)->info().last_lsn <= end) continue;
    return Status::Corruption(fmt::format(
        "{}: a segment of the rows {} to {}, but manifest and log end at LSN {}: rows are lost",
        path, (*rows)->info().first_lsn.value, (*rows)->info().last_lsn.value, end.value));
  }
  return Status::Ok();
}

}  // namespace

Result<Identity> LoadIdentity(FileSystem& fs, const Layout& layout) {
  TALLY_ASSIGN_OR_RETURN(const Bytes bytes, ReadWholeFile(fs, layout.identity, kBlockBytes));
  auto identity = DecodeIdentity(bytes);
  if (!identity.ok()) return identity.status().WithContext(layout.identity);
  return identity;
}

Result<OpenedSegments> OpenSegments(FileSystem& fs, const Layout& layout, const Identity& identity,
                                    const Manifest& manifest, BlockCache& cache) {
  OpenedSegments opened;
  for (const ListedSegment& listed : manifest.segments) {
    const std::string path = JoinPath(layout.segment_dir, SegmentFileName(listed.number));
    auto rows = SegmentReader::Open(
        fs, path, {identity.database_id, listed.number, listed.footer_checksum}, cache);
    if (rows.status().code() == StatusCode::kNotFound) {
      return Status::Corruption(path + " is missing, but the manifest lists it");
    }
    if (!rows.ok()) return rows.status();
    const SegmentInfo& info = (*rows)->info();
    if (info.first_lsn != listed.first_lsn || info.last_lsn != listed.last_lsn ||
        info.rows != listed.rows || info.bytes != listed.bytes) {
      return Status::Corruption(path + ": its footer and the manifest do not say the same");
    }
    auto segment = std::make_shared<LiveSegment>(listed, *std::move(rows));
    auto sidecar = SidecarReader::Open(
        fs, JoinPath(layout.segment_dir, SidecarFileName(listed.number)), segment->binding());
    opened.sidecar_status.push_back(sidecar.status());
    if (sidecar.ok()) segment->InstallSidecar(*std::move(sidecar));
    auto rollup =
        RollupReader::Open(fs, JoinPath(layout.segment_dir, RollupFileName(listed.number)),
                           segment->rows().info(), cache);
    opened.rollup_status.push_back(rollup.status());
    if (rollup.ok()) segment->InstallRollup(*std::move(rollup));
    opened.list.push_back(std::move(segment));
  }
  return opened;
}

Status CheckIsNoBackup(FileSystem& fs, const Layout& layout) {
  TALLY_ASSIGN_OR_RETURN(const bool backup, fs.Exists(JoinPath(layout.root, kBackupFileName)));
  if (backup) {
    return Status::FailedPrecondition(
        "is_backup", layout.root + " is a backup; `tallystick restore` makes a database of it");
  }
  TALLY_ASSIGN_OR_RETURN(const bool restoring, fs.Exists(layout.restoring));
  if (!restoring) return Status::Ok();
  return Status::FailedPrecondition(
      "restore_unfinished",
      layout.root + " is an unfinished restore; run the same `tallystick restore` again");
}

Result<bool> IsMissing(FileSystem& fs, const Layout& layout) { return NeedsCreation(fs, layout); }

Status CreateIfMissing(Env& env, const Layout& layout, IdentityScope scope) {
  FileSystem& fs = env.fs();
  TALLY_ASSIGN_OR_RETURN(const bool missing, NeedsCreation(fs, layout));
  if (!missing) return Status::Ok();

  for (const std::string& dir : {layout.manifest_dir, layout.wal_dir, layout.segment_dir}) {
    TALLY_RETURN_IF_ERROR(fs.CreateDir(dir));
  }
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, layout.root));
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, ParentPath(layout.root)));

  TALLY_ASSIGN_OR_RETURN(const bool has_identity, fs.Exists(layout.identity));
  bool renamed = false;
  if (!has_identity) {
    const Identity identity{DrawDatabaseId(env.random()), scope};
    TALLY_RETURN_IF_ERROR(
        WriteFileAtomic(fs, layout.root, layout.identity, EncodeIdentity(identity), &renamed));
  }
  TALLY_ASSIGN_OR_RETURN(const Identity identity, LoadIdentity(fs, layout));
  Manifest first;
  TALLY_ASSIGN_OR_RETURN(const uint64_t number, NumberAboveAllNames(fs, layout, 1));
  first.number = {number};
  first.next_number = number + 1;
  first.incarnation = env.random().Next64();
  return WriteManifest(fs, layout.manifest_dir, identity.database_id, first, &renamed);
}

Result<RecoveryPlan> PlanRecovery(FileSystem& fs, const Layout& layout, BlockCache& cache) {
  RecoveryPlan plan;
  TALLY_ASSIGN_OR_RETURN(plan.identity, LoadIdentity(fs, layout));
  TALLY_ASSIGN_OR_RETURN(plan.manifest,
                         LoadManifest(fs, layout.manifest_dir, plan.identity.database_id));
  if (!plan.manifest.others.empty() || !plan.manifest.control_effects.empty()) {
    return Status::FailedPrecondition(
        "written_by_newer_version",
        layout.root + ": the manifest lists files of a kind that this version cannot read");
  }
  TALLY_ASSIGN_OR_RETURN(plan.segments,
                         OpenSegments(fs, layout, plan.identity, plan.manifest, cache));
  WalPosition start;
  start.next_frame = plan.manifest.first_frame;
  start.next_lsn = {plan.manifest.flushed_lsn.value + 1};
  TALLY_ASSIGN_OR_RETURN(plan.wal, PlanWal(fs, layout.wal_dir, plan.identity.database_id,
                                           plan.manifest.wal_files, start));
  TALLY_ASSIGN_OR_RETURN(plan.next_number,
                         NumberAboveAllNames(fs, layout, plan.manifest.next_number));
  TALLY_ASSIGN_OR_RETURN(plan.orphans, FindOrphans(fs, layout, plan.manifest));
  TALLY_RETURN_IF_ERROR(CheckOrphanSegments(fs, layout, cache, plan));
  plan.last_commit_time_us =
      std::max(plan.manifest.last_commit_time_us, plan.wal.end.commit_time_after_us);
  return plan;
}

}  // namespace tallystick
