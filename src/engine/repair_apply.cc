#include "engine/repair_apply.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "dedupe/sidecar_reader.h"
#include "env/number_name.h"
#include "rollup/rollup.h"

namespace tallystick {
namespace {

constexpr std::string_view kFolders[] = {"manifest", "segments", "wal"};
constexpr const char* kReportJson = "report.json";

uint32_t DateOf(int64_t wall_us) {
  const auto day = std::chrono::floor<std::chrono::days>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(wall_us)));
  const std::chrono::year_month_day date(day);
  return static_cast<uint32_t>(static_cast<int>(date.year())) * 10'000 +
         static_cast<unsigned>(date.month()) * 100 + static_cast<unsigned>(date.day());
}

Status WriteNew(FileSystem& fs, const std::string& path, ByteSpan content) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreateNew));
  if (!content.empty()) TALLY_RETURN_IF_ERROR(WriteFully(*file, 0, content));
  return file->Sync();
}

Status RemoveIfThere(FileSystem& fs, const std::string& path) {
  const Status removed = fs.Remove(path);
  return removed.code() == StatusCode::kNotFound ? Status::Ok() : removed;
}

Status RemoveJournal(FileSystem& fs, const Layout& layout) {
  TALLY_RETURN_IF_ERROR(RemoveIfThere(fs, layout.repair + ".tmp"));
  TALLY_RETURN_IF_ERROR(RemoveIfThere(fs, layout.repair));
  return SyncDirectory(fs, layout.root);
}

// The names that belong to a manifest's database, folder by folder.
std::set<std::string> NamesThatCount(const Manifest& manifest) {
  std::set<std::string> names = {"manifest/" + ManifestFileName(manifest.number)};
  for (const ListedSegment& segment : manifest.segments) {
    names.insert("segments/" + SegmentFileName(segment.number));
    names.insert("segments/" + SidecarFileName(segment.number));
    names.insert("segments/" + RollupFileName(segment.number));
  }
  for (const ListedWalFile& file : manifest.wal_files) {
    names.insert("wal/" + NumberName(file.number.value));
  }
  return names;
}

// Copies that earlier recoveries kept of torn tails stay where they are.
bool IsNumberedFile(const std::string& name) {
  return LeadingNumber(name).has_value() && !name.ends_with(".torn");
}

std::string NewIdentity(const Layout& layout) { return layout.identity + ".new"; }

Status MakeFolder(FileSystem& fs, const Layout& layout, const RepairJournal& journal) {
  const std::string folder = JoinPath(layout.root, journal.folder());
  TALLY_RETURN_IF_ERROR(fs.CreateDir(JoinPath(layout.root, "damaged")));
  TALLY_RETURN_IF_ERROR(fs.CreateDir(folder));
  for (const std::string_view name : kFolders) {
    TALLY_RETURN_IF_ERROR(fs.CreateDir(JoinPath(folder, name)));
    // A whole folder may have been lost.
    TALLY_RETURN_IF_ERROR(fs.CreateDir(JoinPath(layout.root, name)));
  }
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, folder));
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, JoinPath(layout.root, "damaged")));
  return SyncDirectory(fs, layout.root);
}

// Names of a folder's files that are none of the manifest's.
Result<std::vector<std::string>> NamesToSetAside(FileSystem& fs, const Layout& layout,
                                                 std::string_view folder,
                                                 const Manifest& manifest) {
  const std::set<std::string> counts = NamesThatCount(manifest);
  TALLY_ASSIGN_OR_RETURN(auto names, NamesOf(fs, JoinPath(layout.root, folder)));
  std::erase_if(names, [&](const std::string& name) {
    return !IsNumberedFile(name) || counts.contains(JoinPath(folder, name));
  });
  return names;
}

// Step 5.
Status SetAside(FileSystem& fs, const Layout& layout, const RepairJournal& journal,
                const Manifest& manifest) {
  TALLY_RETURN_IF_ERROR(MakeFolder(fs, layout, journal));
  for (const std::string_view folder : kFolders) {
    const std::string from = JoinPath(layout.root, folder);
    const std::string to = JoinPath(JoinPath(layout.root, journal.folder()), folder);
    TALLY_ASSIGN_OR_RETURN(const auto names, NamesToSetAside(fs, layout, folder, manifest));
    for (const std::string& name : names) {
      TALLY_RETURN_IF_ERROR(fs.Rename(JoinPath(from, name), JoinPath(to, name)));
    }
    // The new name first: a file may have both, never none.
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs, to));
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs, from));
  }
  return Status::Ok();
}

