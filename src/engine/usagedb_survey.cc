#include "engine/usagedb_survey.h"

#include <fmt/format.h>

#include <bit>
#include <map>
#include <set>

#include "base/check.h"
#include "base/result.h"
#include "model/event_check.h"
#include "usagedb/event_hash.h"
#include "usagedb/udbidx01.h"
#include "usagedb/wal_line.h"

namespace tallystick {
namespace {

constexpr uint64_t kProgressRows = 1 << 16;

// The ids seen so far, each with the payload of its first copy: open addressing, at most two thirds
// full. A hash of zeros alone marks an empty slot; no text is known to have it.
class SeenIds {
 public:
  SeenIds() : slots_(1 << 12) {}

  enum class Seen : uint8_t { kNew, kSame, kOther };
  Seen Insert(const EventHash& id, uint64_t payload) {
    if ((used_ + 1) * 3 > slots_.size() * 2) Grow();
    Slot& slot = Find(id);
    if (slot.id == id) return slot.payload == payload ? Seen::kSame : Seen::kOther;
    slot = {id, payload};
    ++used_;
    return Seen::kNew;
  }
  bool Contains(const EventHash& id) { return Find(id).id == id; }

 private:
  struct Slot {
    EventHash id;
    uint64_t payload = 0;
  };

  Slot& Find(const EventHash& id) {
    const size_t mask = slots_.size() - 1;
    size_t at = std::rotl(id.Low(), 32) & mask;  // shares are cut by the low bits
    while (slots_[at].id != id && slots_[at].id != EventHash{}) at = (at + 1) & mask;
    return slots_[at];
  }
  void Grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.id != EventHash{}) Find(slot.id) = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
};

class Surveyor {
 public:
  Surveyor(UsageDbSource& source, const UsageDbImportOptions& options)
      : source_(source), options_(options) {}

  Result<UsageDbSurvey> Run() {
    const usagedb::Directory& directory = source_.directory();
    NoteManifest(directory);
    TALLY_ASSIGN_OR_RETURN(rows_about_, source_.RowsAbout([this](UsageDbDamage fault) {
      AddDamage(std::move(fault));
    }));
    out_.files.resize(directory.manifest.raw_segments.size() + directory.live_logs.size());
    shares_ = 1 + rows_about_ / options_.keys_per_pass;
    for (share_ = 0; share_ < shares_; ++share_) TALLY_RETURN_IF_ERROR(RunShare());
    Finish();
    return std::move(out_);
  }

 private:
  UsageDbImportReport& report() { return out_.report; }

  void NoteManifest(const usagedb::Directory& directory) {
    report().manifest_file = directory.manifest_file;
    report().segments = directory.manifest.raw_segments.size();
    report().logs = directory.live_logs.size();
    report().leftovers = directory.leftovers;
    for (const usagedb::ClosedPeriod& closed : directory.manifest.closed_periods) {
      UsageDbClosedPeriod& period = report().closed_periods.emplace_back();
      period.account_id = closed.account_id;
      period.period = fmt::format("{:04}-{:02}", closed.year, closed.month);
      period.closed_at_ms = closed.closed_at_ms;
      if (closed.frozen_quantity.has_value()) {
        period.frozen_quantity = Quantity::FromInteger(*closed.frozen_quantity).ToString();
      }
      period.frozen_event_count = closed.frozen_event_count;
    }
    for (const std::string& file : directory.newer_manifests) {
      AddDamage(
          {file,
           "is newer than what CURRENT says: a save that did not finish, or CURRENT is wrong"});
    }
    for (const auto& [file, what] : directory.log_faults) AddDamage({file, what});
  }

  void AddDamage(UsageDbDamage damage) {
    ++report().damages;
    if (report().damaged.size() < UsageDbImportReport::kListedMax) {
      report().damaged.push_back(std::move(damage));
    }
  }

