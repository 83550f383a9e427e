// Reads the body with simdjson On-Demand.
//
// Invariants:
//  1. A value is either consumed with a check of its whole token, or walked (json_reader.h).
//  2. After the first JSON fault nothing of the document is touched any more.
//  3. A fault of the query (Refuse) never stops the reading: the rest must still be JSON.
#include "server/query_json.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/json_reader.h"
#include "base/result.h"
#include "base/text.h"
#include "base/utf8.h"
#include "server/time_parse.h"

namespace tallystick {
namespace {

namespace ondemand = simdjson::ondemand;
using By = GroupOrder::By;

enum Key : uint8_t {
  kSource,
  kAccountId,
  kFrom,
  kTo,
  kGroupBy,
  kFilters,
  kMetrics,
  kAsOfLsn,
  kAsOf,
  kMinLsn,
  kTimeZone,
  kGroupOrder,
  kGroupLimit,
  kUnknown,
};
constexpr std::string_view kKeys[] = {"source",    "account_id",  "from",       "to",    "group_by",
                                      "filters",   "metrics",     "as_of_lsn",  "as_of", "min_lsn",
                                      "time_zone", "group_order", "group_limit"};
static_assert(std::size(kKeys) == kUnknown);
constexpr size_t kRequired = kGroupBy + 1;  // the first ones; of the others null means absent

struct RawMetric {
  std::string name;
  std::string function;
  std::optional<std::string> of;
};

struct Function {
  std::string_view name;
  By value;
  std::optional<Metric::Function> metric;
};
constexpr Function kFunctions[] = {
    {"sum", By::kQuantity, std::nullopt},
    {"count", By::kCount, std::nullopt},
    {"sum_usage", By::kUsage, std::nullopt},
    {"sum_corrections", By::kCorrections, std::nullopt},
    {"sum_retractions", By::kRetractions, std::nullopt},
    {"min", By::kMetric, Metric::Function::kMin},
    {"max", By::kMetric, Metric::Function::kMax},
    {"unique", By::kMetric, Metric::Function::kUnique},
};

// What else an event has. Without `dimensions.` before them these names would be taken for
// dimensions, and a metric would count none where each event has one.
constexpr std::string_view kNotMeasured[] = {"event_id", "timestamp_ms", "ingested_at_ms",
                                             "correction_ref", "dimensions"};

Status InvalidShape(std::string_view why) { return Status::InvalidArgument("invalid_shape", why); }

Status InvalidMetric(const RawMetric& metric, std::string_view why) {
  return Status::InvalidArgument("invalid_metric",
                                 fmt::format("`metrics.{}`: {}", Shown(metric.name), why));
}

// What a metric is a column of; a new entry of `metrics` if it needs one.
Result<LineColumn> ResolveMetric(const RawMetric& raw, std::vector<Metric>& metrics) {
  const auto function = std::ranges::find_if(kFunctions, [&raw](const Function& known) {
    return EqualsIgnoringCase(known.name, raw.function);
  });
  if (function == std::end(kFunctions)) {
    return InvalidMetric(raw, fmt::format("there is no function `{}`", Shown(raw.function)));
  }
  LineColumn column{.name = raw.name, .value = function->value};
  const bool of_quantity = !raw.of || raw.of == "quantity";
  if (!function->metric) {
    if (!of_quantity) {
      return InvalidMetric(
          raw, fmt::format("`{}` is of the quantity, not of `{}`", function->name, Shown(*raw.of)));
    }
    return column;
  }
  Metric metric{.function = *function->metric};
  if (metric.function == Metric::Function::kUnique) {
    if (!raw.of) return InvalidMetric(raw, "`unique` needs `of`: {\"fn\":\"unique\",\"of\":FIELD}");
    column.number = true;
  }
  if (!of_quantity) {
    if (std::ranges::find(kNotMeasured, *raw.of) != std::end(kNotMeasured)) {
      return InvalidMetric(raw, fmt::format("`{0}` cannot be measured; a dimension of this name is "
                                            "`dimensions.{0}`",
                                            *raw.of));
    }
    metric.of = Field::Parse(*raw.of);
    const Field::Kind kind = metric.of->kind;
    if (kind == Field::Kind::kHourStartMs || kind == Field::Kind::kDay ||
        kind == Field::Kind::kMonth) {
      return InvalidMetric(raw, fmt::format("`{}` is a time bucket", Shown(*raw.of)));
    }
  }
  column.index = static_cast<uint32_t>(metrics.size());
  metrics.push_back(std::move(metric));
  return column;
}

class Reader {
 public:
  Result<QueryJson> Read(std::string_view text) {
    padded_.assign(text);
    padded_.append(kJsonPaddingBytes, ' ');
    if (!ReadDocument(std::string_view(padded_).substr(0, text.size()))) return json_.FaultStatus();
    TALLY_RETURN_IF_ERROR(fault_);
    return Resolve();
  }

 private:
  // --- the document ---

