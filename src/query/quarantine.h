// The quarantined rows of a view: conflicting copies, kept and never counted.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "query/key_lookup.h"
#include "query/view.h"

namespace tallystick {

// Of one identity, if `event_id` is given (with its account, with scope kAccount), else of all; up
// to `lsn`, in LSN order.
Result<std::vector<FoundRow>> FindQuarantined(const View& view,
                                              std::optional<std::string_view> event_id,
                                              std::string_view account_id, Lsn lsn);

}  // namespace tallystick
