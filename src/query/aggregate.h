// Sums and counts of events, by group.
#pragma once

#include "query/query_context.h"
#include "query/view.h"
#include "tallystick/query.h"

namespace tallystick {

// See Db::Aggregate.
Result<UsageResult> Aggregate(const View& view, const UsageQuery& query, QueryContext& context);

// See Db::ComparePaths.
Result<PathComparison> ComparePaths(const View& view, UsageQuery query, QueryContext& context);

}  // namespace tallystick
