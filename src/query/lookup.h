// One event by its id.
#pragma once

#include <optional>
#include <string_view>

#include "query/view.h"
#include "tallystick/query.h"

namespace tallystick {

// See Db::GetEvent.
Result<EventLookup> GetEvent(const View& view, std::string_view event_id,
                             std::string_view account_id, std::optional<Lsn> as_of_lsn);

}  // namespace tallystick
