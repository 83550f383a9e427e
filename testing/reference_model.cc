#include "testing/reference_model.h"

#include <date/tz.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/decimal.h"

namespace tallystick {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kDayMs = 24 * kHourMs;

Event WithoutStamp(Event event) {
  event.ingested_at_ms = 0;
  event.lsn = {};
  std::ranges::sort(event.dimensions);
  return event;
}

std::string Name(const Event& event) {
  return fmt::format("{} (quantity {})", event.event_id, event.quantity.ToString());
}

int64_t Floor(int64_t value, int64_t unit) { return value - ((value % unit) + unit) % unit; }

// Local midnights are walked, from two days before on, until the next one is too late.
int64_t BucketStart(int64_t ms, Field::Kind kind, const std::string& time_zone) {
  if (kind == Field::Kind::kHourStartMs) return Floor(ms, kHourMs);
  const date::time_zone* zone = date::locate_zone(time_zone.empty() ? "Etc/UTC" : time_zone);
  const auto day_of = [](int64_t at) {
    return date::local_days(date::days(Floor(at, kDayMs) / kDayMs));
  };
  const auto instant = [&](date::local_days midnight) {
    return std::chrono::milliseconds(
               zone->to_sys(midnight, date::choose::earliest).time_since_epoch())
        .count();
  };
  date::local_days day = day_of(ms) - date::days(2);
  while (instant(day + date::days(1)) <= ms) day += date::days(1);
  if (kind == Field::Kind::kDay) return instant(day);
  const date::year_month_day date(day);
  return instant(date::local_days(date.year() / date.month() / 1));
}

std::optional<std::string> FieldValue(const Event& event, const Field& field,
                                      const std::string& time_zone = "") {
  switch (field.kind) {
    case Field::Kind::kAccountId:
      return event.account_id;
    case Field::Kind::kSubscriptionId:
      return event.subscription_id;
    case Field::Kind::kProductId:
      return event.product_id;
    case Field::Kind::kMeterId:
      return event.meter_id;
    case Field::Kind::kModelId:
      return event.model_id;
    case Field::Kind::kSource:
      return event.source;
    case Field::Kind::kUnit:
      return event.unit;
    case Field::Kind::kKind:
      return std::string(EventKindName(event.kind));
    case Field::Kind::kHourStartMs:
    case Field::Kind::kDay:
    case Field::Kind::kMonth:
      return std::to_string(BucketStart(event.timestamp_ms, field.kind, time_zone));
    case Field::Kind::kDimension:
      for (const auto& [key, value] : event.dimensions) {
        if (key == field.dimension) return value;
      }
      return std::nullopt;
  }
  return std::nullopt;
}

bool Matches(const Event& event, const std::optional<std::string>& account, int64_t from,
             int64_t to, const std::vector<Filter>& filters) {
  if (account.has_value() && event.account_id != *account) return false;
  if (event.timestamp_ms < from || event.timestamp_ms >= to) return false;
  return std::ranges::all_of(filters, [&](const Filter& filter) {
    const auto value = FieldValue(event, filter.field);
    return value.has_value() && std::ranges::find(filter.values, *value) != filter.values.end();
  });
}

// What a metric is of an event: a number, or a text.
struct MetricValue {
  ExactSum number;
  std::string text;
  friend auto operator<=>(const MetricValue&, const MetricValue&) = default;
};

struct Sums {
  ExactSum by_kind[3];
  uint64_t count = 0;
  std::vector<std::set<MetricValue>> values;  // by metric: the distinct ones

  ExactSum Net() const {
    ExactSum net;
    for (const ExactSum& sum : by_kind) net.Add(sum);
    return net;
  }

