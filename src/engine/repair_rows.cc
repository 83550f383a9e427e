#include "engine/repair_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "wal/wal_format.h"

namespace tallystick {
namespace {

constexpr uint64_t kArenaBytesMax = 256ull << 20;

int64_t TimeOf(const std::vector<CommitTime>& times, Lsn lsn) {
  const auto after = std::ranges::upper_bound(times, lsn, {}, &CommitTime::first_lsn);
  return after == times.begin() ? RepairChunk::kTimeUnknown : std::prev(after)->commit_time_us;
}

bool Overlap(LsnRange a, LsnRange b) { return a.first <= b.last && b.first <= a.last; }

}  // namespace

RepairRows::RepairRows(FileSystem& fs, const RepairFacts& facts) : fs_(fs), facts_(facts) {
  for (const FoundSegment& segment : facts.segments) {
    segments_.push_back(&segment);
    present_.Add(segment.present);
  }
  for (const FoundFrame& frame : facts.frames) present_.Add(frame.range());
  // Listed before unlisted, whole before damaged, later before earlier.
  std::ranges::sort(segments_, [](const FoundSegment* a, const FoundSegment* b) {
    const auto rank = [](const FoundSegment& s) {
      return std::tuple(!s.whole(), !s.listed, ~s.rows->info().number.value);
    };
    return rank(*a) < rank(*b);
  });
}

Status RepairRows::ForEachChunk(LsnRange range, uint32_t rows_max,
                                const std::function<Status(const RepairChunk&)>& each) {
  const LsnSet wanted = present_.Within(range);
  uint64_t span = rows_max;
  Lsn next = range.first;
  for (const LsnRange& piece : wanted.ranges()) {
    next = std::max(next, piece.first);
    while (next <= piece.last) {
      RepairChunk chunk;
      const Lsn last{std::min(range.last.value, next.value + (span - 1))};
      TALLY_RETURN_IF_ERROR(Collect({next, last}, &chunk));
      if (chunk.arena.size() > kArenaBytesMax && span > 1) {
        span = (span + 1) / 2;
        continue;
      }
      TALLY_RETURN_IF_ERROR(each(chunk));
      next = {last.value + 1};
    }
  }
  return Status::Ok();
}

void RepairRows::LeaveOut(const LsnSet& lsns) {
  LsnSet kept;
  for (const LsnRange& range : present_.ranges()) kept.Add(lsns.MissingOf(range));
  present_ = std::move(kept);
  left_out_.Add(lsns);
}

RepairRows::Slot* RepairRows::Empty(Lsn lsn, LsnRange range) {
  if (lsn < range.first || lsn > range.last) return nullptr;
  Slot& slot = slots_[lsn.value - range.first.value];
  return slot.filled ? nullptr : &slot;
}

Status RepairRows::Collect(LsnRange range, RepairChunk* chunk) {
  slots_.assign(range.last.value - range.first.value + 1, Slot());
  for (const FoundSegment* segment : segments_) {
    if (!Overlap(segment->range(), range)) continue;
    TALLY_RETURN_IF_ERROR(FromSegment(*segment, range, &chunk->arena));
  }
  for (const FoundFrame& frame : facts_.frames) {
    if (Overlap(frame.range(), range)) {
      TALLY_RETURN_IF_ERROR(FromFrame(frame, range, &chunk->arena));
    }
  }
  const LsnSet left_out = left_out_.Within(range);
  for (const LsnRange& out : left_out.ranges()) {
    for (uint64_t lsn = out.first.value; lsn <= out.last.value; ++lsn) {
      slots_[lsn - range.first.value].filled = false;
    }
  }
  const ByteSpan arena(chunk->arena);
  for (uint64_t place = 0; place < slots_.size(); ++place) {
    const Slot& slot = slots_[place];
    if (!slot.filled) continue;
    chunk->records.push_back({slot.disposition, arena.subspan(slot.offset, slot.bytes)});
    chunk->lsns.push_back({range.first.value + place});
    chunk->commit_times_us.push_back(slot.commit_time_us);
  }
  const uint64_t expected = present_.Within(range).count();
  if (chunk->records.size() == expected) return Status::Ok();
  return Status::Corruption(fmt::format("of the rows {} to {} there were {}, and are {} now",
                                        range.first.value, range.last.value, expected,
                                        chunk->records.size()));
}

const std::vector<CommitTime>& RepairRows::TimesOf(const FoundSegment& segment) {
  const auto [at, added] = times_.try_emplace(&segment);
  if (added) {
    auto times = segment.rows->CommitTimes();
    if (times.ok()) at->second = *std::move(times);  // else its rows have none
  }
  return at->second;
}

Status RepairRows::FromSegment(const FoundSegment& segment, LsnRange range, Bytes* arena) {
  const std::vector<CommitTime>& times = TimesOf(segment);
  for (uint32_t group = 0; group < segment.rows->group_count(); ++group) {
    if (!segment.bad_group.empty() && segment.bad_group[group]) continue;
    TALLY_ASSIGN_OR_RETURN(const GroupZone zone, segment.rows->Zone(group));
    if (!Overlap({zone.lsn_min, zone.lsn_max}, range)) continue;
    TALLY_RETURN_IF_ERROR(FromGroup(segment, group, range, times, arena));
  }
  return Status::Ok();
}

// The LSNs first: of a group only the rows that are wanted are put together.
Status RepairRows::FromGroup(const FoundSegment& segment, uint32_t group, LsnRange range,
                             const std::vector<CommitTime>& times, Bytes* arena) {
  SegmentCursor lsns(*segment.rows, static_cast<SegmentColumns>(SegmentColumn::kLsn));
  SegmentCursor cursor(*segment.rows, kAllSegmentColumns);
  const SegmentInfo& info = segment.rows->info();
  const uint64_t first = uint64_t{group} * info.group_rows;
  const uint64_t end = std::min<uint64_t>(first + info.group_rows, info.rows);
  for (uint64_t row = first; row < end; ++row) {
    TALLY_RETURN_IF_ERROR(lsns.Seek(static_cast<uint32_t>(row)));
    Slot* slot = Empty(lsns.lsn(), range);
    if (slot == nullptr) continue;
    TALLY_RETURN_IF_ERROR(cursor.Seek(static_cast<uint32_t>(row)));
    slot->offset = arena->size();
    EncodeRow(cursor.row(), *arena);
    slot->bytes = static_cast<uint32_t>(arena->size() - slot->offset);
    slot->disposition = cursor.disposition();
    slot->commit_time_us = TimeOf(times, lsns.lsn());
    slot->filled = true;
    if (RowView view; !DecodeCanonical(ByteSpan(*arena).subspan(slot->offset), &view)) {
      return Status::Corruption(fmt::format("{}: row {} is no event", segment.path, row));
    }
  }
  return Status::Ok();
}

Status RepairRows::FromFrame(const FoundFrame& found, LsnRange range, Bytes* arena) {
  const FoundLog& log = facts_.logs[found.log];
  TALLY_ASSIGN_OR_RETURN(auto file, fs_.Open(log.path, OpenMode::kRead));
  Bytes bytes(found.bytes);
  TALLY_RETURN_IF_ERROR(ReadFully(*file, found.offset, bytes));
  const auto frame = WalFileView(bytes, log.salt).FrameAt(0);
  const bool same =
      frame.has_value() && frame->header.number == found.number && frame->header.rows == found.rows;
  Decoder decoder(same ? frame->payload() : ByteSpan());
  for (uint32_t i = 0; i < found.rows; ++i) {
    RecordView record;
    RowView row;
    if (!DecodeRecord(decoder, &record) || !DecodeCanonical(record.canonical, &row)) {
      return Status::Corruption(
          fmt::format("{} at offset {}: a frame that was good is not now", log.path, found.offset));
    }
    Slot* slot = Empty({found.first_lsn.value + i}, range);
    if (slot == nullptr) continue;
    slot->offset = arena->size();
    slot->bytes = static_cast<uint32_t>(record.canonical.size());
    arena->insert(arena->end(), record.canonical.begin(), record.canonical.end());
    slot->disposition = record.disposition;
    slot->commit_time_us = found.commit_time_us;
    slot->filled = true;
  }
  return Status::Ok();
}

}  // namespace tallystick
