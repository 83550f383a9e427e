// Asking a Source once and printing what it answers: as it is, or as text for people.
//
// Thread rule: pure functions but for what they print.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/calendar.h"
#include "cli/command.h"
#include "cli/json_rows.h"
#include "cli/read_options.h"
#include "cli/source.h"
#include "tallystick/status.h"

namespace tallystick {

// Makes what people read from a JSON answer.
using ToText = std::function<Result<std::string>(const std::string& json)>;

// Opens the place and asks.
Result<Reply> Ask(const ReadOptions& options, const Request& request);

// Asks and prints: JSON and CSV as they come, else `to_text`. Returns the exit code.
int Show(const ReadOptions& options, const Request& request, const ToText& to_text);

// The last lines of text: how many lines there are where a limit cut them, the LSN, the next page.
std::string Footer(const JsonRows& answer);

// "2026-06-01T00:00:00.000Z"; what is no epoch milliseconds is returned as it is.
std::string TimeText(const std::string& epoch_ms);

// The row's members as cells; buckets and times as text.
std::vector<std::string> Cells(const JsonRow& row, const std::vector<std::string>& names,
                               const Calendar& calendar);

// A command with its own options; `run` gets them when it was chosen.
struct ReadCommand {
  CLI::App* command = nullptr;
  std::shared_ptr<ReadOptions> options;
};
ReadCommand AddReadCommand(CLI::App& app, Action* action, const char* name, const char* description,
                           int (*run)(ReadOptions), const char* footer);

}  // namespace tallystick