  UsageLine Line(std::vector<std::string> keys, const std::vector<Metric>& metrics) const {
    UsageLine line;
    line.keys = std::move(keys);
    line.quantity = Net().ToString();
    line.usage = by_kind[0].ToString();
    line.corrections = by_kind[1].ToString();
    line.retractions = by_kind[2].ToString();
    line.count = count;
    for (size_t i = 0; i < metrics.size(); ++i) {
      auto& text = line.metrics.emplace_back();
      if (metrics[i].function == Metric::Function::kUnique) {
        text = std::to_string(values[i].size());
      } else if (!values[i].empty()) {
        const bool min = metrics[i].function == Metric::Function::kMin;
        const MetricValue& value = min ? *values[i].begin() : *values[i].rbegin();
        text = metrics[i].of.has_value() ? value.text : value.number.ToString();
      }
    }
    return line;
  }
};

std::string LineText(const UsageLine& line) {
  std::string text =
      fmt::format("[{}] {} = {} {} {} of {}", fmt::join(line.keys, ","), line.quantity, line.usage,
                  line.corrections, line.retractions, line.count);
  for (const auto& metric : line.metrics) text += ' ' + metric.value_or("none");
  return text;
}

std::string LinesText(const std::vector<UsageLine>& lines) {
  std::string text;
  for (const UsageLine& line : lines) text += LineText(line) + "; ";
  return text;
}

// A small generator, so that queries depend on nothing but the seed.
class Choice {
 public:
  explicit Choice(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t Below(uint64_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 11) % bound;
  }

 private:
  uint64_t state_;
};

}  // namespace

EventAsView::EventAsView(const Event& event) {
  for (const auto& [key, value] : event.dimensions) dimensions_.push_back({key, value});
  view_.event_id = event.event_id;
  view_.account_id = event.account_id;
  view_.product_id = event.product_id;
  view_.meter_id = event.meter_id;
  if (event.subscription_id) view_.subscription_id = *event.subscription_id;
  if (event.model_id) view_.model_id = *event.model_id;
  view_.unit = event.unit;
  view_.source = event.source;
  view_.kind = event.kind;
  if (event.correction_ref) {
    view_.correction_ref =
        CorrectionRefView{event.correction_ref->original_event_id, event.correction_ref->reason};
  }
  view_.timestamp_ms = event.timestamp_ms;
  view_.quantity = event.quantity;
  view_.dimensions = dimensions_;
}

ReferenceModel::ReferenceModel() : events_(std::make_shared<Events>()), rows_(1) {}

ReferenceModel::Payload ReferenceModel::Find(const Event& event) const {
  const auto id = events_->ids.find(event.event_id);
  if (id == events_->ids.end()) return kUnknown;
  for (const Payload payload : events_->payloads_of[id->second]) {
    if (events_->payloads[payload] == event) return payload;
  }
  return kUnknown;
}

ReferenceModel::Payload ReferenceModel::Intern(const Event& event) {
  if (const Payload known = Find(event); known != kUnknown) return known;
  const auto payload = static_cast<Payload>(events_->payloads.size());
  events_->payloads.push_back(event);
  const auto [id, fresh] =
      events_->ids.try_emplace(event.event_id, static_cast<uint32_t>(events_->ids.size()));
  if (fresh) events_->payloads_of.emplace_back();
  events_->payloads_of[id->second].push_back(payload);
  events_->id_of.push_back(id->second);
  return payload;
}

void ReferenceModel::Sent(std::span<const Event> events) {
  for (const Event& event : events) {
    const Payload payload = Intern(WithoutStamp(event));
    if (payload >= sent_.size()) sent_.resize(payload + 1);
    sent_[payload] = true;
  }
}