  Status RunShare() {
    seen_ = SeenIds();
    ordinal_ = 0;
    UsageDbSource::Visitor visitor;
    visitor.file = [this](size_t file) {
      file_ = file;
      if (share_ == 0) out_.files[file] = {ordinal_, ordinal_};
      return true;
    };
    visitor.row = [this](const usagedb::Row& row) { return VisitRow(row); };
    if (share_ == 0) {
      visitor.segment_end = [this](const usagedb::SegmentMeta& meta) { CompareSidecar(meta); };
      visitor.damage = [this](UsageDbDamage damage) {
        entries_.clear();
        AddDamage(std::move(damage));
      };
    }
    TALLY_RETURN_IF_ERROR(source_.Walk(visitor));
    if (share_ > 0 && ordinal_ != out_.fates.size()) {
      return Status::FailedPrecondition("source_changed",
                                        "the source has changed while it was read");
    }
    visitor.row = [this](const usagedb::Row& row) { return VisitSealed(row); };
    TALLY_RETURN_IF_ERROR(source_.WalkSealed(visitor));
    return LookIntoLeftovers();
  }

  // A flush or a compaction that usageDb did not finish leaves copies of what is elsewhere too. But
  // where its manifest was lost, or the log was removed too early, they are all there is.
  Status LookIntoLeftovers() {
    for (const std::string& name : source_.directory().leftovers) {
      if (usagedb::IsSegmentName(name)) TALLY_RETURN_IF_ERROR(LookIntoLeftover(name));
    }
    return Status::Ok();
  }

  Status LookIntoLeftover(const std::string& name) {
    uint64_t events = 0;
    const Status status = source_.WalkLeftover(name, [&](const usagedb::Row& row) {
      const EventHash id = usagedb::HashOfId(row.event.event_id);
      if (IsMine(id) && !seen_.Contains(id) && !WhyRefused(row.event)) ++events;
    });
    if (status.code() == StatusCode::kNotFound) return Status::Ok();  // listed, but gone
    if (!status.ok() && status.code() != StatusCode::kCorruption) return status;
    if (status.ok() && events == 0) return Status::Ok();
    UsageDbLeftover& found = leftover_segments_[name];
    found.file = name;
    found.events += events;
    found.fault = status.message();
    return Status::Ok();
  }

  bool IsMine(const EventHash& id) const { return id.Low() % shares_ == share_; }

  Status VisitRow(const usagedb::Row& row) {
    if (options_.progress && ordinal_ % kProgressRows == 0) {
      options_.progress({"reading", share_ * rows_about_ + ordinal_, shares_ * rows_about_});
    }
    const uint64_t ordinal = ordinal_++;
    const EventHash id = usagedb::HashOfId(row.event.event_id);
    const bool mine = IsMine(id);
    if (share_ == 0) {
      out_.fates.push_back(RowFate::kRefused);
      out_.files[file_].end = ordinal_;
    }
    if (!mine && share_ > 0) return Status::Ok();
    const EventHash payload = usagedb::HashOfPayload(row.event, &scratch_);
    if (share_ == 0 && !source_.place().in_log)
      entries_.push_back({id, payload, row.ingested_at_ms});
    if (!mine) return Status::Ok();
    if (ordinal >= out_.fates.size()) return Status::Ok();  // told by RunShare
    const RowFate fate = Judge(row.event, id, payload.Low());
    out_.fates[ordinal] = fate;
    out_.files[file_].has_copies |= fate == RowFate::kDuplicate || fate == RowFate::kConflict;
    return Status::Ok();
  }

  RowFate Judge(const EventView& event, const EventHash& id, uint64_t payload) {
    if (Refuse(event)) return RowFate::kRefused;
    switch (seen_.Insert(id, payload)) {
      case SeenIds::Seen::kNew:
        ++report().events;
        TotalOf(event).Add(event.quantity);
        return RowFate::kFirst;
      case SeenIds::Seen::kSame:
        ++report().duplicates;
        return RowFate::kDuplicate;
      case SeenIds::Seen::kOther:
        break;
    }
    ++report().conflicts;
    if (report().conflicting.size() < UsageDbImportReport::kListedMax) {
      const SourcePlace& place = source_.place();
      report().conflicting.push_back({std::string(event.event_id), place.file, place.place});
    }
    return RowFate::kConflict;
  }

  static std::optional<Rejection> WhyRefused(const EventView& event) {
    auto bad = CheckEventFormat(event);
    if (!bad && event.timestamp_ms == INT64_MAX) {
      bad =
          Rejection{"invalid_timestamp", "timestamp_ms", "no range ends behind this timestamp_ms"};
    }
    return bad;
  }

  bool Refuse(const EventView& event) {
    auto bad = WhyRefused(event);
    if (!bad) return false;
    ++report().refused;
    if (report().refused_events.size() < UsageDbImportReport::kListedMax) {
      const SourcePlace& place = source_.place();
      report().refused_events.push_back({std::string(event.event_id), place.file, place.place,
                                         std::move(bad->code), std::move(bad->message)});
    }
    return true;
  }

