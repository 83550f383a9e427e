// From commit times to LSNs.
#pragma once

#include "query/view.h"

namespace tallystick {

// The last row of the view with a commit time at or before `epoch_us`; 0 if there is none.
Result<Lsn> LastCommittedAt(const View& view, int64_t epoch_us);

}  // namespace tallystick
