// The stream gathers place and time of all matching rows once (24 bytes each), keeps them as a
// heap, and decodes one event at a time: a page of k out of n costs O(n + k log n).
#include "query/events.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <tuple>

#include "base/result.h"
#include "query/cursor.h"
#include "query/key_lookup.h"
#include "query/row_filter.h"
#include "query/row_scan.h"

namespace tallystick {
namespace {

struct Place {
  int64_t timestamp_ms;
  Lsn lsn;
  RowPlace row;
  friend bool operator>(const Place& a, const Place& b) {
    return std::tie(a.timestamp_ms, a.lsn) > std::tie(b.timestamp_ms, b.lsn);
  }
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
  Impl(const View& view, Lsn lsn, uint64_t query_hash, const Place& after)
      : view_(view), lsn_(lsn), query_hash_(query_hash), last_(after) {}

  Status Gather(const EventsQuery& query) {
    const RowFilter filter(query.from_ms, query.to_ms, query.filters);
    TALLY_RETURN_IF_ERROR(
        ForEachRow(view_, {query.account_id, query.from_ms, query.to_ms, lsn_, filter.Columns()},
                   [&](const RowAt& at) {
                     if (at.disposition == Disposition::kQuarantined) return true;
                     const Place place{at.row.timestamp_ms, at.lsn, at.place};
                     if (place > last_ && filter.Matches(at.row)) places_.push_back(place);
                     return true;
                   }));
    std::ranges::make_heap(places_, std::greater<>());
    return Status::Ok();
  }

  Result<std::optional<Event>> Next() {
    if (places_.empty()) return std::optional<Event>();
    const Place next = places_.front();
    TALLY_ASSIGN_OR_RETURN(Event event, ReadEvent(view_, {next.lsn, next.row}));
    std::ranges::pop_heap(places_, std::greater<>());
    places_.pop_back();
    last_ = next;
    ++(next.row.in_memory() ? read_.memory : read_.segments);
    return std::optional<Event>(std::move(event));
  }

  std::string NextCursor() const {
    if (places_.empty()) return "";
    return EncodeCursor({lsn_, last_.timestamp_ms, last_.lsn}, view_.incarnation, query_hash_);
  }

  Lsn lsn() const { return lsn_; }
  const RowSources& read() const { return read_; }

 private:
  View view_;
  Lsn lsn_;
  uint64_t query_hash_;
  std::vector<Place> places_;  // a heap, the next one on top
  Place last_;                 // that was read, or behind which the page begins
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

Result<EventStream> ListEvents(const View& view, const EventsQuery& query) {
  TALLY_RETURN_IF_ERROR(RowFilter(query.from_ms, query.to_ms, query.filters).Check());
  TALLY_ASSIGN_OR_RETURN(Lsn lsn, ResolveLsn(view, query.as_of_lsn));
  const uint64_t hash = QueryHash(query);
  Place after{INT64_MIN, Lsn{0}, {}};  // before every row
  if (!query.cursor.empty()) {
    TALLY_ASSIGN_OR_RETURN(const Cursor cursor, DecodeCursor(query.cursor, view.incarnation, hash));
    if (query.as_of_lsn.has_value() && *query.as_of_lsn != cursor.as_of) {
      return Status::InvalidArgument("invalid_cursor", "cursor is of another as_of_lsn");
    }
    TALLY_ASSIGN_OR_RETURN(lsn, ResolveLsn(view, cursor.as_of));
    after = Place{cursor.last_timestamp_ms, cursor.last_lsn, {}};
  }
  auto impl = std::make_unique<EventStream::Impl>(view, lsn, hash, after);
  TALLY_RETURN_IF_ERROR(impl->Gather(query));
  return EventStream(std::move(impl));
}

}  // namespace tallystick