// Says that the row `lsn` is this event.
std::string ReferenceModel::Claim(const Event& event, Lsn lsn, bool quarantined, int64_t stamp_ms) {
  const Payload payload = Find(event);
  if (payload == kUnknown || payload >= sent_.size() || !sent_[payload]) {
    return fmt::format("LSN {} holds {}, which was never sent", lsn.value, Name(event));
  }
  if (lsn.value == 0) return Name(event) + " is said to be stored, without an LSN";
  const uint32_t id = events_->id_of[payload];
  if (counted_.size() <= id) counted_.resize(id + 1);
  if (quarantined_.size() <= payload) quarantined_.resize(payload + 1);
  uint64_t& place = quarantined ? quarantined_[payload] : counted_[id];
  if (place != 0 && place != lsn.value) {
    return fmt::format("{} stands at LSN {} and at LSN {}", Name(event), place, lsn.value);
  }
  if (rows_.size() <= lsn.value) rows_.resize(lsn.value + 1);
  Row& row = rows_[lsn.value];
  if (row.payload != kUnknown && (row.payload != payload || row.quarantined != quarantined)) {
    return fmt::format(
        "LSN {} was {}{} and is now {}{}", lsn.value, Name(events_->payloads[row.payload]),
        row.quarantined ? " as a conflict" : "", Name(event), quarantined ? " as a conflict" : "");
  }
  if (stamp_ms != 0 && row.stamp_ms != 0 && row.stamp_ms != stamp_ms) {
    return fmt::format("the stamp of LSN {} was {} and is now {}", lsn.value, row.stamp_ms,
                       stamp_ms);
  }
  row.payload = payload;
  row.quarantined = quarantined;
  if (stamp_ms != 0) row.stamp_ms = stamp_ms;
  place = lsn.value;
  said_ = std::max(said_, lsn);
  return "";
}

std::string ReferenceModel::Answered(std::span<const Event> events, const IngestResult& result) {
  if (result.outcomes.size() != events.size()) return "not every event has an outcome";
  uint64_t counts[4] = {};
  for (size_t i = 0; i < events.size(); ++i) {
    const EventOutcome& outcome = result.outcomes[i];
    ++counts[static_cast<size_t>(outcome.kind)];
    if (outcome.kind == OutcomeKind::kRejected) {
      return Name(events[i]) + " was rejected: " + outcome.rejection.message;
    }
    if (outcome.lsn > result.lsn) return Name(events[i]) + " has an LSN above the visible one";
    const Event event = WithoutStamp(events[i]);
    const bool quarantined = outcome.kind == OutcomeKind::kConflict;
    if (outcome.lsn.value == 0 && outcome.kind != OutcomeKind::kAccepted) {
      unplaced_.push_back({Find(event), quarantined});  // its segment could not be read
      continue;
    }
    if (outcome.kind == OutcomeKind::kAccepted && outcome.lsn.value < rows_.size() &&
        rows_[outcome.lsn.value].stamp_ms != 0 && rows_[outcome.lsn.value].payload != Find(event)) {
      return Name(event) + " was accepted at an LSN that another row has";
    }
    if (auto wrong = Claim(event, outcome.lsn, quarantined, 0); !wrong.empty()) return wrong;
  }
  if (result.accepted != counts[0] || result.duplicates != counts[1] ||
      result.conflicts != counts[2] || result.rejected != counts[3]) {
    return "the counts do not add up to the outcomes";
  }
  said_ = std::max(said_, result.lsn);
  return "";
}

