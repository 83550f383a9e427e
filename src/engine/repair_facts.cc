// Order: what each file says of itself; then which database this is; then what counts.
#include "engine/repair_facts.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/result.h"
#include "env/number_name.h"
#include "segment/segment_file.h"
#include "wal/wal_format.h"

namespace tallystick {
namespace {

constexpr uint64_t kCacheBytes = 64 << 20;

// A whole file with our magic, a right checksum and a version that we do not know.
bool IsOfNewerVersion(ByteSpan bytes, ByteSpan magic, uint32_t version) {
  constexpr size_t kTail = sizeof(uint64_t);
  if (bytes.size() < magic.size() + sizeof version + kTail) return false;
  const ByteSpan body = bytes.first(bytes.size() - kTail);
  return std::ranges::equal(body.first(magic.size()), magic) &&
         LoadFixed<uint32_t>(body.data() + magic.size()) > version &&
         LoadFixed<uint64_t>(body.data() + body.size()) == XXH3_64bits(body.data(), body.size());
}

Status NewerVersion(const std::string& path) {
  return Status::FailedPrecondition("written_by_newer_version",
                                    path + ": a newer version wrote it; repair with that one");
}

class Inspector {
 public:
  Inspector(FileSystem& fs, const Layout& layout, const RepairOptions& options)
      : fs_(fs), layout_(layout), options_(options) {}

  Result<RepairFacts> Run();

 private:
  struct FoundManifest {
    uint64_t number = 0;
    std::string path;
    Status status;
    Manifest manifest;
    DatabaseId database_id;
  };

  Status ReadNames();
  Status ReadManifests();
  void NoteIds();
  Status ReadIdentity();
  Result<DatabaseId> IdOfFiles() const;
  Status RebuildIdentity(const Status& why);
  Status ChooseManifest();
  Status ReadJournal();
  void UseOlderManifest();
  void CountNumbers();
  void NoteLogEnd();
  // Whether the file is of a repair that does not count, or of what one that counts has replaced.
  bool IsOfOtherHistory(uint64_t number, bool listed) const;

