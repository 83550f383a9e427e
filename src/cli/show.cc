// The commands that read: usage, events, event, conflicts. Each asks a Source as an HTTP client
// would, and prints the answer as it is (--json) or as a table.
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/result.h"
#include "cli/command.h"
#include "cli/json_rows.h"
#include "cli/source.h"
#include "cli/table.h"
#include "server/time_parse.h"

namespace tallystick {
namespace {

using Parameters = std::vector<std::pair<std::string, std::string>>;

struct ReadOptions {
  Place place;
  std::string id;  // account or event
  std::string from = "0";
  std::string to = "9223372036854775807";
  std::string group_by;
  std::vector<std::string> filters;  // FIELD=VALUE
  std::string account;
  std::string as_of_lsn;
  std::string cursor;
  uint32_t limit = 100;  // 0: everything
  bool json = false;
};

std::string CheckTime(const std::string& text) {
  const auto time = ParseTime(text);
  return time.ok() ? "" : time.status().message();
}

std::string CheckFilter(const std::string& text) {
  const size_t at = text.find('=');
  const std::string name = text.substr(0, at);
  const bool known = name == "product_id" || name == "meter_id" || name == "model_id" ||
                     (name.starts_with("dimensions.") && name != "dimensions.");
  if (at != std::string::npos && known) return "";
  return fmt::format(
      "`{}` is not FIELD=VALUE with product_id, meter_id, model_id or dimensions.NAME", text);
}

void AddRange(CLI::App& command, ReadOptions* options) {
  command.add_option("--from", options->from, "Start, included: RFC 3339 or epoch milliseconds")
      ->check(CheckTime)
      ->default_str("the beginning");
  command.add_option("--to", options->to, "End, excluded")
      ->check(CheckTime)
      ->default_str("the end");
  command
      .add_option("--filter", options->filters,
                  "FIELD=VALUE, may be repeated: product_id, meter_id, model_id, dimensions.NAME")
      ->check(CheckFilter)
      ->expected(1)
      ->take_all();
}

void AddCommon(CLI::App& command, ReadOptions* options) {
  AddPlace(command, &options->place);
  command
      .add_option("--as-of-lsn", options->as_of_lsn, "Read the past: the database as it was then")
      ->check(CLI::TypeValidator<uint64_t>());
  command.add_flag("--json", options->json, "The answer as JSON, for programs");
}

void AddPaging(CLI::App& command, ReadOptions* options) {
  command.add_option("--limit", options->limit, "Rows of a page; 0: everything")
      ->capture_default_str();
  command.add_option("--cursor", options->cursor, "Go on behind an earlier page");
}

Parameters CommonParameters(const ReadOptions& options) {
  Parameters parameters;
  if (!options.as_of_lsn.empty()) parameters.emplace_back("as_of_lsn", options.as_of_lsn);
  if (!options.cursor.empty()) parameters.emplace_back("cursor", options.cursor);
  return parameters;
}

Parameters RangeParameters(const ReadOptions& options) {
  Parameters parameters = CommonParameters(options);
  parameters.emplace_back("from", options.from);
  parameters.emplace_back("to", options.to);
  for (const std::string& filter : options.filters) {
    const size_t at = filter.find('=');
    parameters.emplace_back(filter.substr(0, at), filter.substr(at + 1));
  }
  return parameters;
}

// Gets the answer and prints it; `to_text` makes what people read.
int Show(const ReadOptions& options, const std::string& target, std::string_view rows_key,
         const std::function<std::string(const JsonRows&)>& to_text) {
  auto source = Source::Open(options.place.url, options.place.data);
  if (!source.ok()) return Fail(source.status());
  const auto answer = (*source)->Get(target);
  if (!answer.ok()) return Fail(answer.status());
  if (options.json) return Print(*answer + "\n") ? kExitOk : kExitFailed;
  const auto rows = ReadJsonRows(*answer, rows_key);
  if (!rows.ok()) return Fail(rows.status());
  return Print(to_text(*rows)) ? kExitOk : kExitFailed;
}

std::string Footer(const JsonRows& answer) {
  std::string out = fmt::format("as of LSN {}\n", Member(answer.top, "lsn"));
  if (const std::string& cursor = Member(answer.top, "next_cursor"); !cursor.empty()) {
    out += fmt::format("more: --cursor {}\n", cursor);
  }
  return out;
}

std::string TimeText(const std::string& epoch_ms) {
  const auto time = ParseTime(epoch_ms);
  return time.ok() ? FormatTime(*time) : epoch_ms;
}

std::vector<std::string> GroupKeys(std::string_view text) {
  std::vector<std::string> keys;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    if (const std::string_view key = text.substr(0, end); !key.empty()) keys.emplace_back(key);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return keys;
}

int ShowUsage(const ReadOptions& options) {
  Parameters parameters = RangeParameters(options);
  if (!options.group_by.empty()) parameters.emplace_back("group_by", options.group_by);
  const std::string target = MakeTarget({"v1", "accounts", options.id, "usage"}, parameters);
  return Show(options, target, "lines", [&](const JsonRows& answer) {
    const std::vector<std::string> keys = GroupKeys(options.group_by);
    std::vector<std::string> header = keys;
    for (const char* metric : {"quantity", "usage", "corrections", "retractions", "count"}) {
      header.emplace_back(metric);
    }
    Table table(header);
    for (const JsonRow& row : answer.rows) {
      std::vector<std::string> cells;
      for (const std::string& name : header) {
        const bool bucket = name == "hour_start_ms" || name == "day";
        cells.push_back(bucket ? TimeText(Member(row, name)) : Member(row, name));
      }
      table.Add(std::move(cells));
    }
    return table.ToString() + Footer(answer);
  });
}

const std::vector<std::string>& EventHeader() {
  static const std::vector<std::string> header = {"time",     "event_id", "kind", "product_id",
                                                  "meter_id", "quantity", "unit"};
  return header;
}

std::vector<std::string> EventCells(const JsonRow& row, const std::string& prefix) {
  std::vector<std::string> cells = {TimeText(Member(row, prefix + "timestamp_ms"))};
  for (size_t i = 1; i < EventHeader().size(); ++i) {
    cells.push_back(Member(row, prefix + EventHeader()[i]));
  }
  return cells;
}

int ShowEvents(const ReadOptions& options) {
  Parameters parameters = RangeParameters(options);
  if (options.limit > 0) parameters.emplace_back("limit", std::to_string(options.limit));
  const std::string target =
      MakeTarget({"v1", "accounts", options.id, "usage", "events"}, parameters);
  return Show(options, target, "events", [](const JsonRows& answer) {
    Table table(EventHeader());
    for (const JsonRow& row : answer.rows) table.Add(EventCells(row, ""));
    return table.ToString() + Footer(answer);
  });
}

int ShowEvent(const ReadOptions& options) {
  Parameters parameters = CommonParameters(options);
  if (!options.account.empty()) parameters.emplace_back("account_id", options.account);
  return Show(options, MakeTarget({"v1", "events", options.id}, parameters), "",
              [](const JsonRows& answer) {
                Table table({"field", "value"});
                for (const auto& [name, value] : answer.top) {
                  const bool time = name == "event.timestamp_ms" || name == "event.ingested_at_ms";
                  if (!value.empty()) table.Add({name, time ? TimeText(value) : value});
                }
                return table.ToString();
              });
}

int ShowConflicts(const ReadOptions& options) {
  Parameters parameters = CommonParameters(options);
  if (!options.account.empty()) parameters.emplace_back("account_id", options.account);
  if (options.limit > 0) parameters.emplace_back("limit", std::to_string(options.limit));
  return Show(options, MakeTarget({"v1", "conflicts"}, parameters), "conflicts",
              [](const JsonRows& answer) {
                std::vector<std::string> header = {"lsn", "original_lsn", "account_id"};
                header.insert(header.end(), EventHeader().begin(), EventHeader().end());
                Table table(header);
                for (const JsonRow& row : answer.rows) {
                  std::vector<std::string> cells = {Member(row, "lsn"), Member(row, "original_lsn"),
                                                    Member(row, "event.account_id")};
                  for (std::string& cell : EventCells(row, "event.")) {
                    cells.push_back(std::move(cell));
                  }
                  table.Add(std::move(cells));
                }
                return table.ToString() + Footer(answer);
              });
}

// A command with its own options; `run` gets them when it was chosen.
std::pair<CLI::App*, ReadOptions*> AddCommand(CLI::App& app, Action* action, const char* name,
                                              const char* description,
                                              int (*run)(const ReadOptions&), const char* example) {
  const auto options = std::make_shared<ReadOptions>();
  CLI::App* command = app.add_subcommand(name, description);
  command->footer(std::string("Example:\n  ") + example);
  command->callback([=] { *action = [=] { return run(*options); }; });
  return {command, options.get()};
}

}  // namespace

void AddReads(CLI::App& app, Action* action) {
  {
    auto [command, options] =
        AddCommand(app, action, "usage", "What an account used: sums, exact", ShowUsage,
                   "tallystick usage acme --url http://127.0.0.1:8080 --group-by meter_id "
                   "--from 2026-06-01T00:00:00Z --to 2026-07-01T00:00:00Z");
    command->add_option("account", options->id, "The account")->required();
    command->add_option("--group-by", options->group_by,
                        "Comma list: product_id, meter_id, model_id, source, unit, kind, "
                        "subscription_id, hour_start_ms, day, or a dimension");
    AddRange(*command, options);
    AddCommon(*command, options);
  }
  {
    auto [command, options] =
        AddCommand(app, action, "events", "An account's events, by time", ShowEvents,
                   "tallystick events acme --data data --limit 10 --filter meter_id=input_tokens");
    command->add_option("account", options->id, "The account")->required();
    AddRange(*command, options);
    AddPaging(*command, options);
    AddCommon(*command, options);
  }
  {
    auto [command, options] =
        AddCommand(app, action, "event", "One event by its id", ShowEvent,
                   "tallystick event trace-17-in --url http://127.0.0.1:8080");
    command->add_option("event_id", options->id, "The event")
        ->required()
        ->check([](const std::string& text) { return text.empty() ? "it is empty" : ""; });
    command->add_option("--account", options->account,
                        "Its account; needed where ids are unique within an account only");
    AddCommon(*command, options);
  }
  {
    auto [command, options] = AddCommand(
        app, action, "conflicts", "Events that came again with another payload; never counted",
        ShowConflicts, "tallystick conflicts --data data --account acme --json");
    command->add_option("--account", options->account, "Of this account only");
    AddPaging(*command, options);
    AddCommon(*command, options);
  }
}

}  // namespace tallystick
