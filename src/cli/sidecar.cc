// sidecar: check, rebuild and export the dedupe sidecars of a database that no server has open.
#include "tallystick/sidecars.h"

#include <memory>
#include <string>

#include <fmt/format.h>

#include "cli/command.h"
#include "server/json_writer.h"

namespace tallystick {
namespace {

struct Options {
  std::string data;
  std::string target;
  bool all = false;
  bool json = false;
};

void PrintReport(const SidecarReport& report, bool json) {
  const std::string state = report.status.ok() ? "ok" : std::string(report.status.reason());
  if (!json) {
    const std::string left_out =
        report.left_out == 0 ? "" : fmt::format(", {} quarantined rows left out", report.left_out);
    Print(fmt::format("segment {}: {}: {} ({} entries{}){}\n", report.segment, report.file, state,
                      report.entries, left_out,
                      report.status.ok() ? "" : ": " + report.status.message()));
    return;
  }
  std::string out = fmt::format(R"({{"entries":{},"file":)", report.entries);
  AppendJsonString(out, report.file);
  out += fmt::format(R"(,"left_out":{},"message":)", report.left_out);
  AppendJsonString(out, report.status.message());
  out += fmt::format(R"(,"segment":{},"state":)", report.segment);
  AppendJsonString(out, state);
  Print(out + "}\n");
}

int Finish(const Result<SidecarReports>& reports, bool json) {
  if (!reports.ok()) return Fail(reports.status());
  size_t wrong = 0;
  for (const SidecarReport& report : *reports) wrong += report.status.ok() ? 0 : 1;
  if (!json) {
    Print(fmt::format("{} segments, {}\n", reports->size(),
                      wrong == 0 ? "all well" : fmt::format("{} with a fault", wrong)));
  }
  return wrong == 0 ? kExitOk : kExitFailed;
}

CLI::App* AddCommand(CLI::App& sidecar, const std::shared_ptr<Options>& options, const char* name,
                     const char* description) {
  CLI::App* command = sidecar.add_subcommand(name, description);
  command->add_option("data", options->data, "A database directory that no server has open")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_flag("--json", options->json, "One JSON object a segment");
  return command;
}

}  // namespace

void AddSidecar(CLI::App& app, Action* action) {
  CLI::App* sidecar =
      app.add_subcommand("sidecar", "Check, rebuild or export the dedupe sidecars of a database");
  sidecar->require_subcommand(1);
  sidecar->footer(
      "A server rebuilds missing and damaged sidecars by itself; these commands are for looking.\n"
      "Exit code 1 if a sidecar is missing, damaged, or could not be made.\n"
      "Example:\n  tallystick sidecar check data");
  const auto options = std::make_shared<Options>();
  const auto report = [options](const SidecarReport& done) { PrintReport(done, options->json); };

  AddCommand(*sidecar, options, "check",
             "Verify each sidecar whole, against its segment's rows hashed again")
      ->callback([=] {
        *action = [=] { return Finish(CheckSidecars(options->data, {}, report), options->json); };
      });
  CLI::App* rebuild = AddCommand(*sidecar, options, "rebuild",
                                 "Make missing and damaged sidecars anew from their segments");
  rebuild->add_flag("--all", options->all, "Every one, also those that are well");
  rebuild->callback([=] {
    *action = [=] {
      return Finish(RebuildSidecars(options->data, {}, options->all, report), options->json);
    };
  });
  CLI::App* export_command =
      AddCommand(*sidecar, options, "export", "Write sidecars in the layout of usageDb 0.4.0");
  export_command->add_option("--to", options->target, "The directory for them; created")
      ->required();
  export_command->footer("Example:\n  tallystick sidecar export data --to exported");
  export_command->callback([=] {
    *action = [=] {
      return Finish(ExportSidecars(options->data, {}, options->target, report), options->json);
    };
  });
}

}  // namespace tallystick
