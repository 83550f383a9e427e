// Independent counts must agree: the rows one by one, the keys (in key tables and sidecars), the
// lines of rollups, and the answers of queries by every path.
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
#include "query/row_scan.h"
#include "rollup/rollup_check.h"

namespace tallystick {
namespace {

constexpr size_t kFaultsMax = 100;  // the first hundred say enough
constexpr uint64_t kProgressRows = 100'000;
constexpr size_t kKeysAtOnce = 4096;

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
    TALLY_RETURN_IF_ERROR(CheckFiles());
    CheckTiling();
    TALLY_RETURN_IF_ERROR(WalkRows());
    CountKeys();
    TALLY_RETURN_IF_ERROR(CompareTotals());
    return std::move(report_);
  }

 private:
  struct Expected {
    Lsn lsn;
    RowPlace place;
    uint64_t payload_hash = 0;
  };

  template <typename... Args>
  void Fault(fmt::format_string<Args...> format, Args&&... args) {
    if (report_.faults.size() < kFaultsMax) {
      report_.faults.push_back(fmt::format(format, std::forward<Args>(args)...));
    }
  }

  // A fault of the files is reported; only what cannot be read at all ends the walk.
  Status CheckFiles() {
    for (const auto& segment : view_.version->segments) {
      const std::string& path = segment->rows().path();
      const auto totals = CheckSegment(segment->rows(), {});
      if (!totals.ok()) {
        Fault("{}", totals.status().message());
        return NoteDamage(*segment, totals.status());
      }
      if (totals->rows != segment->listed().rows) {
        Fault("{}: {} rows, the manifest says {}", path, totals->rows, segment->listed().rows);
      }
      const auto sidecar = segment->sidecar();
      if (sidecar == nullptr) {
        Fault("{}: has no sidecar to compare with; it is being rebuilt", path);
      } else if (Status status = CheckSidecar(*sidecar); !status.ok()) {
        Fault("{}", status.message());
      }
      TALLY_RETURN_IF_ERROR(CheckSums(*segment));
    }
    return Status::Ok();
  }

  // The rollup, every line of it, against the rows.
  Status CheckSums(const LiveSegment& segment) {
    const auto rollup = segment.rollup();
    if (rollup == nullptr) return Status::Ok();  // no fault: rows answer until it is rebuilt
    const RollupComparison found = CompareWithRows(*rollup, segment.rows(), {});
    if (!found.rows.ok()) return NoteDamage(segment, found.rows);
    if (!found.rollup.ok()) Fault("{}", found.rollup.message());
    report_.rollup_lines += found.lines;
    return Status::Ok();
  }

  void CheckTiling() {
    Lsn next{1};
    auto follows = [&](Lsn first, Lsn last) {
      if (first != next) Fault("LSN {} is followed by {}", next.value - 1, first.value);
      next = {last.value + 1};
    };
    for (const auto& segment : view_.version->segments) {
      follows(segment->listed().first_lsn, segment->listed().last_lsn);
    }
    for (const auto& memtable : view_.version->memtables) {
      if (memtable->empty() || memtable->first_lsn() > view_.visible) continue;
      const Lsn last = std::min(Lsn{memtable->end_lsn().value - 1}, view_.visible);
      memory_rows_ += last.value + 1 - memtable->first_lsn().value;
      follows(memtable->first_lsn(), last);
    }
    if (next.value != view_.visible.value + 1) {
      Fault("the rows end at LSN {}, the visible LSN is {}", next.value - 1, view_.visible.value);
    }
  }

  Status WalkRows() {
    Status status;
    const std::optional<std::string> all;
    TALLY_RETURN_IF_ERROR(
        ForEachRow(view_, {.account_id = all, .lsn = view_.visible, .columns = kAllSegmentColumns},
                   [&](const RowAt& at) {
                     status = CheckRow(at);
                     return status.ok();
                   }));
    TALLY_RETURN_IF_ERROR(status);
    return CheckKeys();
  }

  Status CheckRow(const RowAt& at) {
    if (++report_.rows % kProgressRows == 0 && progress_) {
      progress_(report_.rows, view_.visible.value);
    }
    const RowView& row = at.row;
    encoded_.clear();
    EncodeRow(row, encoded_);
    if (at.place.in_memory() &&
        !std::ranges::equal(encoded_, MemtableOf(view_, at.lsn).Record(at.lsn).canonical)) {
      Fault("LSN {} (event '{}'): is not in canonical form", at.lsn.value, row.event_id);
    }
    const bool quarantined = at.disposition == Disposition::kQuarantined;
    const RowKey key = KeyOfRow(view_.scope, row, at.disposition, encoded_);
    keys_.push_back(key.key);
    expected_.push_back({at.lsn, at.place, key.payload_hash});
    if (keys_.size() == kKeysAtOnce) TALLY_RETURN_IF_ERROR(CheckKeys());
    if (quarantined) {
      ++report_.conflicts;
      TALLY_ASSIGN_OR_RETURN(const auto original,
                             FindEvent(view_, row.account_id, row.event_id, at.lsn));
      if (!original.has_value()) {
        Fault("LSN {} (event '{}'): a conflict without an original", at.lsn.value, row.event_id);
      }
      return Status::Ok();
    }
    if (row.timestamp_ms == INT64_MAX) return Status::Ok();  // no half-open range reaches it
    totals_[std::string(row.account_id)][std::string(row.meter_id)].Add(row.kind, row.quantity);
    everything_[std::string(row.meter_id)].Add(row.kind, row.quantity);
    return Status::Ok();
  }

