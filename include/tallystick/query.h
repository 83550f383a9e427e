// What can be asked of a database, and the shapes of the answers.
//
// Every answer states `lsn`: it is exact for the rows 1..lsn. `as_of_lsn` reads the past; above the
// visible LSN it is kInvalidArgument `lsn_in_future`.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tallystick/event.h"

namespace tallystick {

// A column, a time bucket, or a dimension by name.
struct Field {
  enum class Kind : uint8_t {
    kAccountId,
    kSubscriptionId,
    kProductId,
    kMeterId,
    kModelId,
    kSource,
    kUnit,
    kKind,
    kHourStartMs,  // bucket: epoch ms floored to the UTC hour, as text
    kDay,          // bucket: epoch ms floored to the UTC day, as text
    kDimension,
  };
  Kind kind = Kind::kDimension;
  std::string dimension;  // set for kDimension

  // "meter_id", "day", ... else a dimension; "dimensions.NAME" always means the dimension NAME.
  static Field Parse(std::string_view name);
  std::string Name() const;  // what Parse accepts and answers print
};

// The field has one of the values. A missing (null) value matches nothing.
struct Filter {
  Field field;  // not a bucket
  std::vector<std::string> values;
};

struct UsageQuery {
  std::optional<std::string> account_id;  // none: all accounts
  int64_t from_ms = 0;                    // half-open [from, to) on timestamp_ms
  int64_t to_ms = 0;
  std::vector<Field> group_by;
  std::vector<Filter> filters;  // all must match
  std::optional<Lsn> as_of_lsn;
};

struct UsageLine {
  std::vector<std::string> keys;  // in group_by order; missing values are ""
  std::string quantity;           // net, exact; the three below add up to it
  std::string usage;
  std::string corrections;
  std::string retractions;
  uint64_t count = 0;  // events
};

// Where the rows of an answer came from, in events.
struct RowSources {
  uint64_t rollups = 0;
  uint64_t segments = 0;
  uint64_t memory = 0;
};

struct UsageResult {
  std::vector<UsageLine> lines;  // bytewise by keys; without group_by exactly one line
  Lsn lsn;
  RowSources rows;
  int64_t watermark_ms = 0;  // now, or the newest commit time where that is later
};

struct EventsQuery {
  std::optional<std::string> account_id;
  int64_t from_ms = 0;
  int64_t to_ms = 0;
  std::vector<Filter> filters;
  std::optional<Lsn> as_of_lsn;
  std::string cursor;  // from an earlier page's NextCursor(); empty: the first page
};

// Pulls events in (timestamp, LSN) order. Holds the rows that it reads alive; must be destroyed
// before the Db closes. Not thread-safe.
class EventStream {
 public:
  class Impl;
  explicit EventStream(std::unique_ptr<Impl> impl);
  EventStream(EventStream&&) noexcept;
  EventStream& operator=(EventStream&&) noexcept;
  ~EventStream();

  // The next event, none at the end, or an error (damage found on the way).
  Result<std::optional<Event>> Next();
  // Opaque; continues behind the last event that Next returned; empty when nothing is left.
  std::string NextCursor() const;
  Lsn lsn() const;
  RowSources rows() const;  // so far

 private:
  std::unique_ptr<Impl> impl_;
};

struct EventLookup {
  Event event;
  Lsn event_lsn;
  uint64_t conflicts = 0;  // quarantined rows with this identity
  struct Original {
    std::string event_id;
    std::optional<Lsn> lsn;  // none: it does not exist at this LSN
  };
  std::optional<Original> original;  // what a correction or retraction names
  Lsn lsn;
};

struct ConflictsQuery {
  std::optional<std::string> account_id;  // the conflicting event's account
  std::optional<uint32_t> limit;          // none: all
  std::string cursor;
  std::optional<Lsn> as_of_lsn;
};

struct Conflict {
  Lsn lsn;           // of the quarantined row
  Event event;       // the copy that was not counted
  Lsn original_lsn;  // the row that was
};

struct ConflictsPage {
  std::vector<Conflict> conflicts;  // in LSN order
  std::string next_cursor;          // empty: the last page
  Lsn lsn;
};

}  // namespace tallystick
