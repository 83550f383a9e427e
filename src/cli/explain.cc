// explain: what an account's sums are made of, and how they were read.
#include "cli/explain.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/result.h"
#include "cli/command.h"
#include "cli/print_answer.h"
#include "cli/table.h"

namespace tallystick {
namespace {

// "row groups 0-3,7" or, of several parts, "row groups 0-3,7, rollup blocks 0"; "" where none was
// read.
std::string PartsRead(const JsonRow& segment) {
  std::string out;
  for (const auto& [member, name] :
       {std::pair("row_groups", "row groups"), std::pair("rollup_blocks", "rollup blocks")}) {
    const std::string& parts = Member(segment, member);
    if (parts.empty()) continue;
    if (!out.empty()) out += ", ";
    out += fmt::format("{} {}", name, parts);
  }
  return out;
}

// What gave the line its events, each source a line of text.
Result<std::string> InputsText(const JsonRow& line) {
  std::string out;
  TALLY_ASSIGN_OR_RETURN(const auto inputs, ReadJsonArray(Member(line, "inputs")));
  for (const JsonRow& input : inputs) {
    out += fmt::format("    segment {}: {} events by row, {} by rollup ({})\n",
                       Member(input, "segment"), Member(input, "rows"), Member(input, "rolled_up"),
                       PartsRead(input));
  }
  const std::string& memory = Member(line, "memory_rows");
  if (!memory.empty() && memory != "0") out += fmt::format("    memory: {} events\n", memory);
  return out;
}

Result<std::string> LinesText(const std::vector<JsonRow>& lines) {
  const std::vector<std::string> names = {"product_id",  "meter_id", "model_id", "source",
                                          "unit",        "quantity", "usage",    "corrections",
                                          "retractions", "count"};
  Table table(names);
  for (const JsonRow& line : lines) table.Add(Cells(line, names, Calendar()));
  // Behind each row of the table its inputs.
  const std::string text = table.ToString();
  std::string_view rest = text;
  std::string out;
  const auto take = [&] {
    const size_t end = rest.find('\n') + 1;
    out += rest.substr(0, end);
    rest.remove_prefix(end);
  };
  take();
  take();
  for (const JsonRow& line : lines) {
    take();
    TALLY_ASSIGN_OR_RETURN(const std::string inputs, InputsText(line));
    out += inputs;
  }
  return out;
}

Result<std::string> CorrectionsText(const std::string& json) {
  TALLY_ASSIGN_OR_RETURN(const auto corrections, ReadJsonArray(json));
  if (corrections.empty()) return std::string();
  Table table({"time", "event_id", "kind", "meter_id", "quantity", "original", "original_lsn"});
  for (const JsonRow& event : corrections) {
    const bool unresolved = Member(event, "unresolved") == "true";
    table.Add({TimeText(Member(event, "timestamp_ms")), Member(event, "event_id"),
               Member(event, "kind"), Member(event, "meter_id"), Member(event, "quantity"),
               Member(event, unresolved ? "correction_ref.original_event_id" : "original.event_id"),
               unresolved ? "does not exist" : Member(event, "original.lsn")});
  }
  return "\ncorrections and retractions\n" + table.ToString();
}

Result<std::string> PlanText(const JsonRow& top) {
  const bool analyzed = top.contains("plan.micros");
  std::vector<std::string> names = {
      "file", "pruned", "row_groups", "row_groups_pruned", "rollup_blocks", "rollup_blocks_pruned"};
  if (analyzed) names.insert(names.end(), {"rows_scanned", "micros"});
  Table table(names);
  TALLY_ASSIGN_OR_RETURN(const auto segments, ReadJsonArray(Member(top, "plan.segments")));
  for (const JsonRow& segment : segments) table.Add(Cells(segment, names, Calendar()));
  std::string out = "\nplan\n";
  if (!segments.empty()) out += table.ToString();
  out += fmt::format("memtables {}", Member(top, "plan.memtables"));
  if (analyzed) {
    out += fmt::format(", {} of their rows scanned\n{} microseconds, about {} bytes of memory",
                       Member(top, "plan.memory_rows_scanned"), Member(top, "plan.micros"),
                       Member(top, "memory_bytes"));
  }
  return out + '\n';
}

int RunExplain(ReadOptions options) { return Show(options, ExplainRequest(options), ExplainText); }

}  // namespace

Result<std::string> ExplainText(const std::string& json) {
  TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, "lines"));
  TALLY_ASSIGN_OR_RETURN(std::string out, LinesText(answer.rows));
  TALLY_ASSIGN_OR_RETURN(const std::string corrections,
                         CorrectionsText(Member(answer.top, "corrections")));
  TALLY_ASSIGN_OR_RETURN(const std::string plan, PlanText(answer.top));
  out += corrections + plan;
  out += fmt::format("\n{} events from rollups, {} from segments, {} from memory\n",
                     Member(answer.top, "rows.rollups"), Member(answer.top, "rows.segments"),
                     Member(answer.top, "rows.memory"));
  return out + Footer(answer);
}

void AddExplain(CLI::App& app, Action* action) {
  const auto [command, options] =
      AddReadCommand(app, action, "explain",
                     "What an account's sums are made of, and how they were read", RunExplain,
                     "Example:\n"
                     "  tallystick explain acme --data data --from 2026-06-01T00:00:00Z "
                     "--to 2026-07-01T00:00:00Z --analyze");
  AddAccount(*command, options.get(), "The account", true);
  AddRange(*command, options.get());
  command->add_flag("--analyze", options->analyze, "What was scanned too, and how long it took");
  AddCommon(*command, options.get());
}

}  // namespace tallystick
