// query: POST /v1/query/json, from flags or from a file.
#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/result.h"
#include "cli/command.h"
#include "cli/print_answer.h"
#include "cli/table.h"

namespace tallystick {
namespace {

Result<std::string> ReadWhole(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return Status::IoError(fmt::format("cannot open {}", path));
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) return Status::IoError(fmt::format("reading {}", path));
  return text;
}

// The columns: `first` as far as there are such, then the others by name.
std::vector<std::string> Header(const std::vector<JsonRow>& rows,
                                const std::vector<std::string>& first) {
  std::set<std::string> names;
  for (const JsonRow& row : rows) {
    for (const auto& [name, value] : row) names.insert(name);
  }
  std::vector<std::string> header;
  for (const std::string& name : first) {
    if (names.erase(name) > 0) header.push_back(name);
  }
  header.insert(header.end(), names.begin(), names.end());
  return header;
}

Result<std::string> QueryTable(const std::string& json, const std::vector<std::string>& first,
                               const std::string& time_zone) {
  TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, "data"));
  TALLY_ASSIGN_OR_RETURN(const Calendar calendar, Calendar::Of(time_zone));
  const std::vector<std::string> header = Header(answer.rows, first);
  if (header.empty()) return "no rows\n" + Footer(answer);
  Table table(header);
  for (const JsonRow& row : answer.rows) table.Add(Cells(row, header, calendar));
  return table.ToString() + Footer(answer);
}

int RunQuery(ReadOptions options) {
  Request request;
  std::vector<std::string> first;
  std::string time_zone = options.time_zone;
  if (options.file.empty()) {
    if (options.account.empty()) {
      return Fail(Status::InvalidArgument("missing_option", "--account or --file is required"),
                  kExitUsage);
    }
    auto made = QueryRequest(options);
    if (!made.ok()) return Fail(made.status(), kExitUsage);
    request = std::move(*made);
    first = SplitNames(options.group_by);
    for (const std::string& metric : options.metrics) {
      first.push_back(metric.substr(0, metric.find('=')));
    }
  } else {
    auto body = ReadWhole(options.file);
    if (!body.ok()) return Fail(body.status());
    // What is no JSON object is for the server to refuse.
    if (const auto read = ReadJsonRows(*body, ""); read.ok()) {
      time_zone = Member(read->top, "time_zone");
    }
    request = QueryRequest(options, std::move(*body));
  }
  return Show(options, request,
              [&](const std::string& json) { return QueryTable(json, first, time_zone); });
}

}  // namespace

void AddQuery(CLI::App& app, Action* action) {
  const auto [command, options] = AddReadCommand(
      app, action, "query", "Group, filter and measure an account's events: POST /v1/query/json",
      RunQuery,
      "Without --metric the distinct groups; without --group-by too, the events (--source raw) or\n"
      "the events added up by hour.\n"
      "Examples:\n"
      "  tallystick query --data data --account acme --group-by model_id \\\n"
      "      --filter meter_id=input_tokens --filter meter_id=output_tokens \\\n"
      "      --metric total=sum --metric regions=unique:dimensions.region --order -total\n"
      "  tallystick query --url http://127.0.0.1:8080 --file query.json --csv");
  CLI::Option* file = command->add_option("--file", options->file,
                                          "The request's JSON body, instead of all options but "
                                          "these of output; -: stdin");
  command->add_option("--account", options->account, "The account; required without --file")
      ->check([](const std::string& text) { return text.empty() ? "it is empty" : ""; });
  AddRange(*command, options.get());
  AddFilters(*command, options.get(),
             "FIELD=VALUE, may be repeated: any column or dimension; values of one field: one of "
             "them, fields: all of them",
             CheckQueryFilter);
  command
      ->add_option(
          "--metric", options->metrics,
          "NAME=FUNCTION or NAME=FUNCTION:FIELD, may be repeated: sum, sum_usage, "
          "sum_corrections, sum_retractions, count, min, max of the quantity; unique, min, "
          "max of a FIELD")
      ->check(CheckMetric)
      ->expected(1)
      ->take_all();
  AddGroups(*command, options.get());
  AddSource(*command, options.get());
  AddCommon(*command, options.get());
  AddCsv(*command, options.get(), "The rows as CSV (RFC 4180)");
  constexpr std::array<std::string_view, 4> kBesideFile = {"--file", "--json", "--csv", "--help"};
  for (CLI::Option* option : command->get_options()) {
    const std::string name = option->get_name();
    if (std::ranges::find(kBesideFile, std::string_view(name)) == kBesideFile.end()) {
      file->excludes(option);
    }
  }
}

}  // namespace tallystick
