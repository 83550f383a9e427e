// What all commands share: exit codes, and the place where each adds itself.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "tallystick/status.h"

namespace tallystick {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,       // a runtime error, or damage found
  kExitUsage = 2,        // the command line or the config file is wrong
  kExitNotAllTaken = 3,  // ingest: something was broken, rejected or conflicting
};

// What runs after the command line was read in full; returns the exit code.
using Action = std::function<int()>;

// Each adds its command to `app`; the command, if chosen, sets *action.
void AddServe(CLI::App& app, Action* action);
void AddIngest(CLI::App& app, Action* action);
void AddUsage(CLI::App& app, Action* action);  // usage, top
void AddQuery(CLI::App& app, Action* action);
void AddExplain(CLI::App& app, Action* action);
void AddLists(CLI::App& app, Action* action);  // events, event, conflicts
void AddInspect(CLI::App& app, Action* action);
void AddVerify(CLI::App& app, Action* action);
void AddSidecar(CLI::App& app, Action* action);
void AddCompact(CLI::App& app, Action* action);
void AddScrub(CLI::App& app, Action* action);
void AddUsageDb(CLI::App& app, Action* action);  // import-usagedb, export-usagedb
void AddBackup(CLI::App& app, Action* action);
void AddRestore(CLI::App& app, Action* action);
void AddRepair(CLI::App& app, Action* action);

// --url and --data, one of which is needed.
struct Place {
  std::string url;
  std::string data;
};
void AddPlace(CLI::App& command, Place* place);

// Prints "tallystick: MESSAGE (REASON)" on stderr. A caller's mistake exits with kExitUsage only
// where the command says so; else kExitFailed.
int Fail(const Status& status, ExitCode code = kExitFailed);

// Writes to stdout; false if it cannot (a closed pipe, a full disk).
bool Print(std::string_view text);

// The whole program.
int RunCli(int argc, const char* const* argv);

}  // namespace tallystick
