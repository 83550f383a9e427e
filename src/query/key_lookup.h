// From a key to the row that it belongs to, over all memtables of a view.
#pragma once

#include <optional>
#include <string_view>

#include "base/types.h"
#include "query/view.h"

namespace tallystick {

struct FoundRow {
  Lsn lsn;
  uint64_t payload_hash = 0;
  const Memtable* memtable = nullptr;  // lives as long as the view
};

// The row with this key and an LSN of at most `lsn`, if there is one.
std::optional<FoundRow> FindKey(const View& view, const EventHash& key, Lsn lsn);

// The counted row with this event id (in this account, with scope kAccount). The text is compared,
// the hash is only the way there.
std::optional<FoundRow> FindEvent(const View& view, std::string_view account_id,
                                  std::string_view event_id, Lsn lsn);

}  // namespace tallystick