std::string ReferenceModel::Learn(const Db& db) {
  const Lsn said = said_;
  auto stream = db.ListEvents({.account_id = std::nullopt,
                               .from_ms = 0,
                               .to_ms = INT64_MAX,
                               .filters = {},
                               .as_of_lsn = {},
                               .cursor = ""});
  if (!stream.ok()) return "the events cannot be listed: " + stream.status().ToString();
  const Lsn lsn = stream->lsn();
  // Without space for a new log the last frame is not shown yet.
  if (lsn < said && !db.GetStatus().read_only) {
    return fmt::format("LSN {} was said, and only {} is visible", said.value, lsn.value);
  }
  std::vector<bool> seen(lsn.value + 1);
  auto take = [&](const Event& event, bool quarantined) -> std::string {
    if (event.lsn.value == 0 || event.lsn > lsn) return Name(event) + " has an impossible LSN";
    if (seen[event.lsn.value]) return fmt::format("LSN {} is there twice", event.lsn.value);
    seen[event.lsn.value] = true;
    return Claim(WithoutStamp(event), event.lsn, quarantined, event.ingested_at_ms);
  };
  while (true) {
    auto event = stream->Next();
    if (!event.ok()) return "an event cannot be read: " + event.status().ToString();
    if (!event->has_value()) break;
    if (auto wrong = take(**event, false); !wrong.empty()) return wrong;
  }
  auto conflicts =
      db.ListConflicts({.account_id = {}, .limit = {}, .cursor = {}, .as_of_lsn = lsn});
  if (!conflicts.ok()) return "the conflicts cannot be listed: " + conflicts.status().ToString();
  for (const Conflict& conflict : conflicts->conflicts) {
    Event event = conflict.event;
    event.lsn = conflict.lsn;
    if (auto wrong = take(event, true); !wrong.empty()) return wrong;
  }
  rows_.resize(std::max<size_t>(rows_.size(), lsn.value + 1));
  for (uint64_t i = 1; i <= lsn.value; ++i) {
    if (seen[i]) continue;
    if (rows_[i].payload == kUnknown) return fmt::format("no row has LSN {}", i);
    return fmt::format("LSN {}, {}, is lost", i, Name(events_->payloads[rows_[i].payload]));
  }
  for (uint64_t i = 1; i < rows_.size(); ++i) {
    if (!rows_[i].quarantined) continue;
    const uint64_t original = counted_[events_->id_of[rows_[i].payload]];
    if (original == 0 || original > i || rows_[original].payload == rows_[i].payload) {
      return fmt::format("LSN {} is a conflict with nothing before it", i);
    }
  }
  for (const Unplaced& said_stored : unplaced_) {
    const Payload payload = said_stored.payload;
    const Event& event = events_->payloads[payload];
    const uint64_t place =
        said_stored.quarantined
            ? (payload < quarantined_.size() ? quarantined_[payload] : 0)
            : (events_->id_of[payload] < counted_.size() ? counted_[events_->id_of[payload]] : 0);
    if (place == 0 || rows_[place].payload != payload) {
      return Name(event) + " was said to be stored, and is not";
    }
  }
  unplaced_.clear();
  for (uint64_t i = 2; i <= lsn.value; ++i) {
    if (rows_[i].stamp_ms < rows_[i - 1].stamp_ms)
      return fmt::format("time goes back at LSN {}", i);
  }
  said_ = std::max(said_, lsn);
  learned_ = std::max(learned_, lsn);
  return "";
}

uint64_t ReferenceModel::rows_known() const {
  return static_cast<uint64_t>(
      std::ranges::count_if(rows_, [](const Row& row) { return row.payload != kUnknown; }));
}

std::string ReferenceModel::Digest() const {
  std::string text;
  for (size_t i = 1; i < rows_.size(); ++i) {
    text += rows_[i].payload == kUnknown ? "?" : Name(events_->payloads[rows_[i].payload]);
    text += rows_[i].quarantined ? "!;" : ";";
  }
  return text;
}

std::vector<Event> ReferenceModel::Everything() const {
  std::vector<Event> events;
  for (const Row& row : rows_) {
    if (row.payload != kUnknown) events.push_back(events_->payloads[row.payload]);
  }
  return events;
}