  bool ReadDocument(std::string_view text) {
    if (!json_.Begin(text)) return false;
    if (!json_.IsObject()) {
      Refuse(InvalidShape("the body must be an object"));
      return json_.WalkOther();
    }
    ondemand::object object;
    if (const auto error = json_.document().get_object().get(object)) return json_.Fault(error);
    std::array<bool, kUnknown> seen{};
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return json_.Fault(result.error());
      ondemand::field& field = JsonReader::InPlace(result);
      std::string_view name;
      if (!json_.ReadKey(field, &name)) return false;
      const auto key = static_cast<Key>(std::ranges::find(kKeys, name) - std::begin(kKeys));
      if (key == kUnknown) {
        if (!json_.Walk(field.value(), 1)) return false;
        continue;
      }
      if (seen[key]) Refuse(InvalidShape(fmt::format("`{}` occurs twice", name)));
      seen[key] = true;
      if (key >= kRequired && JsonReader::Token(field.value()) == "null") continue;
      if (!ReadValue(key, field.value())) return false;
    }
    for (size_t key = 0; key < kRequired; ++key) {
      if (!seen[key]) Refuse(InvalidShape(fmt::format("`{}` is missing", kKeys[key])));
    }
    return json_.End();
  }

  bool ReadValue(Key key, ondemand::value& value) {
    UsageQuery& query = out_.query;
    switch (key) {
      case kSource:
        return ReadText(value, "source", 1, source_);
      case kAccountId:
        return ReadText(value, "account_id", 1, query.account_id.emplace());
      case kFrom:
        return ReadTime(value, "from", query.from_ms);
      case kTo:
        return ReadTime(value, "to", query.to_ms);
      case kGroupBy:
        return ReadTexts(value, "group_by", 1, group_by_);
      case kFilters:
        return ReadFilters(value);
      case kMetrics:
        return ReadMetrics(value);
      case kAsOfLsn: {
        uint64_t lsn = 0;
        if (!ReadUint(value, "as_of_lsn", 0, lsn)) return false;
        out_.point.as_of_lsn = Lsn{lsn};
        return true;
      }
      case kAsOf:
        return ReadTime(value, "as_of", out_.point.as_of_ms.emplace());
      case kMinLsn:
        return ReadUint(value, "min_lsn", 0, out_.point.min_lsn.value);
      case kTimeZone:
        return ReadText(value, "time_zone", 1, query.time_zone);
      case kGroupOrder:
        return ReadTexts(value, "group_order", 1, order_);
      case kGroupLimit:
        return ReadUint(value, "group_limit", 1, query.group_limit.emplace());
      case kUnknown:
        break;
    }
    return json_.Walk(value, 1);
  }

  // --- values ---

  void Refuse(Status fault) {
    if (fault_.ok()) fault_ = std::move(fault);
  }

  // Instead of reading a value of a wrong type.
  bool RefuseType(ondemand::value& value, std::string_view name, std::string_view wanted,
                  size_t depth) {
    Refuse(InvalidShape(fmt::format("`{}` must be {}", Shown(name, 256), wanted)));
    return json_.Walk(value, depth);
  }

  bool ReadText(ondemand::value& value, std::string_view name, size_t depth, std::string& out) {
    if (!JsonReader::IsString(value)) return RefuseType(value, name, "a string", depth);
    std::string_view text;
    if (!json_.ReadString(value, &text)) return false;
    out = text;
    return true;
  }

  bool ReadTexts(ondemand::value& value, std::string_view name, size_t depth,
                 std::vector<std::string>& out) {
    if (JsonReader::Token(value)[0] != '[') {
      return RefuseType(value, name, "an array of strings", depth);
    }
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return json_.Fault(error);
    for (auto result : array) {
      ondemand::value element;
      if (const auto error = std::move(result).get(element)) return json_.Fault(error);
      std::string text;
      if (!ReadText(element, fmt::format("{}[{}]", name, out.size()), depth + 1, text))
        return false;
      out.push_back(std::move(text));
    }
    return true;
  }

  bool ReadUint(ondemand::value& value, std::string_view name, uint64_t min, uint64_t& out) {
    const std::string_view token = JsonReader::Token(value);
    const auto number = IsJsonNumber(token) ? ParseJsonInteger(token) : std::nullopt;
    if (!number || *number < 0 || static_cast<uint64_t>(*number) < min) {
      const std::string wanted =
          fmt::format("an integer from {} to {}", min, std::numeric_limits<int64_t>::max());
      return RefuseType(value, name, wanted, 1);
    }
    out = static_cast<uint64_t>(*number);
    return true;
  }

  bool ReadTime(ondemand::value& value, std::string_view name, int64_t& out) {
    const std::string_view token = JsonReader::Token(value);
    if (const auto number = ParseJsonInteger(token); number && IsJsonNumber(token)) {
      out = *number;
      return true;
    }
    if (!JsonReader::IsString(value)) {
      return RefuseType(value, name, "a time: RFC 3339 text or epoch milliseconds", 1);
    }
    std::string_view text;
    if (!json_.ReadString(value, &text)) return false;
    if (const auto time = ParseTime(text); time.ok()) {
      out = *time;
    } else {
      Refuse(time.status().WithContext(fmt::format("`{}`", name)));
    }
    return true;
  }