  // Every key leads to its own row, with its payload's hash, and to nothing else anywhere.
  Status CheckKeys() {
    std::vector<uint32_t> leads(keys_.size(), 0);
    for (const auto& memtable : view_.version->memtables) {
      for (size_t i = 0; i < keys_.size(); ++i) {
        const auto found = memtable->keys().Find(keys_[i]);
        // A key above the visible LSN may belong to a row that is being committed.
        if (!found.has_value() || found->lsn > view_.visible) continue;
        Lead(i, expected_[i].place.in_memory() && found->lsn == expected_[i].lsn,
             found->payload_hash, &leads[i]);
      }
    }
    const SegmentList& segments = view_.version->segments;
    for (uint32_t s = 0; s < segments.size(); ++s) {
      const auto sidecar = segments[s]->sidecar();
      if (sidecar == nullptr) continue;  // said already
      std::vector<uint32_t> candidates;
      sidecar->Filter(keys_, &candidates);
      std::vector<std::optional<SidecarReader::Found>> found(candidates.size());
      if (Status status = sidecar->Find(keys_, candidates, found); !status.ok()) {
        Fault("{}", status.message());
        continue;
      }
      for (size_t k = 0; k < candidates.size(); ++k) {
        if (!found[k].has_value()) continue;
        const uint32_t i = candidates[k];
        const RowPlace& place = expected_[i].place;
        Lead(i, place.segment == s && place.row == found[k]->row, found[k]->payload_hash,
             &leads[i]);
      }
    }
    for (size_t i = 0; i < keys_.size(); ++i) {
      const RowPlace& place = expected_[i].place;
      const bool unknown = !place.in_memory() && segments[place.segment]->sidecar() == nullptr;
      if (leads[i] == 0 && !unknown) {
        Fault("{}: its key leads to nothing", Name(expected_[i]));
      }
    }
    keys_.clear();
    expected_.clear();
    return Status::Ok();
  }

  void Lead(size_t i, bool own, uint64_t payload_hash, uint32_t* leads) {
    if (!own) {
      Fault("{}: its key leads to another row too", Name(expected_[i]));
    } else if (payload_hash != expected_[i].payload_hash) {
      Fault("{}: its key has another payload hash", Name(expected_[i]));
    }
    ++*leads;
  }

  std::string Name(const Expected& row) const {
    const auto event = ReadEvent(view_, {row.lsn, row.place});
    return fmt::format("LSN {} (event '{}')", row.lsn.value, event.ok() ? event->event_id : "?");
  }

  // Together with CheckKeys: no key without a row.
  void CountKeys() {
    uint64_t keys = 0;
    for (const auto& memtable : view_.version->memtables) {
      memtable->keys().ForEach([&](const EventHash&, const KeyTable::Found& found) {
        if (found.lsn <= view_.visible) ++keys;
      });
    }
    if (keys != memory_rows_) Fault("there are {} keys for {} rows in memory", keys, memory_rows_);
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
    TALLY_ASSIGN_OR_RETURN(const PathComparison paths, ComparePaths(view_, query, context_));
    for (const std::string& fault : paths.faults) Fault("{}: {}", who, fault);
    const UsageResult& answer = paths.rollups;
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
        ListEvents(view_, {.account_id = account, .from_ms = INT64_MIN, .to_ms = INT64_MAX},
                   QueryContext()));
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
  QueryContext context_;  // no limits: it takes as long as it takes
  const std::function<void(uint64_t, uint64_t)>& progress_;
  VerifyReport report_;
  uint64_t memory_rows_ = 0;
  std::vector<EventHash> keys_;     // of the rows since the last CheckKeys
  std::vector<Expected> expected_;  // of the same rows
  Bytes encoded_;                   // scratch
  std::map<std::string, std::map<std::string, Total>> totals_;  // account, meter
  std::map<std::string, Total> everything_;                     // meter
};

}  // namespace

Result<VerifyReport> Verify(const View& view,
                            const std::function<void(uint64_t, uint64_t)>& progress) {
  return Verifier(view, progress).Run();
}

}  // namespace tallystick
