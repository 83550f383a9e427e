// The quarantined rows.
#pragma once

#include "query/view.h"
#include "tallystick/query.h"

namespace tallystick {

Result<ConflictsPage> ListConflicts(const View& view, const ConflictsQuery& query);

}  // namespace tallystick
