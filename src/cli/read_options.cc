#include "cli/read_options.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "base/result.h"
#include "base/text.h"
#include "cli/calendar.h"
#include "server/json_writer.h"
#include "server/time_parse.h"
#include "tallystick/query.h"

namespace tallystick {
namespace {

constexpr std::string_view kSums[] = {"corrections", "count", "quantity", "retractions", "usage"};
constexpr uint32_t kPageRows = 100;
constexpr uint32_t kTopRows = 10;

std::string CheckTime(const std::string& text) {
  const auto time = ParseTime(text);
  return time.ok() ? "" : time.status().message();
}

std::string CheckTimeZone(const std::string& text) {
  const auto calendar = Calendar::Of(text);
  return calendar.ok() ? "" : calendar.status().message();
}

std::string CheckNotEmpty(const std::string& text) { return text.empty() ? "it is empty" : ""; }

// "a=b" -> "a", "b".
std::pair<std::string, std::string> SplitPair(const std::string& text) {
  const size_t at = text.find('=');
  if (at == std::string::npos) return {text, ""};
  return {text.substr(0, at), text.substr(at + 1)};
}

void AddPageParameters(const ReadOptions& options, Parameters* parameters) {
  if (!options.cursor.empty()) parameters->emplace_back("cursor", options.cursor);
  // What goes into a file or another program is not cut short unasked.
  const uint32_t limit = options.limit.value_or(options.csv ? 0 : kPageRows);
  if (limit > 0) parameters->emplace_back("limit", std::to_string(limit));
}

class JsonObject {
 public:
  std::string& Key(std::string_view key) {
    if (text_ != "{") text_ += ',';
    AppendJsonString(text_, key);
    text_ += ':';
    return text_;
  }
  void Add(std::string_view key, std::string_view text) { AppendJsonString(Key(key), text); }
  void Add(std::string_view key, uint64_t number) { AppendJsonUint(Key(key), number); }
  void Add(std::string_view key, const std::vector<std::string>& texts) {
    std::string& out = Key(key);
    out += '[';
    for (size_t i = 0; i < texts.size(); ++i) {
      if (i > 0) out += ',';
      AppendJsonString(out, texts[i]);
    }
    out += ']';
  }
  std::string Text() const { return text_ + '}'; }

 private:
  std::string text_ = "{";
};

std::string FiltersJson(const std::vector<std::string>& filters) {
  std::vector<std::pair<std::string, std::vector<std::string>>> fields;
  for (const std::string& filter : filters) {
    auto [name, value] = SplitPair(filter);
    auto field = std::ranges::find(fields, name, &decltype(fields)::value_type::first);
    if (field == fields.end()) field = fields.insert(field, {std::move(name), {}});
    field->second.push_back(std::move(value));
  }
  JsonObject out;
  for (const auto& [name, values] : fields) out.Add(name, values);
  return out.Text();
}

Result<std::string> MetricsJson(const std::vector<std::string>& metrics) {
  JsonObject out;
  std::vector<std::string> names;
  for (const std::string& metric : metrics) {
    const auto [name, what] = SplitPair(metric);
    if (std::ranges::find(names, name) != names.end()) {
      return Status::InvalidArgument("duplicate_metric",
                                     fmt::format("--metric `{}` is given twice", name));
    }
    names.push_back(name);
    const size_t colon = what.find(':');
    if (colon == std::string::npos) {
      out.Add(name, what);
      continue;
    }
    JsonObject function;
    function.Add("fn", what.substr(0, colon));
    function.Add("of", what.substr(colon + 1));
    out.Key(name) += function.Text();
  }
  return out.Text();
}

}  // namespace

void AddCommon(CLI::App& command, ReadOptions* options) {
  AddPlace(command, &options->place);
  auto* as_of_lsn = command.add_option("--as-of-lsn", options->as_of_lsn,
                                       "Read the past: the database as it was at this LSN");
  command
      .add_option("--as-of", options->as_of,
                  "Read the past: the database as it was at this time (RFC 3339 or epoch ms)")
      ->check(CheckTime)
      ->excludes(as_of_lsn);
  command.add_option("--min-lsn", options->min_lsn,
                     "Wait until this LSN is visible: read what was just ingested");
  command.add_flag("--json", options->json, "The answer as JSON, for programs");
}

void AddAccount(CLI::App& command, ReadOptions* options, const char* description, bool required) {
  command.add_option("account", options->account, description)
      ->required(required)
      ->check(CheckNotEmpty);
}

void AddRange(CLI::App& command, ReadOptions* options) {
  command.add_option("--from", options->from, "Start, included: RFC 3339 or epoch milliseconds")
      ->check(CheckTime)
      ->default_str("the beginning");
  command.add_option("--to", options->to, "End, excluded")
      ->check(CheckTime)
      ->default_str("the end");
}

void AddFilters(CLI::App& command, ReadOptions* options, const char* description,
                std::string (*check)(const std::string&)) {
  command.add_option("--filter", options->filters, description)
      ->check(check)
      ->expected(1)
      ->take_all();
}

void AddGroups(CLI::App& command, ReadOptions* options) {
  command.add_option("--group-by", options->group_by,
                     "Comma list: account_id, product_id, meter_id, model_id, source, unit, kind, "
                     "subscription_id, hour_start_ms, day, month, or a dimension");
  command.add_option("--order", options->order,
                     "Comma list of group keys or numbers to sort by; '-' before a name: "
                     "descending");
  command.add_option("--group-limit", options->group_limit, "The first lines only")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--time-zone", options->time_zone,
                  "Where days and months begin: an IANA name, e.g. Europe/Berlin")
      ->check(CheckTimeZone)
      ->default_str("UTC");
}