// Step 6. An old one that is in the folder already was moved before a crash.
Status PlaceIdentity(FileSystem& fs, const Layout& layout, const RepairJournal& journal) {
  TALLY_ASSIGN_OR_RETURN(const bool made, fs.Exists(NewIdentity(layout)));
  if (!made) return Status::Ok();
  const std::string folder = JoinPath(layout.root, journal.folder());
  TALLY_ASSIGN_OR_RETURN(const bool moved, fs.Exists(JoinPath(folder, "IDENTITY")));
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(layout.identity));
  if (there && !moved) {
    TALLY_RETURN_IF_ERROR(fs.Rename(layout.identity, JoinPath(folder, "IDENTITY")));
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs, folder));
  }
  TALLY_RETURN_IF_ERROR(fs.Rename(NewIdentity(layout), layout.identity));
  return SyncDirectory(fs, layout.root);
}

// What is left to do of a repair that counts.
Status Complete(FileSystem& fs, const Layout& layout, const RepairJournal& journal,
                const Manifest& manifest) {
  TALLY_RETURN_IF_ERROR(SetAside(fs, layout, journal, manifest));
  TALLY_RETURN_IF_ERROR(PlaceIdentity(fs, layout, journal));
  return RemoveJournal(fs, layout);
}

// Files of a repair that does not count: copies, under numbers that nobody else has, and the
// report.
Status RemoveNewFiles(FileSystem& fs, const Layout& layout, const RepairJournal& journal) {
  for (const std::string_view folder : kFolders) {
    const std::string dir = JoinPath(layout.root, folder);
    TALLY_ASSIGN_OR_RETURN(const auto names, NamesOf(fs, dir));
    for (const std::string& name : names) {
      const auto number = LeadingNumber(name);
      if (!number.has_value() || *number < journal.first_number) continue;
      TALLY_RETURN_IF_ERROR(fs.Remove(JoinPath(dir, name)));
    }
    if (!names.empty()) TALLY_RETURN_IF_ERROR(SyncDirectory(fs, dir));
  }
  const std::string folder = JoinPath(layout.root, journal.folder());
  for (const char* report : {kRepairReportText, kReportJson}) {
    TALLY_RETURN_IF_ERROR(RemoveIfThere(fs, JoinPath(folder, report)));
  }
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(folder));
  return there ? SyncDirectory(fs, folder) : Status::Ok();
}

// REPAIR goes last: without it new segments would count as segments that no manifest names, and an
// IDENTITY.new as the next repair's.
Status TakeBack(FileSystem& fs, const Layout& layout, const RepairJournal& journal) {
  TALLY_RETURN_IF_ERROR(RemoveNewFiles(fs, layout, journal));
  TALLY_RETURN_IF_ERROR(RemoveIfThere(fs, NewIdentity(layout)));
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, layout.root));
  return RemoveJournal(fs, layout);
}

class Applier {
 public:
  Applier(Env& env, const Layout& layout, const OpenOptions& options, const RepairOptions& repair,
          RepairPlan* plan)
      : env_(env),
        fs_(env.fs()),
        layout_(layout),
        options_(options),
        repair_(repair),
        plan_(*plan),
        facts_(plan->facts) {}

  Status Run();

 private:
  Status MakeNew();
  Status Begin();
  Status WriteSegments();
  Status KeepSegment(const FoundSegment& segment);
  Status WriteChunk(const RepairChunk& chunk);
  Status CheckWritten(const std::string& path, const WrittenSegment& written, Lsn first, Lsn last);
  Status WriteReports();
  Status WriteIdentity();
  Status Commit();
  FileNumber NewNumber() { return {next_number_++}; }

  Env& env_;
  FileSystem& fs_;
  const Layout& layout_;
  const OpenOptions& options_;
  const RepairOptions& repair_;
  RepairPlan& plan_;
  const RepairFacts& facts_;
  RepairJournal journal_;
  uint64_t next_number_ = 0;
  Manifest manifest_;
  SegmentTotals totals_;
  Lsn next_lsn_{1};
  int64_t last_time_us_ = 0;  // of the row before
  // How far it came, for the way back.
  bool begun_ = false;
  bool committed_ = false;  // perhaps
};

