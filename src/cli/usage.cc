// usage and top: sums, as tables, CSV or bars.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "cli/plot.h"
#include "cli/print_answer.h"
#include "cli/table.h"

namespace tallystick {
namespace {

constexpr std::string_view kGap = "  ";

Result<std::string> UsageTable(const std::string& json, const std::vector<std::string>& keys,
                               const Calendar& calendar) {
  TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, "lines"));
  std::vector<std::string> header = keys;
  for (const char* sum : {"quantity", "usage", "corrections", "retractions", "count"}) {
    header.emplace_back(sum);
  }
  Table table(header);
  for (const JsonRow& row : answer.rows) table.Add(Cells(row, header, calendar));
  return table.ToString() + Footer(answer);
}

Result<std::string> UsagePlot(const std::string& json, std::vector<std::string> keys,
                              const std::string& bucket, const Calendar& calendar) {
  TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, "lines"));
  std::erase(keys, bucket);
  TALLY_ASSIGN_OR_RETURN(const std::string plot,
                         DrawPlot(answer.rows, bucket, keys, calendar, TerminalColumns()));
  return (plot.empty() ? "no usage\n" : plot) + Footer(answer);
}

int RunUsage(ReadOptions options) {
  for (const std::string& filter : options.filters) {
    if (!options.account.empty() && filter.starts_with("account_id=")) {
      return Fail(Status::InvalidArgument("invalid_filter",
                                          "--filter account_id=… is for usage over all accounts"),
                  kExitUsage);
    }
  }
  std::string bucket;
  if (options.plot) {
    auto chosen = ChoosePlotBucket(&options);
    if (!chosen.ok()) return Fail(chosen.status(), kExitUsage);
    bucket = std::move(*chosen);
  }
  const auto calendar = Calendar::Of(options.time_zone);
  if (!calendar.ok()) return Fail(calendar.status(), kExitUsage);
  std::vector<std::string> keys;
  for (const std::string& name : SplitNames(options.group_by)) {
    const std::string key = LineKey(name);
    if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
  }
  return Show(options, UsageRequest(options), [&](const std::string& json) {
    return options.plot ? UsagePlot(json, keys, bucket, *calendar)
                        : UsageTable(json, keys, *calendar);
  });
}

Result<std::string> TopTable(const std::string& json) {
  TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, "lines"));
  const std::vector<std::string> names = {"account_id", "meter_id", "quantity"};
  Table table(names);
  std::vector<std::string> quantities;
  for (const JsonRow& row : answer.rows) {
    table.Add(Cells(row, names, Calendar()));
    quantities.push_back(Member(row, "quantity"));
  }
  // The bars stand beside the table, in the room that it leaves.
  const std::string text = table.ToString();
  const size_t taken = Columns(text.substr(0, text.find('\n'))) + kGap.size();
  const size_t room = TerminalColumns();
  const BarScale scale(quantities, room > taken ? room - taken : 0);
  Table with_bars({"account_id", "meter_id", "quantity", "bar"});
  for (const JsonRow& row : answer.rows) {
    std::vector<std::string> cells = Cells(row, names, Calendar());
    cells.push_back(scale.Draw(Member(row, "quantity")));
    with_bars.Add(std::move(cells));
  }
  return with_bars.ToString() + Footer(answer);
}

int RunTop(ReadOptions options) { return Show(options, TopRequest(options), TopTable); }

}  // namespace

void AddUsage(CLI::App& app, Action* action) {
  {
    const auto [command, options] = AddReadCommand(
        app, action, "usage", "What an account, or all of them, used: sums, exact", RunUsage,
        "Examples:\n"
        "  tallystick usage acme --url http://127.0.0.1:8080 --group-by meter_id "
        "--from 2026-06-01T00:00:00Z --to 2026-07-01T00:00:00Z\n"
        "  tallystick usage --data data --group-by day,meter_id --time-zone Europe/Berlin --plot");
    AddAccount(*command, options.get(), "The account; without it all accounts", false);
    AddRange(*command, options.get());
    AddFilters(*command, options.get(),
               "FIELD=VALUE, may be repeated, all must match: product_id, meter_id, model_id, "
               "dimensions.NAME; over all accounts account_id too",
               CheckUsageFilter);
    AddGroups(*command, options.get());
    AddSource(*command, options.get());
    AddCommon(*command, options.get());
    AddCsv(*command, options.get(), "The lines as CSV (RFC 4180)");
    command
        ->add_flag("--plot", options->plot,
                   "Bars by the hour, day or month that --group-by names (else by day); further "
                   "keys give a block each, all to one scale")
        ->excludes("--json")
        ->excludes("--csv");
  }
  {
    const auto [command, options] =
        AddReadCommand(app, action, "top", "The largest sums of an account and a meter", RunTop,
                       "Example:\n"
                       "  tallystick top --data data --meter input_tokens --limit 5");
    command->add_option("--meter", options->meter, "Of this meter only");
    command->add_option("--limit", options->limit, "How many")
        ->check(CLI::PositiveNumber)
        ->default_str("10");
    AddRange(*command, options.get());
    AddSource(*command, options.get());
    AddCommon(*command, options.get());
  }
}

}  // namespace tallystick
