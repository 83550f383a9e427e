// Three independent counts must agree: the rows one by one, the key tables, and the answers of
// queries.
#include "query/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/decimal.h"
#include "base/result.h"
#include "model/identity.h"
#include "query/aggregate.h"
#include "query/events.h"
#include "query/key_lookup.h"

namespace tallystick {
namespace {

constexpr size_t kFaultsMax = 100;  // the first hundred say enough
constexpr uint64_t kProgressRows = 100'000;

struct Total {
  ExactSum by_kind[3];
  uint64_t count = 0;

  void Add(EventKind kind, const Quantity& quantity) {
    by_kind[static_cast<size_t>(kind)].Add(quantity);
    ++count;
  }
};

class Verifier {
 public:
  Verifier(const View& view, const std::function<void(uint64_t, uint64_t)>& progress)
      : view_(view), progress_(progress) {
    report_.lsn = view.visible;
  }

  Result<VerifyReport> Run() {
    WalkRows();
    CountKeys();
    TALLY_RETURN_IF_ERROR(CompareTotals());
    return std::move(report_);
  }

 private:
  template <typename... Args>
  void Fault(fmt::format_string<Args...> format, Args&&... args) {
    if (report_.faults.size() < kFaultsMax) {
      report_.faults.push_back(fmt::format(format, std::forward<Args>(args)...));
    }
  }

  void WalkRows() {
    Lsn next{1};
    for (const auto& memtable : *view_.memtables) {
      if (memtable->empty()) continue;
      if (memtable->first_lsn() > view_.visible) break;
      if (memtable->first_lsn() != next) {
        Fault("LSN {} is followed by {}", next.value - 1, memtable->first_lsn().value);
      }
      const Lsn end = std::min(memtable->end_lsn(), Lsn{view_.visible.value + 1});
      for (Lsn lsn = memtable->first_lsn(); lsn < end; ++lsn.value) CheckRow(lsn, *memtable);
      next = end;
    }
    if (next.value != view_.visible.value + 1) {
      Fault("the rows end at LSN {}, the visible LSN is {}", next.value - 1, view_.visible.value);
    }
  }

  void CheckRow(Lsn lsn, const Memtable& memtable) {
    if (++report_.rows % kProgressRows == 0 && progress_) {
      progress_(report_.rows, view_.visible.value);
    }
    const RecordView record = memtable.Record(lsn);
    RowView row;
    if (!DecodeCanonical(record.canonical, &row))
      return Fault("LSN {}: does not decode", lsn.value);
    if (!IsCanonical(row, record.canonical)) {
      Fault("LSN {} (event '{}'): is not in canonical form", lsn.value, row.event_id);
    }
    CheckKey(lsn, memtable, record, row);
    if (record.disposition == Disposition::kQuarantined) {
      ++report_.conflicts;
      if (!FindEvent(view_, row.account_id, row.event_id, lsn).has_value()) {
        Fault("LSN {} (event '{}'): a conflict without an original", lsn.value, row.event_id);
      }
      return;
    }
    if (row.timestamp_ms == INT64_MAX) return;  // no half-open range reaches it
    totals_[std::string(row.account_id)][std::string(row.meter_id)].Add(row.kind, row.quantity);
    everything_[std::string(row.meter_id)].Add(row.kind, row.quantity);
  }

  // One event has one encoding: what was decoded must encode to the same bytes.
  bool IsCanonical(const RowView& row, ByteSpan canonical) {
    encoded_.clear();
    EncodeRow(row, encoded_);
    return std::ranges::equal(encoded_, canonical);
  }

