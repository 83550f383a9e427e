#include "cli/print_answer.h"

#include <fmt/format.h>

#include "base/result.h"
#include "server/time_parse.h"

namespace tallystick {

Result<Reply> Ask(const ReadOptions& options, const Request& request) {
  TALLY_ASSIGN_OR_RETURN(const auto source, Source::Open(options.place.url, options.place.data));
  return source->Ask(request);
}

int Show(const ReadOptions& options, const Request& request, const ToText& to_text) {
  const auto reply = Ask(options, request);
  if (!reply.ok()) return Fail(reply.status());
  if (options.json) return Print(reply->text + "\n") ? kExitOk : kExitFailed;
  if (options.csv) {
    if (!Print(reply->text)) return kExitFailed;
    if (!reply->next_cursor.empty()) fmt::print(stderr, "more: --cursor {}\n", reply->next_cursor);
    return kExitOk;
  }
  const auto text = to_text(reply->text);
  if (!text.ok()) return Fail(text.status());
  return Print(*text) ? kExitOk : kExitFailed;
}

std::string Footer(const JsonRows& answer) {
  std::string out;
  if (const std::string& groups = Member(answer.top, "groups"); !groups.empty()) {
    out += fmt::format("{} of {} lines\n", answer.rows.size(), groups);
  }
  out += fmt::format("as of LSN {}\n", Member(answer.top, "lsn"));
  if (const std::string& cursor = Member(answer.top, "next_cursor"); !cursor.empty()) {
    out += fmt::format("more: --cursor {}\n", cursor);
  }
  return out;
}

std::string TimeText(const std::string& epoch_ms) {
  const auto time = ParseTime(epoch_ms);
  return time.ok() ? FormatTime(*time) : epoch_ms;
}

std::vector<std::string> Cells(const JsonRow& row, const std::vector<std::string>& names,
                               const Calendar& calendar) {
  std::vector<std::string> cells;
  for (const std::string& name : names) {
    const std::string& value = Member(row, name);
    if (const auto bucket = BucketOf(name)) {
      cells.push_back(calendar.TextOf(*bucket, value));
    } else if (name == "timestamp_ms" || name == "ingested_at_ms") {
      cells.push_back(TimeText(value));
    } else {
      cells.push_back(value);
    }
  }
  return cells;
}

ReadCommand AddReadCommand(CLI::App& app, Action* action, const char* name, const char* description,
                           int (*run)(ReadOptions), const char* footer) {
  const auto options = std::make_shared<ReadOptions>();
  CLI::App* command = app.add_subcommand(name, description);
  command->footer(footer);
  command->callback([=] { *action = [=] { return run(*options); }; });
  return {command, options};
}

}  // namespace tallystick
