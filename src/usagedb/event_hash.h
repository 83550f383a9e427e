// How usageDb tells whether two events are the same, and whether a file is what was written.
//
// Thread rule: free functions.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "base/types.h"
#include "model/row.h"
#include "tallystick/event.h"

namespace tallystick::usagedb {

// First 16 bytes of BLAKE3 of the event id.
EventHash HashOfId(std::string_view event_id);

// First 16 bytes of BLAKE3 of EncodeEvent (bincode.h, with what it requires). `scratch` is
// overwritten.
EventHash HashOfPayload(const EventView& event, Bytes* scratch);

// First 8 bytes of BLAKE3, as a little-endian number: what stands in segments, sidecars and the
// manifest.
uint64_t Checksum(ByteSpan data);

// The row as an event. `dimensions` keeps what the view points to.
EventView ViewOf(const RowView& row, std::vector<Dimension>* dimensions);

}  // namespace tallystick::usagedb
