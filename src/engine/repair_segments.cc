// Segments: which verify whole, and of the others which row groups can be read, row by row. Of rows
// that cannot, what footers, zones, account indexes and rollups say about them.
#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "dedupe/sidecar_reader.h"
#include "engine/repair_facts.h"
#include "env/number_name.h"
#include "rollup/rollup_cursor.h"
#include "segment/segment_file.h"

namespace tallystick {
namespace {

// Reads the rows of a segment of which something does not verify.
class Salvager {
 public:
  Salvager(FoundSegment* segment, std::vector<RepairFinding>* findings)
      : segment_(*segment),
        rows_(*segment->rows),
        info_(segment->rows->info()),
        findings_(findings) {}

  void Run() {
    segment_.bad_group.assign(rows_.group_count(), true);
    seen_.assign(info_.rows, false);
    if (DictionariesRead()) {
      SegmentCursor cursor(rows_, kAllSegmentColumns);
      for (uint32_t group = 0; group < rows_.group_count(); ++group) {
        const Status status = ReadGroup(cursor, group);
        segment_.bad_group[group] = !status.ok();
        if (!status.ok()) Report(status);
      }
    }
    for (uint64_t place = 0; place < info_.rows; ++place) {
      if (!seen_[place]) continue;
      const Lsn lsn{info_.first_lsn.value + place};
      segment_.present.Add({lsn, lsn});
    }
  }

 private:
  // A bad dictionary takes all rows with it, and is asked for once.
  bool DictionariesRead() {
    for (size_t i = 0; i < kDictionaryCount; ++i) {
      if (i == kDimensionDictionary && rows_.file().footer().dimensions_by_key) continue;
      const auto dictionary = LoadDictionary(rows_.file(), i);
      if (dictionary.ok()) continue;
      Report(dictionary.status());
      return false;
    }
    return true;
  }

  Status ReadGroup(SegmentCursor& cursor, uint32_t group) {
    const uint64_t first = uint64_t{group} * info_.group_rows;
    const uint64_t end = std::min<uint64_t>(first + info_.group_rows, info_.rows);
    std::vector<uint64_t> places;
    for (uint64_t row = first; row < end; ++row) {
      TALLY_RETURN_IF_ERROR(cursor.Seek(static_cast<uint32_t>(row)));
      const Lsn lsn = cursor.lsn();
      if (lsn < info_.first_lsn || lsn > info_.last_lsn ||
          seen_[lsn.value - info_.first_lsn.value]) {
        return Status::Corruption(fmt::format("{}: row {} has LSN {}, which is not its own",
                                              rows_.path(), row, lsn.value));
      }
      canonical_.clear();
      EncodeRow(cursor.row(), canonical_);
      if (RowView view; !DecodeCanonical(canonical_, &view)) {
        return Status::Corruption(fmt::format("{}: row {} is no event", rows_.path(), row));
      }
      places.push_back(lsn.value - info_.first_lsn.value);
    }
    for (const uint64_t place : places) {
      if (seen_[place]) return Status::Corruption(rows_.path() + ": an LSN stands twice");
    }
    for (const uint64_t place : places) seen_[place] = true;
    return Status::Ok();
  }

  void Report(const Status& status) {
    RepairFinding finding = FindingOf("segment_blocks", segment_.path, status);
    const bool known = std::ranges::any_of(
        *findings_, [&](const RepairFinding& other) { return other.what == finding.what; });
    if (!known) findings_->push_back(std::move(finding));
  }

  FoundSegment& segment_;
  const SegmentReader& rows_;
  const SegmentInfo& info_;
  std::vector<RepairFinding>* findings_;
  std::vector<bool> seen_;  // by place in the segment's range
  Bytes canonical_;
};

// What the tables of a damaged segment say of the rows in its bad groups.
class BadGroups {
 public:
  explicit BadGroups(const FoundSegment& segment) : segment_(segment), rows_(*segment.rows) {}

  KnownRows Known() const {
    const SegmentInfo& info = rows_.info();
    return {.file = segment_.path,
            .range = segment_.range(),
            .counted = info.rows - info.quarantined,
            .quantity = segment_.quantity,
            .timestamps_ms = Timestamps(),
            .accounts = Accounts()};
  }

 private:
  std::pair<int64_t, int64_t> Timestamps() const {
    const SegmentInfo& info = rows_.info();
    int64_t from = INT64_MAX, to = INT64_MIN;
    for (uint32_t group = 0; group < rows_.group_count(); ++group) {
      if (!segment_.bad_group[group]) continue;
      const auto zone = rows_.Zone(group);
      if (!zone.ok()) return {info.timestamp_min_ms, info.timestamp_max_ms};
      from = std::min(from, zone->timestamp_min_ms);
      to = std::max(to, zone->timestamp_max_ms);
    }
    return {std::max(from, info.timestamp_min_ms), std::min(to, info.timestamp_max_ms)};
  }