std::string ReferenceModel::CheckResent(std::span<const Event> events,
                                        const IngestResult& result) const {
  if (result.outcomes.size() != events.size()) return "not every event has an outcome";
  for (size_t i = 0; i < events.size(); ++i) {
    const EventOutcome& outcome = result.outcomes[i];
    const Payload payload = Find(WithoutStamp(events[i]));
    const uint64_t counted = counted_[events_->id_of[payload]];
    const bool original = counted != 0 && rows_[counted].payload == payload;
    const auto want = original ? OutcomeKind::kDuplicate : OutcomeKind::kConflict;
    const uint64_t lsn = original ? counted : quarantined_[payload];
    if (outcome.kind != want || outcome.lsn.value != lsn) {
      return fmt::format("{} was stored at LSN {}; sent again it is outcome {} at LSN {}",
                         Name(events[i]), lsn, static_cast<int>(outcome.kind), outcome.lsn.value);
    }
  }
  return "";
}

std::vector<UsageLine> ReferenceModel::Aggregate(const UsageQuery& query, Lsn lsn) const {
  std::map<std::vector<std::string>, Sums> groups;
  const auto group_of = [&](const std::vector<std::string>& keys) -> Sums& {
    Sums& sums = groups[keys];
    sums.values.resize(query.metrics.size());
    return sums;
  };
  if (query.group_by.empty()) group_of({});
  for (uint64_t i = 1; i <= lsn.value; ++i) {
    if (rows_[i].quarantined) continue;
    const Event& event = events_->payloads[rows_[i].payload];
    if (!Matches(event, query.account_id, query.from_ms, query.to_ms, query.filters)) continue;
    std::vector<std::string> keys;
    for (const Field& field : query.group_by) {
      keys.push_back(FieldValue(event, field, query.time_zone).value_or(""));
    }
    Sums& sums = group_of(keys);
    sums.by_kind[static_cast<size_t>(event.kind)].Add(event.quantity);
    ++sums.count;
    for (size_t m = 0; m < query.metrics.size(); ++m) {
      MetricValue value;
      if (query.metrics[m].of.has_value()) {
        const auto text = FieldValue(event, *query.metrics[m].of);
        if (!text.has_value()) continue;
        value.text = *text;
      } else {
        value.number.Add(event.quantity);
      }
      sums.values[m].insert(std::move(value));
    }
  }
  std::vector<std::pair<std::vector<std::string>, const Sums*>> sorted;
  for (const auto& [keys, sums] : groups) sorted.emplace_back(keys, &sums);
  // Only the orders that CheckQueries draws: by quantity, or by keys.
  if (!query.order.empty()) {
    std::ranges::stable_sort(sorted, [&](const auto& a, const auto& b) {
      return query.order[0].descending ? a.second->Net() > b.second->Net()
                                       : a.second->Net() < b.second->Net();
    });
  }
  if (query.group_limit.has_value() && sorted.size() > *query.group_limit) {
    sorted.resize(*query.group_limit);
  }
  std::vector<UsageLine> lines;
  for (const auto& [keys, sums] : sorted) lines.push_back(sums->Line(keys, query.metrics));
  return lines;
}

std::string ReferenceModel::CheckAggregate(const Db& db, UsageQuery query, Lsn lsn) const {
  const std::string want = LinesText(Aggregate(query, lsn));
  for (const ReadPath path : {ReadPath::kAuto, ReadPath::kRows, ReadPath::kEachRow}) {
    query.path = path;
    auto result = db.Aggregate(query);
    if (!result.ok()) return "aggregate: " + result.status().ToString();
    if (result->lsn != lsn) return "aggregate: another LSN than asked for";
    *rolled_up_ += result->rows.rollups;
    const std::string got = LinesText(result->lines);
    if (want != got) {
      return fmt::format("aggregate at LSN {} by path {}: want {} got {}", lsn.value,
                         static_cast<int>(path), want, got);
    }
  }
  return "";
}