Status Applier::Begin() {
  journal_.database_id = facts_.identity.database_id;
  journal_.first_number = next_number_ = facts_.next_number;
  journal_.date = DateOf(env_.clock().WallMicros());
  bool renamed = false;
  TALLY_RETURN_IF_ERROR(
      WriteFileAtomic(fs_, layout_.root, layout_.repair, EncodeRepairJournal(journal_), &renamed));
  RepairReport& report = plan_.report;
  report.applied = true;
  report.set_aside = JoinPath(layout_.root, journal_.folder());
  manifest_.incarnation = env_.random().Next64();
  report.incarnation = fmt::format("{:016x}", manifest_.incarnation);
  begun_ = true;
  return Status::Ok();
}

Status Applier::KeepSegment(const FoundSegment& segment) {
  const SegmentInfo& info = segment.rows->info();
  TALLY_CHECK(info.first_lsn == next_lsn_);
  manifest_.segments.push_back({.number = info.number,
                                .first_lsn = info.first_lsn,
                                .last_lsn = info.last_lsn,
                                .rows = info.rows,
                                .bytes = info.bytes,
                                .footer_checksum = info.footer_checksum});
  totals_.rows += info.rows;
  totals_.quarantined += info.quarantined;
  totals_.quantity.Add(segment.quantity);
  next_lsn_ = {info.last_lsn.value + 1};
  if (const auto times = segment.rows->CommitTimes(); times.ok() && !times->empty()) {
    last_time_us_ = std::max(last_time_us_, times->back().commit_time_us);
  }
  return Status::Ok();
}

Status Applier::WriteChunk(const RepairChunk& chunk) {
  const Lsn first = next_lsn_;
  std::vector<CommitTime> times;
  for (size_t i = 0; i < chunk.records.size(); ++i) {
    // They never go back; one that is lost is that of the row before.
    const int64_t time = std::max(last_time_us_, chunk.commit_times_us[i]);
    if (times.empty() || time != last_time_us_) times.push_back({{first.value + i}, time});
    last_time_us_ = time;
  }
  const SegmentSpec spec{.database_id = facts_.identity.database_id,
                         .number = NewNumber(),
                         .scope = facts_.identity.scope,
                         .group_rows = options_.segment_group_rows};
  const std::string path = JoinPath(layout_.segment_dir, SegmentFileName(spec.number));
  TALLY_ASSIGN_OR_RETURN(const WrittenSegment written,
                         WriteSegment(fs_, path, spec, {first, chunk.records, times}, nullptr));
  const Lsn last{first.value + chunk.records.size() - 1};
  TALLY_RETURN_IF_ERROR(CheckWritten(path, written, first, last));
  manifest_.segments.push_back({.number = spec.number,
                                .first_lsn = first,
                                .last_lsn = last,
                                .rows = chunk.records.size(),
                                .bytes = written.bytes,
                                .footer_checksum = written.footer_checksum});
  totals_.rows += written.totals.rows;
  totals_.quarantined += written.totals.quarantined;
  totals_.quantity.Add(written.totals.quantity);
  next_lsn_ = {last.value + 1};
  ++plan_.report.segments_written;
  return Status::Ok();
}

// What was written must read back as the rows that went in.
Status Applier::CheckWritten(const std::string& path, const WrittenSegment& written, Lsn first,
                             Lsn last) {
  BlockCache cache(1 << 20);
  const auto number = LeadingNumber(path.substr(layout_.segment_dir.size() + 1));
  TALLY_ASSIGN_OR_RETURN(
      const auto rows,
      SegmentReader::Open(
          fs_, path, {facts_.identity.database_id, {*number}, written.footer_checksum}, cache));
  TALLY_ASSIGN_OR_RETURN(const SegmentTotals totals, CheckSegment(*rows, {}));
  if (totals == written.totals && rows->info().first_lsn == first &&
      rows->info().last_lsn == last) {
    return Status::Ok();
  }
  return Status::Corruption(path + ": its rows do not add up to those that were written");
}

