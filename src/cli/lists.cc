// events, event, conflicts: what stands in the database, row by row.
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/result.h"
#include "cli/command.h"
#include "cli/print_answer.h"
#include "cli/table.h"

namespace tallystick {
namespace {

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

int RunEvents(ReadOptions options) {
  return Show(options, EventsRequest(options), [](const std::string& json) -> Result<std::string> {
    TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, "events"));
    Table table(EventHeader());
    for (const JsonRow& row : answer.rows) table.Add(EventCells(row, ""));
    return table.ToString() + Footer(answer);
  });
}

int RunEvent(ReadOptions options) {
  return Show(options, EventRequest(options), [](const std::string& json) -> Result<std::string> {
    TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, ""));
    Table table({"field", "value"});
    for (const auto& [name, value] : answer.top) {
      const bool time = name == "event.timestamp_ms" || name == "event.ingested_at_ms";
      if (!value.empty()) table.Add({name, time ? TimeText(value) : value});
    }
    return table.ToString();
  });
}

int RunConflicts(ReadOptions options) {
  return Show(options, ConflictsRequest(options),
              [](const std::string& json) -> Result<std::string> {
                TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, "conflicts"));
                std::vector<std::string> header = {"lsn", "original_lsn", "account_id"};
                header.insert(header.end(), EventHeader().begin(), EventHeader().end());
                Table table(header);
                for (const JsonRow& row : answer.rows) {
                  std::vector<std::string> cells = {Member(row, "lsn"), Member(row, "original_lsn"),
                                                    Member(row, "event.account_id")};
                  for (std::string& cell : EventCells(row, "event."))
                    cells.push_back(std::move(cell));
                  table.Add(std::move(cells));
                }
                return table.ToString() + Footer(answer);
              });
}

}  // namespace

void AddLists(CLI::App& app, Action* action) {
  {
    const auto [command, options] = AddReadCommand(
        app, action, "events", "An account's events, by time", RunEvents,
        "Examples:\n"
        "  tallystick events acme --data data --limit 10 --filter meter_id=input_tokens\n"
        "  tallystick events acme --url http://127.0.0.1:8080 --csv > events.csv");
    AddAccount(*command, options.get(), "The account", true);
    AddRange(*command, options.get());
    AddFilters(*command, options.get(),
               "FIELD=VALUE, may be repeated, all must match: product_id, meter_id, model_id, "
               "dimensions.NAME",
               CheckEventFilter);
    AddPaging(*command, options.get());
    AddCommon(*command, options.get());
    AddCsv(*command, options.get(),
           "The events as CSV (RFC 4180), all of them unless --limit says");
  }
  {
    const auto [command, options] =
        AddReadCommand(app, action, "event", "One event by its id", RunEvent,
                       "Example:\n  tallystick event trace-17-in --url http://127.0.0.1:8080");
    command->add_option("event_id", options->event_id, "The event")
        ->required()
        ->check([](const std::string& text) { return text.empty() ? "it is empty" : ""; });
    command->add_option("--account", options->account,
                        "Its account; needed where ids are unique within an account only");
    AddCommon(*command, options.get());
  }
  {
    const auto [command, options] = AddReadCommand(
        app, action, "conflicts", "Events that came again with another payload; never counted",
        RunConflicts, "Example:\n  tallystick conflicts --data data --account acme --json");
    command->add_option("--account", options->account, "Of this account only");
    AddPaging(*command, options.get());
    AddCommon(*command, options.get());
  }
}

}  // namespace tallystick