  // Neighbours are mostly of one account and meter.
  UsageTotal& TotalOf(const EventView& event) {
    if (last_ == out_.totals.end() || last_->first.first != event.account_id ||
        last_->first.second != event.meter_id) {
      last_ = out_.totals.try_emplace({std::string(event.account_id), std::string(event.meter_id)})
                  .first;
    }
    return last_->second;
  }

  // What the manifest calls flushed must be there: a log that was sealed too early holds events
  // that no segment has. Events that cannot be held are not among those seen, wherever they stand.
  Status VisitSealed(const usagedb::Row& row) {
    const EventHash id = usagedb::HashOfId(row.event.event_id);
    if (!IsMine(id) || WhyRefused(row.event) || seen_.Contains(id)) return Status::Ok();
    const SourcePlace& place = source_.place();
    AddDamage({place.file,
               fmt::format("line {}: event {} is in no segment, though the manifest says that "
                           "all of this log is",
                           place.place, row.event.event_id)});
    return Status::Ok();
  }

  void CompareSidecar(const usagedb::SegmentMeta& meta) {
    const std::string path =
        udbidx01::IndexPath(usagedb::SegmentPath(source_.directory().root, meta));
    const auto found = udbidx01::ReadDedupeIndex(source_.fs(), path);
    std::string what;
    if (!found.ok()) {
      what = found.status().message();
    } else if (!found->has_value()) {
      ++report().sidecars_missing;
    } else if (**found != entries_) {
      what = "its entries are not the hashes of the segment's rows";
    } else {
      ++report().sidecars_hit;
    }
    if (!what.empty()) {
      ++report().sidecars_corrupt;
      report().sidecar_faults.push_back({path, what});
    }
    entries_.clear();
  }

  void Finish() {
    for (auto& [name, found] : leftover_segments_) {
      report().leftover_events += found.events;
      report().leftover_segments.push_back(std::move(found));
    }
    report().rows = out_.fates.size();
    std::set<std::string_view> accounts;
    std::set<std::string_view> meters;
    ExactSum sum;
    for (const auto& [key, total] : out_.totals) {
      accounts.insert(key.first);
      meters.insert(key.second);
      sum.Add(total.sum);
    }
    report().accounts = accounts.size();
    report().meters = meters.size();
    report().quantity = sum.ToString();
  }

  UsageDbSource& source_;
  const UsageDbImportOptions& options_;
  UsageDbSurvey out_;
  UsageTotals::iterator last_ = out_.totals.end();
  uint64_t rows_about_ = 0;
  uint64_t shares_ = 1;
  uint64_t share_ = 0;
  SeenIds seen_;
  uint64_t ordinal_ = 0;
  size_t file_ = 0;
  std::map<std::string, UsageDbLeftover> leftover_segments_;
  std::vector<udbidx01::DedupeEntry> entries_;  // of the segment that is read
  Bytes scratch_;
};

std::string LineFault(const usagedb::LogReader::Line& line, const Status& status) {
  return fmt::format("line {} at offset {}: {}{}", line.number, line.offset, status.message(),
                     line.ended ? "" : " (the file ends within this line)");
}

}  // namespace

Result<std::unique_ptr<UsageDbSource>> UsageDbSource::Open(FileSystem& fs,
                                                           const std::string& root) {
  std::unique_ptr<UsageDbSource> source(new UsageDbSource(fs));
  const std::string lock = usagedb::LockPath(root);
  TALLY_ASSIGN_OR_RETURN(const bool has_lock, fs.Exists(lock));
  if (has_lock) {
    auto held = fs.LockForeign(lock);
    if (held.status().reason() == "locked") {
      return Status::FailedPrecondition(
          "source_locked", held.status().message() + ": a usageDb runs on it; stop it first");
    }
    if (!held.ok()) return held.status();
    source->lock_ = *std::move(held);
  }
  TALLY_ASSIGN_OR_RETURN(source->directory_, usagedb::ReadDirectory(fs, root));
  source->segment_damaged_.resize(source->directory_.manifest.raw_segments.size());
  return source;
}