Status Applier::WriteSegments() {
  for (const RepairStep& step : plan_.steps) {
    if (step.kept != nullptr) {
      TALLY_RETURN_IF_ERROR(KeepSegment(*step.kept));
      continue;
    }
    TALLY_RETURN_IF_ERROR(
        plan_.rows->ForEachChunk(step.range, repair_.segment_rows_max,
                                 [this](const RepairChunk& chunk) { return WriteChunk(chunk); }));
  }
  if (totals_ != plan_.kept) {
    return Status::Corruption(
        fmt::format("{}: {} rows with a sum of {} were planned, {} with a sum of {} written; "
                    "nothing was changed",
                    layout_.root, plan_.kept.rows, plan_.kept.quantity.ToString(), totals_.rows,
                    totals_.quantity.ToString()));
  }
  return SyncDirectory(fs_, layout_.segment_dir);
}

// As of a repair that is done, so that none counts without its report: afterwards files are only
// moved.
Status Applier::WriteReports() {
  RepairReport& report = plan_.report;
  for (const std::string_view folder : kFolders) {
    TALLY_ASSIGN_OR_RETURN(const auto names, NamesToSetAside(fs_, layout_, folder, manifest_));
    report.files_set_aside += names.size();
  }
  for (const auto& [name, text] : {std::pair(kReportJson, RepairReportJson(report)),
                                   std::pair(kRepairReportText, RepairReportText(report))}) {
    const std::string path = JoinPath(report.set_aside, name);
    TALLY_RETURN_IF_ERROR(RemoveIfThere(fs_, path));
    TALLY_RETURN_IF_ERROR(WriteNew(fs_, path, AsByteSpan(text)));
  }
  return SyncDirectory(fs_, report.set_aside);
}

Status Applier::WriteIdentity() {
  if (facts_.identity_good) return Status::Ok();
  TALLY_RETURN_IF_ERROR(WriteNew(fs_, NewIdentity(layout_), EncodeIdentity(facts_.identity)));
  return SyncDirectory(fs_, layout_.root);
}

Status Applier::Commit() {
  manifest_.number = NewNumber();
  manifest_.next_number = next_number_;
  manifest_.flushed_lsn = {next_lsn_.value - 1};
  manifest_.first_frame = facts_.next_frame;
  manifest_.last_commit_time_us = std::max(facts_.last_commit_time_us, last_time_us_);
  return WriteManifest(fs_, layout_.manifest_dir, facts_.identity.database_id, manifest_,
                       &committed_);
}

Status Applier::MakeNew() {
  TALLY_RETURN_IF_ERROR(Begin());
  TALLY_RETURN_IF_ERROR(MakeFolder(fs_, layout_, journal_));
  TALLY_RETURN_IF_ERROR(WriteSegments());
  TALLY_RETURN_IF_ERROR(WriteReports());
  TALLY_RETURN_IF_ERROR(WriteIdentity());
  return Commit();
}

Status Applier::Run() {
  const Status made = MakeNew();
  if (made.ok()) return Complete(fs_, layout_, journal_, manifest_);
  if (committed_) return made;
  IgnoreError(begun_ ? TakeBack(fs_, layout_, journal_) : RemoveJournal(fs_, layout_),
              "REPAIR is left: the next repair undoes it");
  return made;
}

}  // namespace

Result<std::string> FinishEarlierRepair(FileSystem& fs, const Layout& layout) {
  const auto journal = LoadRepairJournal(fs, layout);
  if (journal.status().code() == StatusCode::kNotFound) return std::string();
  if (!journal.ok()) return journal.status();
  // What the other process left may be in the page cache only.
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, layout.root));
  TALLY_RETURN_IF_ERROR(SyncDirectory(fs, layout.manifest_dir));
  TALLY_ASSIGN_OR_RETURN(const auto manifests, NamesOf(fs, layout.manifest_dir));
  const bool counts = std::ranges::any_of(manifests, [&](const std::string& name) {
    const auto number = ParseNumberName(name);
    return number.has_value() && *number >= journal->first_number;
  });
  if (!counts) {
    TALLY_RETURN_IF_ERROR(TakeBack(fs, layout, *journal));
    return std::string();
  }
  TALLY_ASSIGN_OR_RETURN(const Manifest manifest,
                         LoadManifest(fs, layout.manifest_dir, journal->database_id));
  TALLY_RETURN_IF_ERROR(Complete(fs, layout, *journal, manifest));
  return JoinPath(layout.root, journal->folder());
}

Status CarryOutRepair(Env& env, const Layout& layout, const OpenOptions& options,
                      const RepairOptions& repair, RepairPlan* plan) {
  TALLY_CHECK(plan->report.damaged);
  return Applier(env, layout, options, repair, plan).Run();
}

}  // namespace tallystick
