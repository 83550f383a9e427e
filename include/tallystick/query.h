// What can be asked of a database, and the shapes of the answers.
//
// Every answer states `lsn`: it is exact for the rows 1..lsn. `as_of_lsn` reads the past; above the
// visible LSN it is kInvalidArgument `lsn_in_future`. Db::LsnAt makes an LSN of a point in time.
//
// A read that takes longer than OpenOptions::query_ms_max is kUnavailable `query_timeout`, one that
// needs more memory than query_memory_bytes_max kUnavailable `query_too_large`, one whose
// `cancelled` was set kUnavailable `cancelled`.
#pragma once

#include <array>
#include <atomic>
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
    kHourStartMs,  // bucket: epoch ms of the UTC hour's start, as text
    kDay,          // bucket: epoch ms of the start of the day in the query's time zone, as text
    kMonth,        // bucket: the same of the month
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

// Something beside the sums, computed for each line.
struct Metric {
  enum class Function : uint8_t { kMin, kMax, kUnique };
  Function function = Function::kUnique;
  // A column or a dimension, not a bucket: min and max are bytewise, unique is the exact number of
  // distinct values, and missing values count for none. None: of the quantity, by value.
  std::optional<Field> of;
};

// What lines are sorted by.
struct GroupOrder {
  enum class By : uint8_t {
    kKey,  // UsageLine::keys[index], bytewise
    kQuantity,
    kUsage,
    kCorrections,
    kRetractions,
    kCount,
    kMetric,  // UsageLine::metrics[index]; missing ones first
  };
  By by = By::kKey;
  uint32_t index = 0;
  bool descending = false;
};

// Which way a total is computed. All give the same answer.
enum class ReadPath : uint8_t {
  kAuto,     // whole hours from rollups where there are any, the rest from rows
  kRows,     // from rows only, column by column
  kEachRow,  // from rows only, one by one: slow, and sharing little with the other two
};

// Set by whoever no longer wants an answer; may be null.
using Cancelled = std::shared_ptr<const std::atomic<bool>>;

struct UsageQuery {
  std::optional<std::string> account_id;  // none: all accounts
  int64_t from_ms = 0;                    // half-open [from, to) on timestamp_ms
  int64_t to_ms = 0;
  std::vector<Field> group_by;
  std::vector<Filter> filters;  // all must match
  std::vector<Metric> metrics;
  std::vector<GroupOrder> order;        // then, and where it is empty, by all keys
  std::optional<uint64_t> group_limit;  // the first lines only
  std::string time_zone;                // IANA name, for days and months; empty: UTC
  std::optional<Lsn> as_of_lsn;
  ReadPath path = ReadPath::kAuto;
  bool explain = false;  // fills UsageResult::plan and UsageLine::inputs
  Cancelled cancelled;
};

// What a segment gave to a line, or to a whole answer (explain).
struct SegmentInputs {
  uint64_t segment = 0;                 // its number
  std::vector<uint32_t> row_groups;     // read; ascending
  std::vector<uint32_t> rollup_blocks;  // read; ascending
  uint64_t rows = 0;                    // events counted row by row
  uint64_t rolled_up = 0;               // events counted by rollup lines
};

struct UsageLine {
  std::vector<std::string> keys;  // in group_by order; missing values are ""
  std::string quantity;           // net, exact; the three below add up to it
  std::string usage;
  std::string corrections;
  std::string retractions;
  uint64_t count = 0;                               // events
  std::vector<std::optional<std::string>> metrics;  // as asked for; none: no row has a value
  std::vector<SegmentInputs> inputs;                // explain; what contributed to this line
  uint64_t memory_rows = 0;                         // explain; events of memtables
};

// Where the rows of an answer came from, in events.
struct RowSources {
  uint64_t rollups = 0;
  uint64_t segments = 0;
  uint64_t memory = 0;
};

// How one segment was read (explain).
struct SegmentPlan {
  SegmentInputs read;
  uint32_t row_groups_pruned = 0;  // not read: no row of theirs can match
  uint32_t rollup_blocks_pruned = 0;
  std::string pruned;         // why nothing of it was read: "time", "lsn", "account", "filter"
  uint64_t rows_scanned = 0;  // rows looked at
  uint64_t micros = 0;
};

struct ReadPlan {
  std::vector<SegmentPlan> segments;  // in LSN order
  uint32_t memtables = 0;             // read
  uint64_t memory_rows_scanned = 0;
  uint64_t micros = 0;  // of the whole query
};

struct UsageResult {
  std::vector<UsageLine> lines;  // bytewise by keys unless ordered; without group_by exactly one
  uint64_t groups = 0;           // lines before group_limit
  Lsn lsn;
  RowSources rows;
  int64_t watermark_ms = 0;   // now, or the newest commit time where that is later
  uint64_t memory_bytes = 0;  // that the query needed at most, about
  ReadPlan plan;              // explain
};

// The same query by every path.
struct PathComparison {
  UsageResult rollups;       // kAuto
  UsageResult rows;          // kRows
  UsageResult each;          // kEachRow
  std::string rollup_total;  // the sums of all lines
  std::string row_total;
  std::string each_total;
  std::string drift;                // row_total - rollup_total
  std::vector<std::string> faults;  // empty: every line agrees in every number
};

struct AccountsQuery {
  std::string prefix;             // bytewise
  std::optional<uint32_t> limit;  // none: all
  std::string cursor;
  std::optional<Lsn> as_of_lsn;
  Cancelled cancelled;
};

struct AccountsPage {
  std::vector<std::string> account_ids;  // that have a counted event; bytewise
  std::string next_cursor;               // empty: the last page
  Lsn lsn;
};

struct EventsQuery {
  std::optional<std::string> account_id;
  int64_t from_ms = 0;
  int64_t to_ms = 0;
  std::vector<Filter> filters;
  std::optional<Lsn> as_of_lsn;
  std::string cursor;  // from an earlier page's NextCursor(); empty: the first page
  Cancelled cancelled;
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
