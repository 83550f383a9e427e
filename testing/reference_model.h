// What a database must answer, by the plainest means: a list of rows and a loop.
//
// It holds the engine to everything that was ever *said*: an accepted, a duplicate, a conflict with
// its LSN, a row that a query returned, an LSN that an answer named. What was sent and never
// answered (a refusal, a crash, a lost answer) is "maybe": it may be there wholly or not at all,
// event by event.
//
// Every check gives an empty text or what is wrong. A copy is cheap and independent (the events
// themselves are shared), so a test can follow many ways on from one point.
//
// Thread rule: one thread at a time, copies of one model included.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "tallystick/db.h"

namespace tallystick {

// An Event as a view of it, to be ingested. Holds the dimensions' views; the event must outlive it.
class EventAsView {
 public:
  explicit EventAsView(const Event& event);
  const EventView& view() const { return view_; }

 private:
  std::vector<Dimension> dimensions_;
  EventView view_;
};

class ReferenceModel {
 public:
  ReferenceModel();

  // To be called before the events are given to the engine.
  void Sent(std::span<const Event> events);
  // The answer to a batch of these events, in this order.
  std::string Answered(std::span<const Event> events, const IngestResult& result);

  // Reads everything at the visible LSN, holds it against what was said and sent, and counts it as
  // said from now on.
  std::string Learn(const Db& db);
  // Some queries of every kind at `lsn` (at most learned()), chosen by `seed`.
  std::string CheckQueries(const Db& db, Lsn lsn, uint64_t seed) const;
  // Every event that was ever said to be stored must be a duplicate (or a conflict) now. The batch
  // to send, and the check of its answer.
  std::vector<Event> Everything() const;
  std::string CheckResent(std::span<const Event> events, const IngestResult& result) const;

  // What the engine must answer, `lsn` and rows left out. REQUIRES: lsn <= learned().
  std::vector<UsageLine> Aggregate(const UsageQuery& query, Lsn lsn) const;

  // Events that CheckQueries was answered for from rollups: a test of reading must have had some.
  uint64_t rolled_up() const { return *rolled_up_; }
  Lsn learned() const { return learned_; }  // all rows up to it were read
  Lsn said() const { return said_; }        // the highest LSN ever named
  uint64_t rows_known() const;
  // Without what cannot stay the same: of another database with the same history.
  std::string Digest() const;

 private:
  using Payload = uint32_t;  // index of an event, its stamp left out
  static constexpr Payload kUnknown = UINT32_MAX;

  struct Row {
    Payload payload = kUnknown;
    bool quarantined = false;
    int64_t stamp_ms = 0;  // 0: not seen yet
  };
  // Shared by all copies; only grows.
  struct Events {
    std::vector<Event> payloads;
    std::vector<uint32_t> id_of;  // by payload
    std::unordered_map<std::string, uint32_t> ids;
    std::vector<std::vector<Payload>> payloads_of;  // by id
  };

  Payload Intern(const Event& event);
  Payload Find(const Event& event) const;
  std::string Claim(const Event& event, Lsn lsn, bool quarantined, int64_t stamp_ms);
  std::string CheckEvents(const Db& db, const EventsQuery& query, Lsn lsn) const;
  std::string CheckEvent(const Db& db, Payload payload, Lsn lsn) const;
  std::string CheckConflicts(const Db& db, const ConflictsQuery& query, Lsn lsn) const;
  std::string CheckAggregate(const Db& db, UsageQuery query, Lsn lsn) const;
  std::string CheckAccounts(const Db& db, Lsn lsn) const;

  std::shared_ptr<Events> events_;
  std::vector<Row> rows_;              // by LSN; [0] unused
  std::vector<uint64_t> counted_;      // by id: LSN, 0 none
  std::vector<uint64_t> quarantined_;  // by payload: LSN, 0 none
  std::vector<bool> sent_;             // by payload
  struct Unplaced {
    Payload payload = kUnknown;
    bool quarantined = false;
  };
  std::vector<Unplaced> unplaced_;  // said to be stored, at an LSN that was not said
  Lsn said_;
  Lsn learned_;
  std::shared_ptr<uint64_t> rolled_up_ = std::make_shared<uint64_t>(0);  // shared by all copies
};

}  // namespace tallystick
