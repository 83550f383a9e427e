#include <sys/resource.h>

#include <cstdio>
#include <exception>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/toml_config.h"
#include "tallystick/db.h"

namespace tallystick {
namespace {

// A segment has three files open, and the soft limit of many systems is for programs that use
// select().
void RaiseOpenFilesLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // where that is refused, the old one stays
}

}  // namespace

void AddPlace(CLI::App& command, Place* place) {
  auto* group = command.add_option_group("place", "Where the database is (one of the two)");
  group->add_option("--url", place->url, "A running server: http://HOST[:PORT]");
  group->add_option("--data", place->data, "A database directory that no server has open");
  group->require_option(1);
}

int Fail(const Status& status, ExitCode code) {
  fmt::print(stderr, "tallystick: {} ({})\n", status.message(), status.reason());
  return code;
}

bool Print(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  return written && std::fflush(stdout) == 0;
}

int RunCli(int argc, const char* const* argv) {
  RaiseOpenFilesLimit();
  CLI::App app(
      "Tallystick: a usage-metering database for billing. An acknowledged event is never lost, "
      "none\n"
      "is counted twice, a total is exactly the sum of its rows.",
      "tallystick");
  app.set_version_flag("--version", fmt::format("tallystick {}", Version()));
  app.set_config("--config", "", "serve: a TOML file; its keys are serve's long options");
  app.config_formatter(std::make_shared<TomlConfig>("serve"));
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 ingest: not everything was taken.\n"
      "tallystick COMMAND --help has an example of each.");

  Action action;
  AddServe(app, &action);
  AddIngest(app, &action);
  AddUsage(app, &action);
  AddQuery(app, &action);
  AddExplain(app, &action);
  AddLists(app, &action);
  AddInspect(app, &action);
  AddVerify(app, &action);
  AddSidecar(app, &action);
  AddCompact(app, &action);
  AddScrub(app, &action);
  AddUsageDb(app, &action);
  AddBackup(app, &action);
  AddRestore(app, &action);
  AddRepair(app, &action);
  for (CLI::App* command : app.get_subcommands({})) {
    command->allow_config_extras(CLI::config_extras_mode::error);
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  } catch (const std::exception& error) {  // toml::parse_error
    return Fail(
        Status::InvalidArgument("invalid_config", fmt::format("--config: {}", error.what())),
        kExitUsage);
  }
  return action();
}

}  // namespace tallystick
