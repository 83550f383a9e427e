#include "engine/repair_orphans.h"

#include <algorithm>
#include <map>

#include "base/result.h"
#include "dedupe/sidecar_reader.h"
#include "engine/sidecar_rebuild.h"
#include "model/identity.h"

namespace tallystick {
namespace {

class Finder {
 public:
  Finder(FileSystem& fs, const Layout& layout, const RepairFacts& facts,
         std::span<const FoundSegment* const> whole, uint32_t rows_max, RepairRows* rows)
      : fs_(fs), layout_(layout), facts_(facts), whole_(whole), rows_max_(rows_max), rows_(*rows) {}

  Result<LsnSet> Run(Lsn first_lost) {
    TALLY_RETURN_IF_ERROR(FindConflicts(first_lost));
    if (conflicts_.empty()) return LsnSet();
    for (const FoundSegment* segment : whole_) TALLY_RETURN_IF_ERROR(DropFound(*segment));
    const auto counted = [this](const EventHash& id, Disposition disposition, Lsn) {
      if (disposition == Disposition::kCounted) conflicts_.erase(id);
    };
    const LsnSet not_whole = NotWhole();
    for (const LsnRange& range : not_whole.ranges()) {
      TALLY_RETURN_IF_ERROR(ForEachId(range, counted));
    }
    LsnSet orphans;
    for (const auto& [id, lsns] : conflicts_) {
      for (const Lsn lsn : lsns) orphans.Add({lsn, lsn});
    }
    return orphans;
  }

 private:
  // What comes before the first lost row has its original before it.
  Status FindConflicts(Lsn first_lost) {
    const auto conflict = [&](const EventHash& id, Disposition disposition, Lsn lsn) {
      if (disposition == Disposition::kQuarantined && lsn > first_lost) {
        conflicts_[id].push_back(lsn);
      }
    };
    const LsnSet not_whole = NotWhole();
    for (const LsnRange& range : not_whole.ranges()) {
      if (range.last > first_lost) TALLY_RETURN_IF_ERROR(ForEachId(range, conflict));
    }
    for (const FoundSegment* segment : whole_) {
      if (segment->rows->info().quarantined == 0 || segment->range().last < first_lost) continue;
      TALLY_RETURN_IF_ERROR(ForEachId(segment->range(), conflict));
    }
    return Status::Ok();
  }

  LsnSet NotWhole() const {
    LsnSet whole;
    for (const FoundSegment* segment : whole_) whole.Add(segment->range());
    return whole.MissingOf({{1}, facts_.last_lsn});
  }

  template <typename Visit>
  Status ForEachId(LsnRange range, const Visit& visit) {
    return rows_.ForEachChunk(range, rows_max_, [&](const RepairChunk& chunk) {
      for (size_t i = 0; i < chunk.records.size(); ++i) {
        const ByteSpan canonical = chunk.records[i].canonical;
        visit(IdHash(facts_.identity.scope, CanonicalAccountId(canonical),
                     CanonicalEventId(canonical)),
              chunk.records[i].disposition, chunk.lsns[i]);
      }
      return Status::Ok();
    });
  }

  // Forgets the conflicts whose originals are in the segment: by its sidecar, or by its rows.
  Status DropFound(const FoundSegment& segment) {
    if (conflicts_.empty()) return Status::Ok();
    const SegmentInfo& info = segment.rows->info();
    const auto sidecar =
        SidecarReader::Open(fs_, JoinPath(layout_.segment_dir, SidecarFileName(info.number)),
                            {info.database_id, info.number, info.first_lsn, info.last_lsn,
                             info.rows, info.footer_checksum});
    std::vector<EventHash> keys;
    std::vector<uint32_t> places;
    for (const auto& [id, lsns] : conflicts_) {
      places.push_back(static_cast<uint32_t>(keys.size()));
      keys.push_back(id);
    }
    std::vector<std::optional<SidecarReader::Found>> found(keys.size());
    if (sidecar.ok() && (*sidecar)->Find(keys, places, found).ok()) {
      for (size_t i = 0; i < keys.size(); ++i) {
        if (found[i].has_value()) conflicts_.erase(keys[i]);
      }
      return Status::Ok();
    }
    TALLY_ASSIGN_OR_RETURN(const auto entries, KeysOfSegment(*segment.rows, facts_.identity.scope));
    for (const SidecarEntry& entry : entries) conflicts_.erase(entry.key);
    return Status::Ok();
  }

  FileSystem& fs_;
  const Layout& layout_;
  const RepairFacts& facts_;
  std::span<const FoundSegment* const> whole_;
  const uint32_t rows_max_;
  RepairRows& rows_;
  std::map<EventHash, std::vector<Lsn>> conflicts_;  // by id: those without an original so far
};

}  // namespace

Result<LsnSet> FindOrphanedConflicts(FileSystem& fs, const Layout& layout, const RepairFacts& facts,
                                     std::span<const FoundSegment* const> whole, Lsn first_lost,
                                     uint32_t rows_max, RepairRows* rows) {
  return Finder(fs, layout, facts, whole, rows_max, rows).Run(first_lost);
}

}  // namespace tallystick
