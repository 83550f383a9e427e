#include "engine/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/result.h"
#include "env/number_name.h"
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

// Unfinished creation is told from loss by what only a finished one leaves behind.
Result<bool> NeedsCreation(FileSystem& fs, const Layout& layout) {
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

Result<Identity> LoadIdentity(FileSystem& fs, const Layout& layout) {
  TALLY_ASSIGN_OR_RETURN(const Bytes bytes, ReadWholeFile(fs, layout.identity, kBlockBytes));
  auto identity = DecodeIdentity(bytes);
  if (!identity.ok()) return identity.status().WithContext(layout.identity);
  return identity;
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

}  // namespace

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

Result<RecoveryPlan> PlanRecovery(FileSystem& fs, const Layout& layout) {
  RecoveryPlan plan;
  TALLY_ASSIGN_OR_RETURN(plan.identity, LoadIdentity(fs, layout));
  TALLY_ASSIGN_OR_RETURN(plan.manifest,
                         LoadManifest(fs, layout.manifest_dir, plan.identity.database_id));
  if (!plan.manifest.segments.empty() || !plan.manifest.others.empty() ||
      !plan.manifest.control_effects.empty()) {
    return Status::FailedPrecondition(
        "written_by_newer_version",
        layout.root + ": the manifest lists segments, which this version cannot read");
  }
  WalPosition start;
  start.next_frame = plan.manifest.first_frame;
  start.next_lsn = {plan.manifest.flushed_lsn.value + 1};
  TALLY_ASSIGN_OR_RETURN(plan.wal, PlanWal(fs, layout.wal_dir, plan.identity.database_id,
                                           plan.manifest.wal_files, start));
  TALLY_ASSIGN_OR_RETURN(plan.next_number,
                         NumberAboveAllNames(fs, layout, plan.manifest.next_number));
  TALLY_ASSIGN_OR_RETURN(plan.orphans, FindOrphans(fs, layout, plan.manifest));
  plan.last_commit_time_us =
      std::max(plan.manifest.last_commit_time_us, plan.wal.end.commit_time_after_us);
  return plan;
}

}  // namespace tallystick