  FileSystem& fs_;
  const Layout& layout_;
  const RepairOptions& options_;
  RepairFacts facts_;
  std::set<uint64_t> manifest_numbers_, segment_numbers_, log_numbers_;
  bool rows_ = false;  // anything under wal/ or segments/, as a start sees it
  uint64_t highest_number_ = 0;
  std::vector<FoundManifest> manifests_;  // the newest first
  std::map<DatabaseId, uint64_t> ids_;    // what files that verify say, and how many do
  std::map<DatabaseId, std::set<IdentityScope>> scopes_;
};

Status Inspector::ReadNames() {
  const auto note = [this](std::optional<uint64_t> number) {
    // Nearly 2^64 files: somebody else's name.
    if (number.has_value() && *number < UINT64_MAX / 2) {
      highest_number_ = std::max(highest_number_, *number);
    }
    return number.has_value() && *number < UINT64_MAX / 2;
  };
  TALLY_ASSIGN_OR_RETURN(auto names, NamesOf(fs_, layout_.manifest_dir));
  for (const std::string& name : names) {
    note(LeadingNumber(name));
    if (note(ParseNumberName(name))) manifest_numbers_.insert(*ParseNumberName(name));
  }
  const auto note_rows = [&](const std::string& name) {
    note(LeadingNumber(name));
    rows_ = rows_ || LeadingNumber(name).has_value();
  };
  TALLY_ASSIGN_OR_RETURN(names, NamesOf(fs_, layout_.segment_dir));
  for (const std::string& name : names) {
    note_rows(name);
    if (!name.ends_with(".seg")) continue;
    const auto number = ParseNumberName(name.substr(0, name.size() - 4));
    if (note(number)) segment_numbers_.insert(*number);
  }
  TALLY_ASSIGN_OR_RETURN(names, NamesOf(fs_, layout_.wal_dir));
  for (const std::string& name : names) {
    note_rows(name);
    if (note(ParseNumberName(name))) log_numbers_.insert(*ParseNumberName(name));
  }
  return Status::Ok();
}

Status Inspector::ReadManifests() {
  for (const uint64_t number : manifest_numbers_) {
    FoundManifest& found = *manifests_.emplace(manifests_.begin());
    found.number = number;
    found.path = JoinPath(layout_.manifest_dir, ManifestFileName({number}));
    TALLY_RETURN_IF_ERROR(CheckThatItOpens(fs_, found.path));
    const auto bytes = ReadWholeFile(fs_, found.path, kManifestBytesMax);
    if (!bytes.ok()) {
      found.status = bytes.status();
      continue;
    }
    if (IsOfNewerVersion(*bytes, std::as_bytes(std::span(kManifestMagic)),
                         kManifestFormatVersion)) {
      return NewerVersion(found.path);
    }
    auto manifest = DecodeManifest(*bytes, &found.database_id);
    found.status = manifest.status();
    if (!manifest.ok()) continue;
    found.manifest = *std::move(manifest);
    ++ids_[found.database_id];
    if (found.manifest.number.value != number) {
      found.status = Status::Corruption(
          fmt::format("the file says that its number is {}", found.manifest.number.value));
    }
  }
  return Status::Ok();
}

void Inspector::NoteIds() {
  for (const uint64_t number : segment_numbers_) {
    const std::string path = JoinPath(layout_.segment_dir, SegmentFileName({number}));
    const auto file = SegmentFile::Open(fs_, path, *facts_.cache);
    if (!file.ok()) continue;
    ++ids_[(*file)->info().database_id];
    scopes_[(*file)->info().database_id].insert((*file)->footer().scope);
  }
  for (const uint64_t number : log_numbers_) {
    auto file = fs_.Open(JoinPath(layout_.wal_dir, NumberName(number)), OpenMode::kRead);
    Bytes block(kWalHeaderBytes);
    if (!file.ok() || !ReadFully(**file, 0, block).ok()) continue;
    if (const auto header = DecodeWalFileHeader(block); header.ok()) ++ids_[header->database_id];
  }
}

Status Inspector::ReadIdentity() {
  TALLY_RETURN_IF_ERROR(CheckThatItOpens(fs_, layout_.identity));
  const auto bytes = ReadWholeFile(fs_, layout_.identity, kBlockBytes);
  if (!bytes.ok()) return RebuildIdentity(bytes.status());
  if (IsOfNewerVersion(*bytes, std::as_bytes(std::span(kIdentityMagic)), kIdentityFormatVersion)) {
    return NewerVersion(layout_.identity);
  }
  const auto identity = DecodeIdentity(*bytes);
  if (!identity.ok()) return RebuildIdentity(identity.status());
  if (!ids_.empty() && !ids_.contains(identity->database_id)) {
    return RebuildIdentity(Status::Corruption("it is of database " + identity->database_id.ToHex() +
                                              ", of which there is no other file"));
  }
  facts_.identity = *identity;
  facts_.identity_good = true;
  return Status::Ok();
}

// Of several the newest manifest's: a foreign file may be among them, but not many.
Result<DatabaseId> Inspector::IdOfFiles() const {
  for (const FoundManifest& found : manifests_) {
    if (found.status.ok()) return found.database_id;
  }
  if (ids_.size() == 1) return ids_.begin()->first;
  std::string message = layout_.root + ": IDENTITY is lost, and no file says which database it is";
  if (!ids_.empty()) message = layout_.root + ": IDENTITY is lost, and files are of";
  for (const auto& [id, files] : ids_) message += fmt::format(" {} ({} files)", id.ToHex(), files);
  return Status::FailedPrecondition("database_id_unknown", message);
}

Status Inspector::RebuildIdentity(const Status& why) {
  if (why.code() == StatusCode::kNotFound && manifest_numbers_.empty() && !rows_) {
    return Status::NotFound("database_not_found", layout_.root + " holds no database");
  }
  TALLY_ASSIGN_OR_RETURN(facts_.identity.database_id, IdOfFiles());
  const auto scopes = scopes_.find(facts_.identity.database_id);
  if (scopes != scopes_.end() && scopes->second.size() == 1) {
    facts_.identity.scope = *scopes->second.begin();
  } else if (options_.identity_scope.has_value()) {
    facts_.identity.scope = *options_.identity_scope;
  } else {
    return Status::FailedPrecondition(
        "identity_scope_unknown",
        layout_.root +
            ": IDENTITY is lost, and no segment says what makes two events the same; "
            "give it: --identity-scope global (the default of `serve`) or account");
  }
  facts_.findings.push_back(FindingOf("identity_unreadable", layout_.identity, why));
  return Status::Ok();
}

Status Inspector::ChooseManifest() {
  if (manifests_.empty()) {
    facts_.unfinished_creation = facts_.identity_good && !rows_;
    if (facts_.unfinished_creation) return Status::Ok();
    facts_.findings.push_back(
        FindingOf("manifest_unreadable", layout_.manifest_dir, "there is no manifest"));
    return Status::Ok();
  }
  FoundManifest& newest = manifests_.front();
  if (newest.status.ok() && newest.database_id != facts_.identity.database_id) {
    newest.status = Status::Corruption("it is of database " + newest.database_id.ToHex());
  }
  if (!newest.status.ok()) {
    facts_.findings.push_back(FindingOf("manifest_unreadable", newest.path, newest.status));
    return Status::Ok();
  }
  if (!newest.manifest.others.empty() || !newest.manifest.control_effects.empty()) {
    return NewerVersion(newest.path);
  }
  facts_.manifest = newest.manifest;
  return Status::Ok();
}

Status Inspector::ReadJournal() {
  auto journal = LoadRepairJournal(fs_, layout_);
  if (journal.status().code() == StatusCode::kNotFound) return Status::Ok();
  if (!journal.ok()) return journal.status();
  facts_.journal = *journal;
  facts_.journal_committed =
      !manifest_numbers_.empty() && *manifest_numbers_.rbegin() >= journal->first_number;
  if (facts_.journal_committed && !facts_.manifest.has_value()) {
    return Status::Corruption(manifests_.front().path + ": the manifest of an unfinished repair (" +
                              layout_.repair + ") does not verify; what it replaced is in " +
                              layout_.root + "/" + journal->folder());
  }
  facts_.findings.push_back(
      FindingOf("repair_unfinished", layout_.repair,
                facts_.journal_committed
                    ? "a repair was interrupted after it took effect: files are not set aside "
                      "yet; what it lost is said in " +
                          JoinPath(layout_.root, journal->folder())
                    : "a repair was interrupted before it took effect"));
  return Status::Ok();
}

// Where none counts, the newest that verifies says how far the rows reached at least, and which log
// files there were.
void Inspector::UseOlderManifest() {
  for (const FoundManifest& found : manifests_) {
    if (!found.status.ok() || found.database_id != facts_.identity.database_id) continue;
    const Manifest& older = found.manifest;
    if (!facts_.manifest.has_value()) {
      facts_.findings.push_back(FindingOf(
          "manifest_unreadable", found.path,
          fmt::format(
              "an older manifest says that segments reached LSN {} at least; it is not used "
              "for more",
              older.flushed_lsn.value)));
      facts_.findings.back().kind = RepairFinding::Kind::kNote;
    }
    facts_.last_lsn = std::max(facts_.last_lsn, older.flushed_lsn);
    facts_.next_frame = std::max(facts_.next_frame, older.first_frame);
    for (const ListedWalFile& file : older.wal_files) {
      if (!facts_.manifest.has_value()) facts_.older_logs.push_back(file.number);
      if (file.end.has_value()) {
        facts_.next_frame = std::max(facts_.next_frame, FrameNumber{file.end->value + 1});
      }
    }
    facts_.next_number = std::max(facts_.next_number, older.next_number);
    facts_.last_commit_time_us = older.last_commit_time_us;
    return;
  }
}

void Inspector::CountNumbers() {
  facts_.next_number = std::max(facts_.next_number, highest_number_ + 1);
  if (facts_.journal.has_value()) {
    facts_.next_number = std::max(facts_.next_number, facts_.journal->first_number + 1);
  }
}

// A segment that no manifest names is a flush that did not come to its manifest: the log has its
// rows, or has lost its end. Without a manifest every segment counts.
void Inspector::NoteLogEnd() {
  const Lsn end = facts_.last_lsn;
  for (const FoundSegment& segment : facts_.segments) {
    const LsnRange range = segment.range();
    facts_.last_lsn = std::max(facts_.last_lsn, range.last);
    if (!facts_.manifest.has_value() || range.last <= end) continue;
    facts_.findings.push_back(
        FindingOf("log_end", segment.path,
                  fmt::format("a segment of the rows {} to {}, but manifest and log end at LSN {}",
                              range.first.value, range.last.value, end.value)));
  }
}

bool Inspector::IsOfOtherHistory(uint64_t number, bool listed) const {
  if (!facts_.journal.has_value()) return false;
  return facts_.journal_committed ? !listed : number >= facts_.journal->first_number;
}

Result<RepairFacts> Inspector::Run() {
  facts_.cache = std::make_unique<BlockCache>(kCacheBytes);
  facts_.misnamed_cache = std::make_unique<BlockCache>(kCacheBytes / 8);
  TALLY_RETURN_IF_ERROR(ReadNames());
  TALLY_RETURN_IF_ERROR(ReadManifests());
  NoteIds();
  TALLY_RETURN_IF_ERROR(ReadIdentity());
  TALLY_RETURN_IF_ERROR(ChooseManifest());
  TALLY_RETURN_IF_ERROR(ReadJournal());
  if (facts_.unfinished_creation) return std::move(facts_);
  UseOlderManifest();
  CountNumbers();

  std::set<uint64_t> listed;
  if (facts_.manifest.has_value()) {
    for (const ListedSegment& segment : facts_.manifest->segments) {
      listed.insert(segment.number.value);
    }
    for (const ListedWalFile& file : facts_.manifest->wal_files) listed.insert(file.number.value);
  }
  const auto other = [&](uint64_t number) {
    return IsOfOtherHistory(number, listed.contains(number));
  };
  std::erase_if(segment_numbers_, other);
  std::erase_if(log_numbers_, other);
  TALLY_RETURN_IF_ERROR(InspectSegments(fs_, layout_, segment_numbers_, &facts_));
  TALLY_RETURN_IF_ERROR(InspectLog(fs_, layout_, log_numbers_, &facts_));
  NoteLogEnd();
  return std::move(facts_);
}

}  // namespace

bool RepairFacts::damaged() const {
  return std::ranges::any_of(findings, [](const RepairFinding& finding) {
    return finding.kind == RepairFinding::Kind::kDamage;
  });
}

Result<std::vector<std::string>> NamesOf(FileSystem& fs, const std::string& dir) {
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(dir));
  if (!there) return std::vector<std::string>();
  TALLY_ASSIGN_OR_RETURN(auto names, fs.List(dir));
  std::ranges::sort(names);  // a directory lists in any order
  return names;
}

