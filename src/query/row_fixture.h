// For tests: rows in memtables without a database around them. Events are judged as the committer
// judges them (first copy counted, equal copies dropped, other payloads quarantined once), and what
// was stored is kept beside, as plain events, for comparing.
//
// Thread rule: one thread.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/batch_builder.h"
#include "model/identity.h"
#include "query/aggregate.h"
#include "query/events.h"
#include "query/view.h"

namespace tallystick {

struct StoredRow {
  Event event;  // with its LSN and stamp
  bool quarantined = false;
};

class RowFixture {
 public:
  explicit RowFixture(IdentityScope scope = IdentityScope::kGlobal, uint32_t memtable_rows = 1000,
                      uint64_t memtable_bytes = 1 << 18)
      : scope_(scope), memtable_rows_(memtable_rows), memtable_bytes_(memtable_bytes) {}

  // Stores the events that are new, as one frame. Returns each event's LSN: its own, or the one of
  // the row that it repeats.
  std::vector<Lsn> Ingest(const std::vector<Event>& events) {
    Batch batch = BatchBuilder::Make(scope_, {.timestamp_ahead_ms_max = INT64_MAX});
    for (const Event& event : events) AddTo(batch, event);
    const BatchBuilder& builder = BatchBuilder::Of(batch);
    MakeRoom(builder.records().size(), events.size());
    Memtable& memtable = *writable_.back();
    const int64_t commit_time_us = 1'790'000'000'000'999 + 1'000'000 * ++frames_;
    Bytes frame;
    std::vector<Lsn> lsns;
    const Lsn first{stored_.size() + 1};
    for (size_t i = 0; i < events.size(); ++i) {
      const BatchBuilder::Entry& entry = builder.entries()[i];
      TALLY_CHECK(!entry.rejected());
      lsns.push_back(Judge(builder, entry, events[i], commit_time_us, memtable, frame));
    }
    const auto rows = static_cast<uint32_t>(stored_.size() + 1 - first.value);
    if (rows > 0) TALLY_CHECK(memtable.AppendFrame(first, commit_time_us, frame, rows));
    return lsns;
  }
  Lsn Ingest(const Event& event) { return Ingest(std::vector<Event>{event})[0]; }

  View view() const { return view(Lsn{stored_.size()}); }
  View view(Lsn visible) const {
    View view;
    auto version = std::make_shared<DataVersion>();
    version->memtables.assign(writable_.begin(), writable_.end());
    view.version = std::move(version);
    view.visible = visible;
    view.scope = scope_;
    view.incarnation = incarnation;
    view.now_ms = now_ms;
    view.newest_commit_us = stored_.empty() ? 0 : stored_.back().event.ingested_at_ms * 1000;
    return view;
  }

  const std::vector<StoredRow>& stored() const { return stored_; }  // row i has LSN i + 1
  size_t memtables() const { return writable_.size(); }
  // The newest memtable, for tests that damage it.
  Memtable& newest() { return *writable_.back(); }

  uint64_t incarnation = 0x1234;
  int64_t now_ms = 1'700'000'000'000;

 private:
  static void AddTo(Batch& batch, const Event& event) {
    std::vector<Dimension> dimensions;
    for (const auto& [key, value] : event.dimensions) dimensions.push_back({key, value});
    EventView view{.event_id = event.event_id,
                   .account_id = event.account_id,
                   .product_id = event.product_id,
                   .meter_id = event.meter_id,
                   .subscription_id = event.subscription_id,
                   .model_id = event.model_id,
                   .unit = event.unit,
                   .source = event.source,
                   .kind = event.kind,
                   .timestamp_ms = event.timestamp_ms,
                   .quantity = event.quantity,
                   .dimensions = dimensions};
    if (event.correction_ref.has_value()) {
      view.correction_ref = {event.correction_ref->original_event_id, event.correction_ref->reason};
    }
    batch.Add(view);
  }

  // Leaves an empty memtable behind where the first frame does not fit into it, as a log that has
  // nothing but a mark does.
  void MakeRoom(uint64_t bytes, uint64_t rows) {
    if (!writable_.empty() && writable_.back()->Fits(bytes, rows)) return;
    Memtable::Capacity capacity{std::max(bytes, memtable_bytes_),
                                std::max(static_cast<uint32_t>(rows), memtable_rows_), 64};
    writable_.push_back(std::make_shared<Memtable>(capacity));
  }

