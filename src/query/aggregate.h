// Sums by group, exact at an LSN.
#pragma once

#include "query/view.h"
#include "tallystick/query.h"

namespace tallystick {

Result<UsageResult> Aggregate(const View& view, const UsageQuery& query);

}  // namespace tallystick
