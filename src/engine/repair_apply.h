// Carries a repair out. The order, and why a crash at any point of it is harmless:
//   1. REPAIR (repair_journal.h): from here on nobody opens the database but a repair
//   2. the folder for what is set aside, where IDENTITY is made anew with the old one
//   3. new segments, each read back whole, all under new numbers; the folder's sync; then the
//   report
//   4. IDENTITY, where it is made anew
//   5. one manifest, which names what is kept and what is new, and no log file: now the repair
//   counts
//   6. everything numbered that this manifest does not name is moved aside
//   7. REPAIR is removed
// Up to 5 nothing of before has changed (but an IDENTITY that was unreadable); who finds REPAIR
// removes the new files and begins anew. From 5 on, who finds it goes on with 6.
//
// An error up to 5 takes everything back: new files, the report, IDENTITY, REPAIR last; empty
// folders stay. What cannot be taken back stays behind REPAIR, as after a crash.
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
