// A listing in (timestamp, LSN) order is a merge of runs: the rows of an account in one row group,
// or in one memtable. A run of a row group is known by its zone alone until its turn comes; then
// its matching rows are selected column by column, and sorted. So a page of an account with
// millions of rows reads the few row groups that the page's times lie in.
#include "query/events.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <compare>
#include <tuple>

#include "base/result.h"
#include "query/column_scan.h"
#include "query/cursor.h"
#include "query/key_lookup.h"
#include "query/row_filter.h"
#include "query/row_scan.h"
#include "segment/group_columns.h"

namespace tallystick {
namespace {

// The order of a listing.
struct Place {
  int64_t timestamp_ms = INT64_MIN;
  Lsn lsn;
  friend auto operator<=>(const Place&, const Place&) = default;
};

struct PlacedRow {
  Place place;
  uint32_t row = 0;  // of the segment
};

struct Run {
  uint32_t segment = RowPlace::kInMemory;
  GroupPart part;
  Place next;  // not expanded: no row of it comes before
  bool expanded = false;
  std::vector<PlacedRow> rows;  // descending; the last one is next
  std::unique_ptr<SegmentCursor> cursor;
};

// What the runs of one segment share.
struct SegmentState {
  SegmentState(const LiveSegment& live, const std::vector<Filter>& filters)
      : segment(live), dictionaries(live.rows()), selector(filters) {}
  const LiveSegment& segment;
  SegmentDictionaries dictionaries;
  RowSelector selector;
  bool by_row = false;  // a filter asks for dimensions, and these have no codes
};

uint64_t QueryHash(const EventsQuery& query) {
  // Lengths in front of all texts, so that no two queries write the same.
  Bytes key;
  auto put_text = [&](std::string_view text) {
    PutFixed<uint64_t>(key, text.size());
    const ByteSpan bytes = AsByteSpan(text);
    key.insert(key.end(), bytes.begin(), bytes.end());
  };
  put_text("events");
  PutFixed<uint8_t>(key, query.account_id.has_value() ? 1 : 0);
  put_text(query.account_id.value_or(""));
  PutFixed<int64_t>(key, query.from_ms);
  PutFixed<int64_t>(key, query.to_ms);
  for (const Filter& filter : query.filters) {
    put_text(filter.field.Name());
    PutFixed<uint64_t>(key, filter.values.size());
    for (const std::string& value : filter.values) put_text(value);
  }
  return XXH3_64bits(key.data(), key.size());
}

}  // namespace

class EventStream::Impl {
 public:
  // The stream goes on behind `after`.
  Impl(const View& view, const EventsQuery& query, Lsn lsn, uint64_t query_hash, const Place& after,
       QueryContext context)
      : view_(view),
        query_(query),
        lsn_(lsn),
        query_hash_(query_hash),
        last_(after),
        times_{{query.from_ms, query.to_ms}},
        filter_(query_.from_ms, query_.to_ms, query_.filters),
        context_(std::move(context)) {}

  Status Open() {
    const SegmentList& segments = view_.version->segments;
    states_.resize(segments.size());
    for (uint32_t i = 0; i < segments.size(); ++i) {
      if (segments[i]->listed().first_lsn > lsn_) break;
      if (Status status = OpenSegment(i); !status.ok()) return NoteDamage(*segments[i], status);
    }
    TALLY_RETURN_IF_ERROR(OpenMemory());
    std::ranges::make_heap(runs_, Later);
    return Status::Ok();
  }

  Result<std::optional<Event>> Next() {
    context_.Restart();
    TALLY_RETURN_IF_ERROR(Settle());
    if (runs_.empty()) return std::optional<Event>();
    Run& run = *runs_.front();
    TALLY_ASSIGN_OR_RETURN(Event event, Read(run));
    last_ = run.rows.back().place;
    ++(run.segment == RowPlace::kInMemory ? read_.memory : read_.segments);
    std::ranges::pop_heap(runs_, Later);
    run.rows.pop_back();
    context_.Free(sizeof(PlacedRow));
    Push();
    return std::optional<Event>(std::move(event));
  }

  // Where what comes next cannot be read, the next page will say so.
  std::string NextCursor() {
    if (Settle().ok() && runs_.empty()) return "";
    return EncodeCursor(
        {.as_of = lsn_, .last_timestamp_ms = last_.timestamp_ms, .last_lsn = last_.lsn},
        view_.incarnation, query_hash_);
  }

  Lsn lsn() const { return lsn_; }
  const RowSources& read() const { return read_; }