  // By account: its rows in bad groups. Empty where dictionary or index cannot be read.
  std::vector<std::pair<std::string, uint64_t>> Accounts() const {
    const auto starts = rows_.AccountStarts();
    const auto accounts = LoadDictionary(rows_.file(), 0);
    if (!starts.ok() || !accounts.ok()) return {};
    std::vector<std::pair<std::string, uint64_t>> out;
    const uint32_t group_rows = rows_.info().group_rows;
    for (size_t code = 0; code + 1 < starts->size(); ++code) {
      uint64_t bad = 0;
      for (uint64_t row = (*starts)[code]; row < (*starts)[code + 1];) {
        const uint64_t group = row / group_rows;
        const uint64_t end = std::min<uint64_t>((group + 1) * group_rows, (*starts)[code + 1]);
        if (segment_.bad_group[group]) bad += end - row;
        row = end;
      }
      std::string_view text;
      if (bad > 0 && accounts->view.Get(code, &text)) out.emplace_back(text, bad);
    }
    return out;
  }

  const FoundSegment& segment_;
  const SegmentReader& rows_;
};

class SegmentInspector {
 public:
  SegmentInspector(FileSystem& fs, const Layout& layout, RepairFacts* facts)
      : fs_(fs), layout_(layout), facts_(*facts) {}

  void Inspect(uint64_t number, const ListedSegment* listed);
  void NoteMissing(const ListedSegment& listed);
  // Of a segment that cannot be read, from what lies beside it.
  void NoteSiblings(FileNumber number, const ListedSegment* listed);

 private:
  Result<std::unique_ptr<SegmentReader>> Open(const std::string& path, FileNumber number,
                                              bool* misnamed);
  RepairFinding::Kind KindOf(const ListedSegment* listed) const {
    // A file that the manifest does not name is an orphan, whatever is in it.
    return listed != nullptr || !facts_.manifest.has_value() ? RepairFinding::Kind::kDamage
                                                             : RepairFinding::Kind::kNote;
  }
  void Add(RepairFinding finding, const ListedSegment* listed) {
    finding.kind = KindOf(listed);
    facts_.findings.push_back(std::move(finding));
  }
  void AddRollup(KnownRows* known, FileNumber number, uint64_t segment_checksum) const;

