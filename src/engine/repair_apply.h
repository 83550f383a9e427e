// Carries a repair out. The order, and why a crash at any point of it is harmless:
//   1. REPAIR (repair_journal.h): from here on nobody opens the database but a repair
//   2. the folder for what is set aside
//   3. new segments, each read back whole, all under new numbers; the folder's sync; then the
//   report and, where IDENTITY is made anew, IDENTITY.new
//   4. one manifest, which names what is kept and what is new, and no log file: now the repair
//   counts
//   5. everything numbered that this manifest does not name is moved aside
//   6. where there is an IDENTITY.new, the old IDENTITY is moved aside, and it takes its place
//   7. REPAIR is removed
// Up to 4 nothing of before has changed; who finds REPAIR removes the new files and begins anew.
// From 4 on, who finds it goes on with 5.
//
// An error up to 4 takes everything back: new files, the report, REPAIR last; empty folders stay.
// What cannot be taken back stays behind REPAIR, as after a crash.
//
// Thread rule: one thread.
#pragma once

#include <string>

#include "engine/repair_plan.h"

namespace tallystick {

inline constexpr const char* kRepairReportText = "report.txt";

// What an interrupted repair left. The folder with its report, where it counted, and is complete
// now; else empty.
Result<std::string> FinishEarlierRepair(FileSystem& fs, const Layout& layout);

// REQUIRES: plan.report.damaged, and no repair under way. Sets the report's fields of an applied
// one.
Status CarryOutRepair(Env& env, const Layout& layout, const OpenOptions& options,
                      const RepairOptions& repair, RepairPlan* plan);

}  // namespace tallystick