 private:
  static bool Later(const std::unique_ptr<Run>& a, const std::unique_ptr<Run>& b) {
    return a->next > b->next;
  }

  bool NeedsDimensions() const {
    return std::ranges::any_of(query_.filters, [](const Filter& filter) {
      return filter.field.kind == Field::Kind::kDimension;
    });
  }

  RowSelector::Bounds Bounds(const LiveSegment& segment, const GroupColumns& columns) const {
    RowSelector::Bounds bounds{.times = times_};
    if (segment.listed().last_lsn > lsn_) bounds.lsn = lsn_;
    bounds.drop_quarantined = columns.quarantined() > 0;
    return bounds;
  }

  Status OpenSegment(uint32_t index) {
    const LiveSegment& segment = *view_.version->segments[index];
    const SegmentReader& rows = segment.rows();
    const SegmentInfo& info = rows.info();
    if (!info.Overlaps(query_.from_ms, query_.to_ms)) return Status::Ok();
    TALLY_ASSIGN_OR_RETURN(RowRange range, rows.RowsOfAccount(query_.account_id));
    if (range.empty()) return Status::Ok();
    auto state = std::make_unique<SegmentState>(segment, query_.filters);
    state->by_row = NeedsDimensions() && state->dictionaries.dimensions_by_key();
    if (!state->by_row) {
      TALLY_ASSIGN_OR_RETURN(const bool may_match, state->selector.Enter(state->dictionaries));
      if (!may_match) return Status::Ok();
    }
    GroupColumns columns(rows);
    while (!range.empty()) {
      TALLY_RETURN_IF_ERROR(context_.Check());
      auto run = std::make_unique<Run>();
      run->segment = index;
      run->part = TakeGroupPart(info.group_rows, &range);
      TALLY_RETURN_IF_ERROR(columns.Enter(run->part));
      const ColumnZone zone = columns.zone(SegmentColumn::kTimestamp);
      if (static_cast<int64_t>(zone.max) < last_.timestamp_ms) continue;
      if (!state->by_row && state->selector.IsPruned(columns, Bounds(segment, columns))) continue;
      run->next.timestamp_ms = std::max(static_cast<int64_t>(zone.min), query_.from_ms);
      runs_.push_back(std::move(run));
    }
    states_[index] = std::move(state);
    return context_.Use(sizeof(SegmentState));
  }

  Status OpenMemory() {
    auto run = std::make_unique<Run>();
    run->expanded = true;
    TALLY_RETURN_IF_ERROR(ForEachRowInMemory(view_, Scan(), [&](const RowAt& at) {
      AddRow(at, &run->rows);
      return true;
    }));
    return Sorted(std::move(run));
  }

  RowScan Scan() {
    return {query_.account_id, query_.from_ms, query_.to_ms, lsn_, filter_.Columns(), &context_};
  }

  void AddRow(const RowAt& at, std::vector<PlacedRow>* rows) const {
    if (at.disposition == Disposition::kQuarantined || !filter_.Matches(at.row)) return;
    const Place place{at.row.timestamp_ms, at.lsn};
    if (place > last_) rows->push_back({place, at.place.row});
  }

  Status Sorted(std::unique_ptr<Run> run) {
    if (run->rows.empty()) return Status::Ok();
    std::ranges::sort(run->rows, std::greater<>(), &PlacedRow::place);
    run->next = run->rows.back().place;
    TALLY_RETURN_IF_ERROR(context_.Use(run->rows.size() * sizeof(PlacedRow)));
    runs_.push_back(std::move(run));
    return Status::Ok();
  }

  // Until the first run has its next row.
  Status Settle() {
    while (!runs_.empty() && !runs_.front()->expanded) {
      TALLY_RETURN_IF_ERROR(context_.Check());
      Run& run = *runs_.front();
      const LiveSegment& segment = *view_.version->segments[run.segment];
      auto rows = Expand(run);
      if (!rows.ok()) return NoteDamage(segment, rows.status());
      TALLY_RETURN_IF_ERROR(context_.Use(rows->size() * sizeof(PlacedRow)));
      std::ranges::pop_heap(runs_, Later);
      run.rows = *std::move(rows);
      run.expanded = true;
      Push();
    }
    return Status::Ok();
  }

  // The run at the back goes to its new place, or away.
  void Push() {
    Run& run = *runs_.back();
    if (run.rows.empty()) {
      runs_.pop_back();
      return;
    }
    run.next = run.rows.back().place;
    std::ranges::push_heap(runs_, Later);
  }

