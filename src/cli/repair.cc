// repair: what is damaged in a directory and what that loses; and doing it.
#include "tallystick/repair.h"

#include <memory>
#include <string>

#include "cli/command.h"

namespace tallystick {
namespace {

struct Options {
  std::string data;
  std::string identity_scope;
  bool plan = false;
  bool apply = false;
  bool json = false;
};

int Run(const Options& options) {
  RepairOptions repair;
  if (options.identity_scope == "global") repair.identity_scope = IdentityScope::kGlobal;
  if (options.identity_scope == "account") repair.identity_scope = IdentityScope::kAccount;
  const auto report =
      options.apply ? ApplyRepair(options.data, {}, repair) : PlanRepair(options.data, {}, repair);
  if (!report.ok()) return Fail(report.status());
  if (!Print(options.json ? RepairReportJson(*report) : RepairReportText(*report))) {
    return kExitFailed;
  }
  return report->damaged && !report->applied ? kExitFailed : kExitOk;
}

}  // namespace

void AddRepair(CLI::App& app, Action* action) {
  const auto options = std::make_shared<Options>();
  CLI::App* repair = app.add_subcommand(
      "repair", "Say what is damaged in a database and what that loses; or repair it");
  repair->add_option("data", options->data, "A database directory that no server has open")
      ->required()
      ->check(CLI::ExistingDirectory);
  auto* mode = repair->add_option_group("mode", "One of the two");
  mode->add_flag("--plan", options->plan, "Only say what is damaged and would be lost");
  mode->add_flag("--apply", options->apply,
                 "Repair; what is damaged is moved to DIR/damaged/, nothing is deleted");
  mode->require_option(1);
  repair
      ->add_option("--identity-scope", options->identity_scope,
                   "What makes two events the same, where IDENTITY is lost and no segment says it")
      ->check(CLI::IsMember({"global", "account"}));
  repair->add_flag("--json", options->json, "One JSON object");
  repair->footer(
      "Lost events are forgotten with their ids: sent again, they count. A backup loses less.\n"
      "Sidecars and rollups need no repair: the next start makes them anew.\n"
      "Exit codes: 0 nothing to repair, or repaired; 1 --plan found damage, or it failed.\n"
      "Examples:\n"
      "  tallystick repair data --plan\n"
      "  tallystick repair data --apply");
  repair->callback([=] { *action = [=] { return Run(*options); }; });
}

}  // namespace tallystick