  FileSystem& fs_;
  const Layout& layout_;
  RepairFacts& facts_;
};

Result<std::unique_ptr<SegmentReader>> SegmentInspector::Open(const std::string& path,
                                                              FileNumber number, bool* misnamed) {
  const DatabaseId& id = facts_.identity.database_id;
  TALLY_ASSIGN_OR_RETURN(const auto file, SegmentFile::Open(fs_, path, *facts_.cache));
  *misnamed = file->info().number != number;
  return SegmentReader::Open(fs_, path, {id, file->info().number, 0},
                             *misnamed ? *facts_.misnamed_cache : *facts_.cache);
}

void SegmentInspector::Inspect(uint64_t number, const ListedSegment* listed) {
  FoundSegment found{.path = JoinPath(layout_.segment_dir, SegmentFileName({number}))};
  auto rows = Open(found.path, {number}, &found.misnamed);
  if (!rows.ok()) {
    Add(FindingOf("segment_unreadable", found.path, rows.status()), listed);
    return NoteSiblings({number}, listed);
  }
  found.rows = *std::move(rows);
  const SegmentInfo& info = found.rows->info();
  found.quantity = found.rows->file().footer().quantity;
  found.listed = listed != nullptr && !found.misnamed &&
                 info.footer_checksum == listed->footer_checksum &&
                 info.first_lsn == listed->first_lsn && info.last_lsn == listed->last_lsn &&
                 info.rows == listed->rows && info.bytes == listed->bytes;
  if (found.misnamed || (listed != nullptr && !found.listed)) {
    Add(FindingOf(
            "segment_unreadable", found.path,
            fmt::format("{}: its footer is that of segment {}, rows {} to {}, and not the one "
                        "that belongs here",
                        found.path, info.number.value, info.first_lsn.value, info.last_lsn.value)),
        listed);
    NoteSiblings({number}, listed);
  }
  found.status = CheckSegment(*found.rows, {}).status();
  if (found.whole()) {
    found.present.Add(found.range());
  } else {
    std::vector<RepairFinding> findings = {FindingOf("segment_blocks", found.path, found.status)};
    Salvager(&found, &findings).Run();
    if (const auto times = found.rows->CommitTimes(); !times.ok()) {
      findings.push_back(FindingOf("commit_times", found.path, times.status()));
    }
    for (RepairFinding& finding : findings)
      Add(std::move(finding), found.listed ? listed : nullptr);
    if (found.listed || !facts_.manifest.has_value()) {
      facts_.known.push_back(BadGroups(found).Known());
    }
  }
  facts_.segments.push_back(std::move(found));
}

void SegmentInspector::NoteMissing(const ListedSegment& listed) {
  const std::string path = JoinPath(layout_.segment_dir, SegmentFileName(listed.number));
  Add(FindingOf("segment_missing", path, "the manifest lists it, and it is not there"), &listed);
  NoteSiblings(listed.number, &listed);
}

void SegmentInspector::NoteSiblings(FileNumber number, const ListedSegment* listed) {
  if (KindOf(listed) != RepairFinding::Kind::kDamage) return;
  KnownRows known{.file = JoinPath(layout_.segment_dir, SegmentFileName(number))};
  const auto binding =
      SidecarReader::ReadBinding(fs_, JoinPath(layout_.segment_dir, SidecarFileName(number)));
  if (listed != nullptr) {
    known.range = {listed->first_lsn, listed->last_lsn};
  } else if (binding.ok() && binding->database_id == facts_.identity.database_id &&
             binding->number == number) {
    known.range = {binding->first_lsn, binding->last_lsn};
  }
  AddRollup(&known, number, listed == nullptr ? 0 : listed->footer_checksum);
  if (known.range.first.value == 0) return;  // nothing is known
  facts_.last_lsn = std::max(facts_.last_lsn, known.range.last);
  facts_.known.push_back(std::move(known));
}

// The lines of all accounts together have every counted row, where they are kept.
void SegmentInspector::AddRollup(KnownRows* known, FileNumber number,
                                 uint64_t segment_checksum) const {
  const auto reader = RollupReader::OpenAlone(
      fs_, JoinPath(layout_.segment_dir, RollupFileName(number)), *facts_.cache);
  if (!reader.ok()) return;
  const RollupFooter& footer = (*reader)->footer();
  if (footer.database_id != facts_.identity.database_id || footer.number != number ||
      (segment_checksum != 0 && footer.segment_checksum != segment_checksum)) {
    return;
  }
  if (known->range.first.value == 0) known->range = {footer.first_lsn, footer.last_lsn};
  auto lines = RollupCursor::Open(**reader);
  if (!lines.ok() || lines->LinesOf(0).empty()) return;
  uint64_t counted = 0;
  ExactSum quantity;
  std::pair<int64_t, int64_t> timestamps_ms = {INT64_MAX, INT64_MIN};
  while (lines->next() < lines->LinesOf(0).end) {
    if (!lines->Next().ok()) return;
    const RollupLine& line = lines->line();
    counted += line.count;
    quantity.Add(line.sum);
    const int64_t from = line.key.hour_start_ms;
    timestamps_ms.first = std::min(timestamps_ms.first, from);
    const int64_t to = from > INT64_MAX - kHourMs ? INT64_MAX : from + kHourMs - 1;
    timestamps_ms.second = std::max(timestamps_ms.second, to);
  }
  known->counted = counted;
  known->quantity = quantity;
  known->timestamps_ms = timestamps_ms;
}

}  // namespace

Status InspectSegments(FileSystem& fs, const Layout& layout, const std::set<uint64_t>& candidates,
                       RepairFacts* facts) {
  SegmentInspector inspector(fs, layout, facts);
  const std::vector<ListedSegment> listed =
      facts->manifest.has_value() ? facts->manifest->segments : std::vector<ListedSegment>();
  for (const uint64_t number : candidates) {
    TALLY_RETURN_IF_ERROR(
        CheckThatItOpens(fs, JoinPath(layout.segment_dir, SegmentFileName({number}))));
    const auto entry = std::ranges::find(listed, FileNumber{number}, &ListedSegment::number);
    inspector.Inspect(number, entry == listed.end() ? nullptr : &*entry);
  }
  for (const ListedSegment& segment : listed) {
    if (!candidates.contains(segment.number.value)) inspector.NoteMissing(segment);
  }
  if (facts->manifest.has_value()) return Status::Ok();
  // Sidecars and rollups without a segment tell of one that is gone.
  const auto names = NamesOf(fs, layout.segment_dir);
  std::set<uint64_t> gone;
  for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
    if (!name.ends_with(".idx") && !name.ends_with(".sum")) continue;
    const auto number = ParseNumberName(name.substr(0, name.size() - 4));
    if (number.has_value() && !candidates.contains(*number)) gone.insert(*number);
  }
  for (const uint64_t number : gone) inspector.NoteSiblings({number}, nullptr);
  return Status::Ok();
}

void InspectSiblings(FileSystem& fs, const Layout& layout, const FoundSegment& segment,
                     std::vector<RepairFinding>* findings) {
  const SegmentInfo& info = segment.rows->info();
  const auto add = [&](const std::string& path, const Status& status) {
    if (status.ok()) return;
    RepairFinding finding = FindingOf("rebuilt_by_start", path, status.message());
    finding.kind = RepairFinding::Kind::kRebuilt;
    findings->push_back(std::move(finding));
  };
  const std::string keys = JoinPath(layout.segment_dir, SidecarFileName(info.number));
  const auto sidecar = SidecarReader::Open(fs, keys,
                                           {info.database_id, info.number, info.first_lsn,
                                            info.last_lsn, info.rows, info.footer_checksum});
  add(keys, sidecar.ok() ? CheckSidecar(**sidecar) : sidecar.status());
  const std::string sums = JoinPath(layout.segment_dir, RollupFileName(info.number));
  BlockCache cache(1 << 20);
  const auto rollup = RollupReader::Open(fs, sums, info, cache);
  add(sums, rollup.ok() ? DigestOf(**rollup, {}).status() : rollup.status());
}

}  // namespace tallystick
