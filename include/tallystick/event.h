// The event: one reported use. EventView is what a caller hands in (nothing owned), Event what a
// read hands out (everything owned), Batch what is ingested at once.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tallystick/quantity.h"
#include "tallystick/status.h"

namespace tallystick {

// Log sequence number: the place of a stored row in commit order; dense, from 1. 0 = none.
struct Lsn {
  uint64_t value = 0;
  friend auto operator<=>(const Lsn&, const Lsn&) = default;
};

enum class EventKind : uint8_t { kUsage = 0, kCorrection = 1, kRetraction = 2 };
std::string_view EventKindName(EventKind kind);                     // "Usage", ...
std::optional<EventKind> EventKindFromName(std::string_view name);  // exact case

struct Dimension {
  std::string_view key;
  std::string_view value;
};

struct CorrectionRefView {
  std::string_view original_event_id;
  std::string_view reason;
};

// All views must stay valid during the call that takes it, no longer.
struct EventView {
  std::string_view event_id;
  std::string_view account_id;
  std::string_view product_id;
  std::string_view meter_id;
  std::optional<std::string_view> subscription_id;
  std::optional<std::string_view> model_id;
  std::string_view unit;
  std::string_view source;
  EventKind kind = EventKind::kUsage;
  std::optional<CorrectionRefView> correction_ref;  // required unless kind is kUsage
  int64_t timestamp_ms = 0;                         // epoch, UTC; > 0
  Quantity quantity;
  std::span<const Dimension> dimensions;  // any order; keys distinct
};

struct CorrectionRef {
  std::string original_event_id;
  std::string reason;
  friend bool operator==(const CorrectionRef&, const CorrectionRef&) = default;
};

struct Event {
  std::string event_id;
  std::string account_id;
  std::string product_id;
  std::string meter_id;
  std::optional<std::string> subscription_id;
  std::optional<std::string> model_id;
  std::string unit;
  std::string source;
  EventKind kind = EventKind::kUsage;
  std::optional<CorrectionRef> correction_ref;
  int64_t timestamp_ms = 0;
  Quantity quantity;
  std::vector<std::pair<std::string, std::string>> dimensions;  // sorted by key, bytewise
  // The server's stamp; not part of the payload.
  int64_t ingested_at_ms = 0;  // commit time
  Lsn lsn;

  friend bool operator==(const Event&, const Event&) = default;
};

// Why one event was not taken. `code` is a stable word listed in docs/api.md.
struct Rejection {
  std::string code;
  std::string field;
  std::string message;
};

enum class OutcomeKind : uint8_t { kAccepted = 0, kDuplicate = 1, kConflict = 2, kRejected = 3 };

struct EventOutcome {
  OutcomeKind kind = OutcomeKind::kRejected;
  // accepted: its own; duplicate: the original's; conflict: the stored quarantined row's. 0: not
  // looked up (IngestOptions::originals).
  Lsn lsn;
  Rejection rejection;  // set where kind is kRejected
};

class BatchBuilder;

// Events encoded for one request, in order. Made by Db::NewBatch() (it carries the database's
// identity scope and limits), filled by one thread, then moved into Db::Ingest. One bad event never
// fails its batch: it is kept as a rejection in its place.
class Batch {
 public:
  Batch(Batch&&) noexcept;
  Batch& operator=(Batch&&) noexcept;
  ~Batch();

  // Checks shape and format; encodes. `deferred` is a rejection that only applies if the event
  // turns out not to be known already (an option's rule, such as unknown_field: a resend of a known
  // event is a duplicate whatever the options say today).
  void Add(const EventView& event, std::optional<Rejection> deferred = std::nullopt);

  // Keeps the place of an event that could not even be read. `event_id` as far as known.
  void AddRejected(std::string_view event_id, Rejection rejection);

  size_t size() const;                            // events, rejected ones included
  size_t encoded_bytes() const;                   // what it will need in the log
  std::string_view event_id(size_t index) const;  // valid while the batch lives and is not added to

 private:
  friend class BatchBuilder;
  explicit Batch(std::unique_ptr<BatchBuilder> builder);
  std::unique_ptr<BatchBuilder> builder_;
};

}  // namespace tallystick