  // The row's key is in the key table of its own memtable, leads to the row, and is in no other.
  void CheckKey(Lsn lsn, const Memtable& memtable, const RecordView& record, const RowView& row) {
    EventHash key = IdHash(view_.scope, row.account_id, row.event_id);
    if (record.disposition == Disposition::kQuarantined) key = ConflictKey(key, record.canonical);
    const auto found = memtable.keys().Find(key);
    if (!found.has_value() || found->lsn != lsn) {
      Fault("LSN {} (event '{}'): its key leads to {}", lsn.value, row.event_id,
            found.has_value() ? fmt::format("LSN {}", found->lsn.value) : "nothing");
    } else if (found->payload_hash != PayloadHash(record.canonical)) {
      Fault("LSN {} (event '{}'): the key table has another payload hash", lsn.value, row.event_id);
    }
    for (const auto& other : *view_.memtables) {
      if (other.get() == &memtable) continue;
      // A key above the visible LSN may belong to a row that is being committed.
      const auto again = other->keys().Find(key);
      if (again.has_value() && again->lsn <= view_.visible) {
        Fault("LSN {} (event '{}'): its key also leads to LSN {}", lsn.value, row.event_id,
              again->lsn.value);
      }
    }
  }

  // Together with CheckKey: no key without a row.
  void CountKeys() {
    uint64_t keys = 0;
    for (const auto& memtable : *view_.memtables) {
      memtable->keys().ForEach([&](const EventHash&, const KeyTable::Found& found) {
        if (found.lsn <= view_.visible) ++keys;
      });
    }
    if (keys != report_.rows) Fault("there are {} keys for {} rows", keys, report_.rows);
  }

  Status CompareTotals() {
    report_.accounts = totals_.size();
    TALLY_RETURN_IF_ERROR(Compare(std::nullopt, everything_));
    for (const auto& [account, meters] : totals_) TALLY_RETURN_IF_ERROR(Compare(account, meters));
    return Status::Ok();
  }

  Status Compare(const std::optional<std::string>& account,
                 const std::map<std::string, Total>& meters) {
    const std::string who = Who(account);
    UsageQuery query{.account_id = account, .from_ms = INT64_MIN, .to_ms = INT64_MAX};
    query.group_by = {Field::Parse("meter_id")};
    query.as_of_lsn = view_.visible;
    TALLY_ASSIGN_OR_RETURN(const UsageResult answer, Aggregate(view_, query));
    uint64_t events = 0;
    if (answer.lines.size() != meters.size()) {
      Fault("{}: {} meters by query, {} by rows", who, answer.lines.size(), meters.size());
    }
    for (const UsageLine& line : answer.lines) {
      events += line.count;
      const auto found = meters.find(line.keys[0]);
      if (found == meters.end()) {
        Fault("{}: no row has meter '{}'", who, line.keys[0]);
        continue;
      }
      const Total& total = found->second;
      ExactSum net;
      for (const ExactSum& sum : total.by_kind) net.Add(sum);
      if (line.quantity != net.ToString() || line.usage != total.by_kind[0].ToString() ||
          line.corrections != total.by_kind[1].ToString() ||
          line.retractions != total.by_kind[2].ToString() || line.count != total.count) {
        Fault("{}, meter '{}': {} in {} events by query, {} in {} by rows", who, line.keys[0],
              line.quantity, line.count, net.ToString(), total.count);
      }
    }
    return CompareListing(account, events);
  }

  Status CompareListing(const std::optional<std::string>& account, uint64_t events) {
    TALLY_ASSIGN_OR_RETURN(
        EventStream stream,
        ListEvents(view_, {.account_id = account, .from_ms = INT64_MIN, .to_ms = INT64_MAX}));
    uint64_t listed = 0;
    while (true) {
      TALLY_ASSIGN_OR_RETURN(const auto event, stream.Next());
      if (!event.has_value()) break;
      ++listed;
    }
    if (listed != events) {
      Fault("{}: {} events listed, {} counted", Who(account), listed, events);
    }
    return Status::Ok();
  }

  static std::string Who(const std::optional<std::string>& account) {
    return account.has_value() ? "account '" + *account + "'" : "all accounts";
  }

  const View& view_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  VerifyReport report_;
  Bytes encoded_;                                               // scratch
  std::map<std::string, std::map<std::string, Total>> totals_;  // account, meter
  std::map<std::string, Total> everything_;                     // meter
};

}  // namespace

Result<VerifyReport> Verify(const View& view,
                            const std::function<void(uint64_t, uint64_t)>& progress) {
  return Verifier(view, progress).Run();
}

}  // namespace tallystick