  std::optional<KeyTable::Found> Find(const EventHash& key) const {
    for (const auto& memtable : writable_) {
      if (const auto found = memtable->keys().Find(key)) return found;
    }
    return std::nullopt;
  }

  Lsn Judge(const BatchBuilder& builder, const BatchBuilder::Entry& entry, const Event& event,
            int64_t commit_time_us, Memtable& memtable, Bytes& frame) {
    EventHash key = entry.id_hash;
    auto known = Find(key);
    if (known.has_value() && known->payload_hash == entry.payload_hash) return known->lsn;
    const bool conflict = known.has_value();
    if (conflict) {
      key = ConflictKey(key, builder.canonical(entry));
      known = Find(key);
      if (known.has_value()) return known->lsn;
    }
    StoredRow& row = stored_.emplace_back(event, conflict);
    row.event.lsn = {stored_.size()};
    row.event.ingested_at_ms = commit_time_us / 1000;
    std::ranges::sort(row.event.dimensions);
    const ByteSpan record = builder.records().subspan(entry.offset, entry.bytes);
    const size_t at = frame.size();
    frame.insert(frame.end(), record.begin(), record.end());
    if (conflict) frame[at + 4] = static_cast<std::byte>(Disposition::kQuarantined);
    memtable.keys().Insert(key, entry.payload_hash, row.event.lsn);
    return row.event.lsn;
  }

  IdentityScope scope_;
  uint32_t memtable_rows_;
  uint64_t memtable_bytes_;
  int64_t frames_ = 0;
  std::vector<std::shared_ptr<Memtable>> writable_;
  std::vector<StoredRow> stored_;
};

// Reads without limits.
inline Result<UsageResult> Aggregate(const View& view, const UsageQuery& query) {
  QueryContext context;
  return Aggregate(view, query, context);
}
inline Result<EventStream> ListEvents(const View& view, const EventsQuery& query) {
  return ListEvents(view, query, QueryContext());
}

// An event with the least that it needs.
inline Event MakeEvent(std::string id, std::string account = "acme", int128 quantity = 1,
                       int64_t timestamp_ms = 1000) {
  Event event;
  event.event_id = std::move(id);
  event.account_id = std::move(account);
  event.product_id = "api";
  event.meter_id = "tokens";
  event.unit = "t";
  event.timestamp_ms = timestamp_ms;
  event.quantity = Quantity::FromInteger(quantity);
  return event;
}

// A small world of events from one number: few ids, accounts, times and values, so that everything
// collides with everything. Ids repeat as duplicates and as conflicts.
inline Event EventFromSeed(uint64_t seed) {
  auto pick = [&seed](uint64_t choices) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % choices;
  };
  pick(2);
  Event event = MakeEvent("e" + std::to_string(pick(200)), "a" + std::to_string(pick(4)));
  event.product_id = "p" + std::to_string(pick(2));
  event.meter_id = "m" + std::to_string(pick(3));
  event.source = pick(2) == 0 ? "" : "gateway";
  if (pick(2) == 0) event.model_id = "x" + std::to_string(pick(2));
  if (pick(3) == 0) event.subscription_id = "s" + std::to_string(pick(2));
  if (pick(2) == 0) event.dimensions.emplace_back("region", "r" + std::to_string(pick(2)));
  if (pick(3) == 0) event.dimensions.emplace_back("account_id", "d" + std::to_string(pick(2)));
  event.kind = static_cast<EventKind>(pick(3));
  if (event.kind != EventKind::kUsage) {
    event.correction_ref = CorrectionRef{"e" + std::to_string(pick(220)), "why"};
  }
  event.timestamp_ms =
      1 + static_cast<int64_t>(pick(40)) * 1'800'000 - static_cast<int64_t>(pick(2));
  event.timestamp_ms = std::max<int64_t>(event.timestamp_ms, 1);
  event.quantity = Quantity::Normalized(int128{static_cast<int64_t>(pick(2001))} - 1000, pick(4));
  return event;
}

}  // namespace tallystick