void AddSource(CLI::App& command, ReadOptions* options) {
  command
      .add_option("--source", options->source,
                  "What the sums are computed from: event by event, or rollups too; they are the "
                  "same")
      ->check(CLI::IsMember({"raw", "rollup"}));
}

void AddPaging(CLI::App& command, ReadOptions* options) {
  command.add_option("--limit", options->limit, "Rows of a page; 0: everything")
      ->default_str(std::to_string(kPageRows));
  command.add_option("--cursor", options->cursor, "Go on behind an earlier page");
}

void AddCsv(CLI::App& command, ReadOptions* options, const char* description) {
  command.add_flag("--csv", options->csv, description)->excludes("--json");
}

std::string CheckEventFilter(const std::string& text) {
  const auto name = SplitPair(text).first;
  const bool known = name == "product_id" || name == "meter_id" || name == "model_id" ||
                     (name.starts_with("dimensions.") && name != "dimensions.");
  if (known && name.size() < text.size()) return "";
  return fmt::format(
      "`{}` is not FIELD=VALUE with product_id, meter_id, model_id or dimensions.NAME", text);
}

std::string CheckUsageFilter(const std::string& text) {
  return text.starts_with("account_id=") ? "" : CheckEventFilter(text);
}

std::string CheckQueryFilter(const std::string& text) {
  const auto name = SplitPair(text).first;
  if (!name.empty() && name.size() < text.size()) return "";
  return fmt::format("`{}` is not FIELD=VALUE", text);
}

std::string CheckMetric(const std::string& text) {
  const auto [name, what] = SplitPair(text);
  const std::string function = what.substr(0, what.find(':'));
  if (!name.empty() && !function.empty() && !what.ends_with(':')) return "";
  return fmt::format("`{}` is not NAME=FUNCTION or NAME=FUNCTION:FIELD", text);
}

std::vector<std::string> SplitNames(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view name = TrimBlanks(text.substr(0, end));
    if (!name.empty()) names.emplace_back(name);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return names;
}

Parameters CommonParameters(const ReadOptions& options) {
  Parameters parameters;
  if (options.as_of_lsn) parameters.emplace_back("as_of_lsn", std::to_string(*options.as_of_lsn));
  if (!options.as_of.empty()) parameters.emplace_back("as_of", options.as_of);
  if (options.min_lsn) parameters.emplace_back("min_lsn", std::to_string(*options.min_lsn));
  return parameters;
}

Parameters RangeParameters(const ReadOptions& options) {
  Parameters parameters = CommonParameters(options);
  parameters.emplace_back("from", options.from);
  parameters.emplace_back("to", options.to);
  for (const std::string& filter : options.filters) parameters.push_back(SplitPair(filter));
  return parameters;
}