Result<uint64_t> UsageDbSource::RowsAbout(const std::function<void(UsageDbDamage)>& damage) {
  constexpr uint64_t kLineBytesAbout = 100;  // fewer than a line of usageDb's has
  uint64_t all = 0;
  for (size_t i = 0; i < segment_damaged_.size(); ++i) {
    const usagedb::SegmentMeta& meta = directory_.manifest.raw_segments[i];
    const std::string path = usagedb::SegmentPath(directory_.root, meta);
    const auto rows = usagedb::RowsAbout(fs_, path);
    if (rows.ok()) {
      all += *rows;
    } else {
      segment_damaged_[i] = true;
      damage({path, fmt::format("{} rows: {}", meta.row_count, rows.status().message())});
    }
  }
  for (const uint64_t id : directory_.live_logs) {
    TALLY_ASSIGN_OR_RETURN(const auto log,
                           usagedb::LogReader::Open(fs_, usagedb::LogPath(directory_.root, id)));
    all += log.bytes() / kLineBytesAbout;
  }
  return all;
}

Status UsageDbSource::Walk(const Visitor& visitor) {
  for (size_t i = 0; i < segment_damaged_.size(); ++i) {
    if (segment_damaged_[i] || (visitor.file && !visitor.file(i))) continue;
    TALLY_RETURN_IF_ERROR(WalkSegment(i, visitor));
  }
  size_t file = segment_damaged_.size();
  for (const uint64_t id : directory_.live_logs) {
    if (visitor.file && !visitor.file(file++)) continue;
    TALLY_RETURN_IF_ERROR(WalkLog(id, damage_known_, visitor));
  }
  damage_known_ = true;
  return Status::Ok();
}

Status UsageDbSource::WalkSealed(const Visitor& visitor) {
  for (const uint64_t id : directory_.sealed_logs) {
    TALLY_RETURN_IF_ERROR(WalkLog(id, /*skip_bad_lines=*/true, visitor));
  }
  return Status::Ok();
}

Status UsageDbSource::WalkLeftover(const std::string& name,
                                   const std::function<void(const usagedb::Row&)>& on_row) {
  const std::string path = JoinPath(directory_.root, name);
  TALLY_RETURN_IF_ERROR(ReadWholeFileInto(fs_, path, usagedb::kSegmentBytesMax, &buffer_));
  TALLY_ASSIGN_OR_RETURN(const auto segment, usagedb::DecodeSegment(buffer_));
  for (uint32_t row = 0; row < segment.rows.size(); ++row) on_row(segment.rows.Get(row));
  return Status::Ok();
}

Status UsageDbSource::WalkSegment(size_t index, const Visitor& visitor) {
  const usagedb::SegmentMeta& meta = directory_.manifest.raw_segments[index];
  place_ = {usagedb::SegmentPath(directory_.root, meta), 0, /*in_log=*/false};
  const auto rows = usagedb::ReadSegment(fs_, directory_.root, meta, &buffer_);
  if (!rows.ok()) {
    if (!visitor.damage) return rows.status();
    segment_damaged_[index] = true;
    visitor.damage(
        {place_.file, fmt::format("{} rows: {}", meta.row_count, rows.status().message())});
    return Status::Ok();
  }
  for (uint32_t row = 0; row < rows->size(); ++row) {
    place_.place = row;
    TALLY_RETURN_IF_ERROR(visitor.row(rows->Get(row)));
  }
  if (visitor.segment_end) visitor.segment_end(meta);
  return Status::Ok();
}

Status UsageDbSource::WalkLog(uint64_t id, bool skip_bad_lines, const Visitor& visitor) {
  place_ = {usagedb::LogPath(directory_.root, id), 0, /*in_log=*/true};
  TALLY_ASSIGN_OR_RETURN(usagedb::LogReader reader, usagedb::LogReader::Open(fs_, place_.file));
  usagedb::WalLineParser parser;
  while (true) {
    TALLY_ASSIGN_OR_RETURN(const auto line, reader.Next());
    if (!line.has_value()) return Status::Ok();
    const auto row = parser.Parse(line->text);
    place_.place = line->number;
    if (row.ok()) {
      TALLY_RETURN_IF_ERROR(visitor.row(*row));
    } else if (!skip_bad_lines) {
      TALLY_CHECK(visitor.damage != nullptr);
      visitor.damage({place_.file, LineFault(*line, row.status())});
    }
  }
}

Result<UsageDbSurvey> SurveyUsageDb(UsageDbSource& source, const UsageDbImportOptions& options) {
  return Surveyor(source, options).Run();
}

}  // namespace tallystick