  // --- objects ---

  // Calls read(name, value) for each field. Names are distinct, and kQueryFieldsMax at most.
  template <typename Read>
  bool ReadFields(ondemand::value& value, std::string_view what, size_t depth, const Read& read) {
    if (JsonReader::Token(value)[0] != '{') return RefuseType(value, what, "an object", depth);
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return json_.Fault(error);
    std::vector<std::string> names;
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return json_.Fault(result.error());
      ondemand::field& field = JsonReader::InPlace(result);
      std::string_view key;
      if (!json_.ReadKey(field, &key)) return false;
      if (names.size() == kQueryFieldsMax) {
        RefuseNumber(what);
        if (!json_.Walk(field.value(), depth + 1)) return false;
        continue;
      }
      if (std::ranges::find(names, key) != names.end()) {
        Refuse(InvalidShape(fmt::format("`{}.{}` occurs twice", what, Shown(key))));
      }
      names.emplace_back(key);
      if (!read(names.back(), field.value())) return false;
    }
    return true;
  }

  void RefuseNumber(std::string_view what) {
    Refuse(Status::InvalidArgument(
        "invalid_parameter", fmt::format("`{}` has more than {} fields", what, kQueryFieldsMax)));
  }

  bool ReadFilters(ondemand::value& value) {
    return ReadFields(value, "filters", 1, [this](const std::string& name, ondemand::value& field) {
      Filter& filter = out_.query.filters.emplace_back();
      filter.field = Field::Parse(name);
      return ReadTexts(field, "filters." + name, 2, filter.values);
    });
  }

  bool ReadMetrics(ondemand::value& value) {
    return ReadFields(value, "metrics", 1, [this](const std::string& name, ondemand::value& field) {
      RawMetric& metric = metrics_.emplace_back();
      metric.name = name;
      if (JsonReader::IsString(field)) return ReadText(field, name, 2, metric.function);
      return ReadMetricObject(name, field, metric);
    });
  }

  bool ReadMetricObject(const std::string& name, ondemand::value& value, RawMetric& metric) {
    const std::string what = "metrics." + name;
    if (JsonReader::Token(value)[0] != '{') {
      return RefuseType(value, what, "a function's name, or an object with `fn` and `of`", 2);
    }
    bool has_function = false;
    const auto read = [&](const std::string& key, ondemand::value& field) {
      const std::string path = what + "." + key;
      if (key == "fn") {
        has_function = true;
        return ReadText(field, path, 3, metric.function);
      }
      if (key == "of") return ReadText(field, path, 3, metric.of.emplace());
      Refuse(InvalidShape(fmt::format("`{}` is unknown", Shown(path, 256))));
      return json_.Walk(field, 3);
    };
    if (!ReadFields(value, what, 2, read)) return false;
    if (!has_function) Refuse(InvalidShape(fmt::format("`{}.fn` is missing", Shown(what, 256))));
    return true;
  }

  // --- what it means ---

  Result<QueryJson> Resolve() {
    UsageQuery& query = out_.query;
    const bool raw = source_ == "usage_events";
    if (raw) query.path = ReadPath::kRows;
    out_.by_hour = !raw;
    TALLY_RETURN_IF_ERROR(CheckReadPoint(out_.point));
    const std::vector<std::string_view> names(group_by_.begin(), group_by_.end());
    TALLY_ASSIGN_OR_RETURN(query.group_by, ParseGroupBy(names));
    std::vector<LineColumn> columns = KeyColumns(query.group_by);
    for (const RawMetric& raw_metric : metrics_) {
      TALLY_ASSIGN_OR_RETURN(LineColumn column, ResolveMetric(raw_metric, query.metrics));
      const auto same = std::ranges::find(columns, column.name, &LineColumn::name);
      if (same != columns.end()) columns.erase(same);  // the metric covers the key
      columns.push_back(std::move(column));
    }
    out_.columns = std::move(columns);
    if (order_.size() > kQueryFieldsMax) {
      RefuseNumber("group_order");
      return fault_;
    }
    for (const std::string& text : order_) {
      TALLY_ASSIGN_OR_RETURN(const GroupOrder by, ParseGroupOrder(text, out_.columns));
      query.order.push_back(by);
    }
    if (query.group_limit && out_.columns.empty()) {
      return InvalidShape("`group_limit` needs `group_by` or `metrics`");
    }
    return std::move(out_);
  }

  JsonReader json_;
  std::string padded_;
  Status fault_;  // the first of the query
  QueryJson out_;
  std::string source_;
  std::vector<std::string> group_by_;
  std::vector<RawMetric> metrics_;
  std::vector<std::string> order_;
};

}  // namespace

Result<QueryJson> ParseQueryJson(std::string_view text) { return Reader().Read(text); }

}  // namespace tallystick
