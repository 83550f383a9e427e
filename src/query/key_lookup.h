// From a key to the row that it belongs to, over all of a view.
#pragma once

#include <optional>
#include <string_view>

#include "base/types.h"
#include "query/row_scan.h"
#include "query/view.h"
#include "tallystick/event.h"

namespace tallystick {

struct FoundRow {
  Lsn lsn;
  RowPlace place;
};

// The counted row with this event id (in this account, with scope kAccount) and an LSN of at most
// `lsn`, if there is one. The text is compared, the hash is only the way there. Where a segment has
// no sidecar its rows are walked: slow, and right.
Result<std::optional<FoundRow>> FindEvent(const View& view, std::string_view account_id,
                                          std::string_view event_id, Lsn lsn);

Result<Event> ReadEvent(const View& view, const FoundRow& found);

}  // namespace tallystick
