// Events of a range in (timestamp, LSN) order.
#pragma once

#include "query/query_context.h"
#include "query/view.h"
#include "tallystick/query.h"

namespace tallystick {

Result<EventStream> ListEvents(const View& view, const EventsQuery& query, QueryContext context);

}  // namespace tallystick