std::string ReferenceModel::CheckEvents(const Db& db, const EventsQuery& query, Lsn lsn) const {
  std::vector<std::pair<int64_t, uint64_t>> want;  // (timestamp, LSN)
  for (uint64_t i = 1; i <= lsn.value; ++i) {
    if (rows_[i].quarantined) continue;
    const Event& event = events_->payloads[rows_[i].payload];
    if (Matches(event, query.account_id, query.from_ms, query.to_ms, query.filters)) {
      want.emplace_back(event.timestamp_ms, i);
    }
  }
  std::ranges::sort(want);
  auto stream = db.ListEvents(query);
  if (!stream.ok()) return "events: " + stream.status().ToString();
  for (size_t i = 0; i <= want.size(); ++i) {
    auto event = stream->Next();
    if (!event.ok()) return "events: " + event.status().ToString();
    if (event->has_value() != (i < want.size())) return "events: too few or too many";
    if (i == want.size()) break;
    const Row& row = rows_[want[i].second];
    if ((*event)->lsn.value != want[i].second || (*event)->ingested_at_ms != row.stamp_ms ||
        WithoutStamp(**event) != events_->payloads[row.payload]) {
      return fmt::format("events: place {} should have LSN {}", i, want[i].second);
    }
  }
  return "";
}

std::string ReferenceModel::CheckEvent(const Db& db, Payload payload, Lsn lsn) const {
  const uint32_t id = events_->id_of[payload];
  const Event& event = events_->payloads[payload];
  const uint64_t counted = id < counted_.size() ? counted_[id] : 0;
  const bool there = counted != 0 && counted <= lsn.value;
  auto found = db.GetEvent(event.event_id, {}, lsn);
  if (!there) {
    return found.status().code() == StatusCode::kNotFound ? "" : "event: found, and not stored yet";
  }
  if (!found.ok()) return "event: " + found.status().ToString();
  uint64_t conflicts = 0;
  for (const Payload other : events_->payloads_of[id]) {
    const uint64_t at = other < quarantined_.size() ? quarantined_[other] : 0;
    conflicts += at != 0 && at <= lsn.value ? 1 : 0;
  }
  if (found->event_lsn.value != counted || found->conflicts != conflicts ||
      WithoutStamp(found->event) != events_->payloads[rows_[counted].payload]) {
    return "event: " + event.event_id + " is another one than was stored, or its conflicts are";
  }
  return "";
}

std::string ReferenceModel::CheckConflicts(const Db& db, const ConflictsQuery& query,
                                           Lsn lsn) const {
  std::string want, got;
  for (uint64_t i = 1; i <= lsn.value; ++i) {
    if (!rows_[i].quarantined) continue;
    const Event& event = events_->payloads[rows_[i].payload];
    if (query.account_id.has_value() && event.account_id != *query.account_id) continue;
    want += fmt::format("{}<{};", i, counted_[events_->id_of[rows_[i].payload]]);
  }
  auto page = db.ListConflicts(query);
  if (!page.ok()) return "conflicts: " + page.status().ToString();
  for (const Conflict& conflict : page->conflicts) {
    got += fmt::format("{}<{};", conflict.lsn.value, conflict.original_lsn.value);
  }
  return want == got ? ""
                     : fmt::format("conflicts at LSN {}: want {} got {}", lsn.value, want, got);
}