  // The matching rows of a run; the next one is the last.
  Result<std::vector<PlacedRow>> Expand(const Run& run) {
    std::vector<PlacedRow> found;
    SegmentState& state = *states_[run.segment];
    const SegmentReader& rows = state.segment.rows();
    const uint32_t first_row = run.part.group * rows.info().group_rows;
    if (state.by_row) {
      const RowRange range{first_row + run.part.begin, first_row + run.part.end};
      TALLY_RETURN_IF_ERROR(ForEachRowOf(view_, run.segment, range, Scan(), [&](const RowAt& at) {
                              AddRow(at, &found);
                              return true;
                            }).status());
    } else {
      GroupColumns columns(rows);
      TALLY_RETURN_IF_ERROR(columns.Enter(run.part));
      TALLY_RETURN_IF_ERROR(state.selector.Select(columns, Bounds(state.segment, columns)));
      TALLY_ASSIGN_OR_RETURN(const auto timestamps, columns.Integers(SegmentColumn::kTimestamp));
      TALLY_ASSIGN_OR_RETURN(const auto lsns, columns.Integers(SegmentColumn::kLsn));
      for (uint32_t k = 0; k < state.selector.size(); ++k) {
        const uint32_t i = state.selector.row(k);
        const Place place{static_cast<int64_t>(timestamps[i]), {lsns[i]}};
        if (place > last_) found.push_back({place, first_row + run.part.begin + i});
      }
    }
    std::ranges::sort(found, std::greater<>(), &PlacedRow::place);
    return found;
  }

  Result<Event> Read(Run& run) {
    const PlacedRow& next = run.rows.back();
    if (run.segment == RowPlace::kInMemory) return ReadEvent(view_, {next.place.lsn, {}});
    const LiveSegment& segment = *view_.version->segments[run.segment];
    if (run.cursor == nullptr) {
      run.cursor = std::make_unique<SegmentCursor>(segment.rows(), kAllSegmentColumns);
    }
    if (Status status = run.cursor->Seek(next.row); !status.ok()) {
      return NoteDamage(segment, std::move(status));
    }
    const auto commit_time = segment.rows().CommitTimeMicros(next.place.lsn);
    if (!commit_time.ok()) return NoteDamage(segment, commit_time.status());
    return ToEvent(run.cursor->row(), next.place.lsn, *commit_time);
  }

  const View view_;
  const EventsQuery query_;
  const Lsn lsn_;
  const uint64_t query_hash_;
  Place last_;  // that was read, or behind which the page begins
  const std::vector<TimeRange> times_;
  const RowFilter filter_;
  QueryContext context_;
  std::vector<std::unique_ptr<SegmentState>> states_;  // as the view's segments
  std::vector<std::unique_ptr<Run>> runs_;             // a heap, the next one on top
  RowSources read_;
};

EventStream::EventStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EventStream::EventStream(EventStream&&) noexcept = default;
EventStream& EventStream::operator=(EventStream&&) noexcept = default;
EventStream::~EventStream() = default;
Result<std::optional<Event>> EventStream::Next() { return impl_->Next(); }
std::string EventStream::NextCursor() const { return impl_->NextCursor(); }
Lsn EventStream::lsn() const { return impl_->lsn(); }
RowSources EventStream::rows() const { return impl_->read(); }

Result<EventStream> ListEvents(const View& view, const EventsQuery& query, QueryContext context) {
  TALLY_RETURN_IF_ERROR(RowFilter(query.from_ms, query.to_ms, query.filters).Check());
  TALLY_ASSIGN_OR_RETURN(Lsn lsn, ResolveLsn(view, query.as_of_lsn));
  const uint64_t hash = QueryHash(query);
  Place after;  // before every row
  if (!query.cursor.empty()) {
    TALLY_ASSIGN_OR_RETURN(const Cursor cursor, DecodeCursor(query.cursor, view.incarnation, hash));
    if (query.as_of_lsn.has_value() && *query.as_of_lsn != cursor.as_of) {
      return Status::InvalidArgument("invalid_cursor", "cursor is of another as_of_lsn");
    }
    TALLY_ASSIGN_OR_RETURN(lsn, ResolveLsn(view, cursor.as_of));
    after = Place{cursor.last_timestamp_ms, cursor.last_lsn};
  }
  auto impl =
      std::make_unique<EventStream::Impl>(view, query, lsn, hash, after, std::move(context));
  TALLY_RETURN_IF_ERROR(impl->Open());
  return EventStream(std::move(impl));
}

}  // namespace tallystick