Status CheckThatItOpens(FileSystem& fs, const std::string& path) {
  const auto file = fs.Open(path, OpenMode::kRead);
  if (file.ok() || file.status().code() == StatusCode::kNotFound) return Status::Ok();
  return Status(file.status().code(), file.status().reason(),
                file.status().message() + " (it is there, and whether it is damaged is not known)");
}

RepairFinding FindingOf(std::string_view code, const std::string& file, const std::string& what) {
  RepairFinding finding{.code = std::string(code), .file = file, .what = what};
  constexpr std::string_view kAt = " at offset ";
  if (const size_t at = what.find(kAt); at != std::string::npos) {
    uint64_t offset = 0;
    const char* begin = what.data() + at + kAt.size();
    if (std::from_chars(begin, what.data() + what.size(), offset).ec == std::errc()) {
      finding.offset = offset;
    }
  }
  return finding;
}

RepairFinding FindingOf(std::string_view code, const std::string& file, const Status& status) {
  const bool io_error = status.code() == StatusCode::kIoError;
  return FindingOf(io_error ? "unreadable" : code, file, status.message());
}

Result<RepairFacts> InspectForRepair(FileSystem& fs, const Layout& layout,
                                     const RepairOptions& options) {
  return Inspector(fs, layout, options).Run();
}

}  // namespace tallystick