std::string ReferenceModel::CheckQueries(const Db& db, Lsn lsn, uint64_t seed) const {
  static const std::vector<Field> kFields = [] {
    std::vector<Field> fields;
    for (const char* name :
         {"account_id", "product_id", "meter_id", "model_id", "source", "kind", "unit",
          "subscription_id", "hour_start_ms", "day", "month", "dimensions.region"}) {
      fields.push_back(Field::Parse(name));
    }
    return fields;
  }();
  // With daylight saving, half hours, and a clock that goes back over midnight.
  static const char* const kZones[] = {"", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"};
  Choice choice(seed);
  lsn = std::min(lsn, db.VisibleLsn());
  const auto& payloads = events_->payloads;
  std::optional<std::string> account;
  int64_t from = 0, to = INT64_MAX;
  std::vector<Filter> filters;
  if (!payloads.empty()) {
    const Event& some = payloads[choice.Below(payloads.size())];
    const Event& other = payloads[choice.Below(payloads.size())];
    if (choice.Below(3) > 0) account = some.account_id;
    if (choice.Below(2) > 0) from = some.timestamp_ms;
    if (choice.Below(2) > 0) to = other.timestamp_ms;
    switch (choice.Below(8)) {
      case 0:  // whole hours
        from = Floor(from, kHourMs);
        if (to < INT64_MAX) to = Floor(to, kHourMs) + kHourMs;
        break;
      case 1:  // one millisecond
        from = some.timestamp_ms;
        to = from + 1;
        break;
      case 2:
        from = Floor(some.timestamp_ms, kDayMs);
        to = from + 31 * kDayMs;
        break;
      default:
        break;
    }
    if (choice.Below(3) == 0) filters.push_back({Field::Parse("meter_id"), {other.meter_id}});
    if (choice.Below(6) == 0) filters.push_back({Field::Parse("kind"), {"Usage", "Retraction"}});
    if (choice.Below(6) == 0 && !other.dimensions.empty()) {
      const auto& [name, value] = other.dimensions[0];
      filters.push_back({Field::Parse("dimensions." + name), {value, "elsewhere"}});
    }
    if (auto wrong = CheckEvent(db, static_cast<Payload>(choice.Below(payloads.size())), lsn);
        !wrong.empty()) {
      return wrong;
    }
  }
  to = std::max(from, to);
  UsageQuery usage{.account_id = account, .from_ms = from, .to_ms = to};
  usage.filters = filters;
  usage.as_of_lsn = lsn;
  usage.time_zone = kZones[choice.Below(std::size(kZones))];
  for (uint64_t i = choice.Below(4); i > 0; --i) {
    usage.group_by.push_back(kFields[choice.Below(kFields.size())]);
  }
  using Function = Metric::Function;
  if (choice.Below(3) == 0) {
    usage.metrics.push_back({choice.Below(2) == 0 ? Function::kMin : Function::kMax, {}});
  }
  if (choice.Below(3) == 0) {
    constexpr Function kFunctions[] = {Function::kMin, Function::kMax, Function::kUnique};
    const Field& of = kFields[choice.Below(8)];  // none of the buckets
    usage.metrics.push_back({kFunctions[choice.Below(3)], of});
  }
  if (choice.Below(4) == 0) {
    usage.order.push_back({GroupOrder::By::kQuantity, 0, choice.Below(2) == 0});
    usage.group_limit = choice.Below(5);
  }
  if (auto wrong = CheckAggregate(db, usage, lsn); !wrong.empty()) return wrong;
  if (auto wrong = CheckEvents(db, {account, from, to, filters, lsn, "", nullptr}, lsn);
      !wrong.empty()) {
    return wrong;
  }
  if (auto wrong = CheckAccounts(db, lsn); !wrong.empty()) return wrong;
  return CheckConflicts(db, {account, {}, "", lsn}, lsn);
}

std::string ReferenceModel::CheckAccounts(const Db& db, Lsn lsn) const {
  std::set<std::string> want;
  for (uint64_t i = 1; i <= lsn.value; ++i) {
    if (!rows_[i].quarantined) want.insert(events_->payloads[rows_[i].payload].account_id);
  }
  std::set<std::string> got;
  AccountsQuery query{.prefix = "", .limit = 1, .cursor = "", .as_of_lsn = lsn};
  do {
    auto page = db.ListAccounts(query);
    if (!page.ok()) return "accounts: " + page.status().ToString();
    for (const std::string& account : page->account_ids) {
      if (!got.insert(account).second) return "accounts: " + account + " is there twice";
    }
    query.cursor = page->next_cursor;
  } while (!query.cursor.empty());
  return want == got ? "" : fmt::format("accounts: want {} got {}", want.size(), got.size());
}

}  // namespace tallystick
