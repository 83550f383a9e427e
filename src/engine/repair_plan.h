// What a repair would do, and what it would lose: from facts to steps and a report. Changes
// nothing.
//
// Thread rule: one thread.
#pragma once

#include <memory>
#include <vector>

#include "engine/repair_facts.h"
#include "engine/repair_rows.h"
#include "segment/segment_writer.h"

namespace tallystick {

// In LSN order, together all that is left.
struct RepairStep {
  const FoundSegment* kept = nullptr;  // stays as it is; null: the rows of `range` are written anew
  LsnRange range;
};

struct RepairPlan {
  RepairFacts facts;
  std::unique_ptr<RepairRows> rows;  // of the facts
  std::vector<RepairStep> steps;
  LsnSet lost;
  SegmentTotals kept;  // of all steps together
  RepairReport report;
};

Result<std::unique_ptr<RepairPlan>> MakeRepairPlan(FileSystem& fs, const Layout& layout,
                                                   const RepairOptions& options);

}  // namespace tallystick