Request UsageRequest(const ReadOptions& options) {
  Parameters parameters = RangeParameters(options);
  if (!options.group_by.empty()) parameters.emplace_back("group_by", options.group_by);
  if (!options.order.empty()) parameters.emplace_back("group_order", options.order);
  if (options.group_limit) {
    parameters.emplace_back("group_limit", std::to_string(*options.group_limit));
  }
  if (!options.time_zone.empty()) parameters.emplace_back("time_zone", options.time_zone);
  if (!options.source.empty()) parameters.emplace_back("source", options.source);
  std::vector<std::string> path = {"v1", "usage"};
  if (!options.account.empty()) path = {"v1", "accounts", options.account, "usage"};
  return {MakeTarget(path, parameters), {}, options.csv};
}

Request TopRequest(const ReadOptions& options) {
  Parameters parameters = RangeParameters(options);
  if (!options.meter.empty()) parameters.emplace_back("meter_id", options.meter);
  parameters.emplace_back("group_by", "account_id,meter_id");
  parameters.emplace_back("group_order", "-quantity");
  parameters.emplace_back("group_limit", std::to_string(options.limit.value_or(kTopRows)));
  if (!options.source.empty()) parameters.emplace_back("source", options.source);
  return {MakeTarget({"v1", "usage"}, parameters), {}, false};
}

Request EventsRequest(const ReadOptions& options) {
  Parameters parameters = RangeParameters(options);
  AddPageParameters(options, &parameters);
  return {MakeTarget({"v1", "accounts", options.account, "usage", "events"}, parameters),
          {},
          options.csv};
}

Request EventRequest(const ReadOptions& options) {
  Parameters parameters = CommonParameters(options);
  if (!options.account.empty()) parameters.emplace_back("account_id", options.account);
  return {MakeTarget({"v1", "events", options.event_id}, parameters), {}, false};
}

Request ConflictsRequest(const ReadOptions& options) {
  Parameters parameters = CommonParameters(options);
  AddPageParameters(options, &parameters);
  if (!options.account.empty()) parameters.emplace_back("account_id", options.account);
  return {MakeTarget({"v1", "conflicts"}, parameters), {}, false};
}

Request ExplainRequest(const ReadOptions& options) {
  Parameters parameters = RangeParameters(options);
  if (options.analyze) parameters.emplace_back("analyze", "true");
  return {MakeTarget({"v1", "accounts", options.account, "explain"}, parameters), {}, false};
}

Request VerifyRequest(const ReadOptions& options) {
  return {MakeTarget({"v1", "accounts", options.account, "verify"}, RangeParameters(options)),
          {},
          false};
}

Result<Request> QueryRequest(const ReadOptions& options) {
  JsonObject body;
  body.Add("source", options.source == "raw" ? "usage_events" : "usage_rollup_hourly");
  body.Add("account_id", options.account);
  body.Add("from", options.from);
  body.Add("to", options.to);
  body.Add("group_by", SplitNames(options.group_by));
  if (!options.filters.empty()) body.Key("filters") += FiltersJson(options.filters);
  if (!options.metrics.empty()) {
    TALLY_ASSIGN_OR_RETURN(const std::string metrics, MetricsJson(options.metrics));
    body.Key("metrics") += metrics;
  }
  if (!options.order.empty()) body.Add("group_order", SplitNames(options.order));
  if (options.group_limit) body.Add("group_limit", *options.group_limit);
  if (!options.time_zone.empty()) body.Add("time_zone", options.time_zone);
  if (options.as_of_lsn) body.Add("as_of_lsn", *options.as_of_lsn);
  if (!options.as_of.empty()) body.Add("as_of", options.as_of);
  if (options.min_lsn) body.Add("min_lsn", *options.min_lsn);
  return QueryRequest(options, body.Text());
}

Request QueryRequest(const ReadOptions& options, std::string body) {
  return {"/v1/query/json", std::move(body), options.csv};
}

std::string LineKey(std::string_view group_by_name) {
  const std::string name = Field::Parse(group_by_name).Name();
  const bool taken = std::ranges::find(kSums, std::string_view(name)) != std::end(kSums);
  return taken ? "dimensions." + name : name;
}

Result<std::string> ChoosePlotBucket(ReadOptions* options) {
  std::string bucket;
  for (const std::string& name : SplitNames(options->group_by)) {
    if (!BucketOf(name) || name == bucket) continue;
    if (!bucket.empty()) {
      return Status::InvalidArgument(
          "invalid_plot",
          fmt::format("--plot with both `{}` and `{}` in --group-by", bucket, name));
    }
    bucket = name;
  }
  if (!bucket.empty()) return bucket;
  options->group_by += options->group_by.empty() ? "day" : ",day";
  return std::string("day");
}

}  // namespace tallystick
