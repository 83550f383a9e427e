// Conflicts that a repair cannot keep. A quarantined row is kept beside the counted row whose id it
// shares; where that one is lost, there is nothing left that it conflicts with, and its id is
// forgotten with the original's: sent again, it is a new event. So it goes too. It was in no total.
//
// Thread rule: one thread.
#pragma once

#include <span>

#include "engine/repair_rows.h"

namespace tallystick {

// LSNs of such rows, among those that `rows` has. `whole`: segments without damage, in LSN order,
// all of whose rows are kept; `first_lost`: before it nothing is missing.
Result<LsnSet> FindOrphanedConflicts(FileSystem& fs, const Layout& layout, const RepairFacts& facts,
                                     std::span<const FoundSegment* const> whole, Lsn first_lost,
                                     uint32_t rows_max, RepairRows* rows);

}  // namespace tallystick
