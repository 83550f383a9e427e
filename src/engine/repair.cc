#include "engine/repair.h"

#include "base/result.h"
#include "engine/recovery.h"
#include "engine/repair_apply.h"
#include "engine/repair_plan.h"
#include "tallystick/repair.h"

namespace tallystick {
namespace {

Status CheckOptions(const OpenOptions& options, const RepairOptions& repair) {
  TALLY_RETURN_IF_ERROR(options.Validate());
  if (repair.segment_rows_max > 0) return Status::Ok();
  return Status::InvalidArgument("invalid_options", "segment_rows_max must be 1 at least");
}

Result<std::unique_ptr<FileLock>> LockDirectory(FileSystem& fs, const Layout& layout) {
  TALLY_ASSIGN_OR_RETURN(const bool there, fs.Exists(layout.root));
  if (!there) return Status::NotFound("database_not_found", layout.root + " does not exist");
  bool anything = false;
  for (const std::string& path :
       {layout.identity, layout.manifest_dir, layout.wal_dir, layout.segment_dir}) {
    TALLY_ASSIGN_OR_RETURN(const bool exists, fs.Exists(path));
    anything = anything || exists;
  }
  if (!anything) return Status::NotFound("database_not_found", layout.root + " holds no database");
  TALLY_RETURN_IF_ERROR(CheckIsNoBackup(fs, layout));
  return fs.Lock(layout.lock);
}

Env& EnvOf(const OpenOptions& options) {
  return options.env != nullptr ? *options.env : Env::Real();
}

}  // namespace

Result<RepairReport> PlanRepair(const std::string& directory, const OpenOptions& options,
                                const RepairOptions& repair) {
  TALLY_RETURN_IF_ERROR(CheckOptions(options, repair));
  FileSystem& fs = EnvOf(options).fs();
  const Layout layout(directory);
  TALLY_ASSIGN_OR_RETURN(const auto lock, LockDirectory(fs, layout));
  TALLY_ASSIGN_OR_RETURN(const auto plan, MakeRepairPlan(fs, layout, repair));
  return plan->report;
}

Result<RepairReport> ApplyRepair(const std::string& directory, const OpenOptions& options,
                                 const RepairOptions& repair) {
  TALLY_RETURN_IF_ERROR(CheckOptions(options, repair));
  Env& env = EnvOf(options);
  const Layout layout(directory);
  TALLY_ASSIGN_OR_RETURN(const auto lock, LockDirectory(env.fs(), layout));
  TALLY_ASSIGN_OR_RETURN(const std::string completed, FinishEarlierRepair(env.fs(), layout));
  TALLY_ASSIGN_OR_RETURN(const auto plan, MakeRepairPlan(env.fs(), layout, repair));
  if (!completed.empty()) {
    plan->report.applied = true;
    plan->report.set_aside = completed;
    plan->report.findings.push_back(
        {.kind = RepairFinding::Kind::kNote,
         .code = "repair_unfinished",
         .file = layout.repair,
         .what = "a repair that was interrupted after it took effect is complete now; its report "
                 "is " +
                 JoinPath(completed, kRepairReportText)});
  }
  if (plan->report.damaged) {
    TALLY_RETURN_IF_ERROR(CarryOutRepair(env, layout, options, repair, plan.get()));
  }
  return plan->report;
}

}  // namespace tallystick
