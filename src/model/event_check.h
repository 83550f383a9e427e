// What an event must be like to be taken. Two kinds of rule, because of their order: shape comes
// before identity (an event that breaks it cannot be looked up), options come after (a known event
// is a duplicate, whatever an option or the clock says today).
#pragma once

#include <optional>

#include "tallystick/event.h"
#include "tallystick/options.h"

namespace tallystick {

inline constexpr size_t kDimensionsMax = 16;
inline constexpr size_t kDimensionKeyBytesMax = 64;
inline constexpr size_t kDimensionValueBytesMax = 256;
inline constexpr size_t kReasonBytesMax = 1024;
inline constexpr size_t kIdBytesHardMax = 65535;  // above any option
// Of all texts of an event together, where no other rule holds them: it must fit into a batch.
inline constexpr size_t kEventBytesHardMax = 8 << 20;

// Codes: missing_field (an empty required id), invalid_utf8, control_character, too_long,
// invalid_timestamp (<= 0), invalid_quantity, too_many_dimensions, duplicate_dimension,
// correction_ref_required. Each message names the field and the value (cut to 64 bytes).
std::optional<Rejection> CheckEventShape(const EventView& event);

// What the format itself cannot do without, for events that were taken long ago by another program:
// control characters and long texts pass. Codes as above.
std::optional<Rejection> CheckEventFormat(const EventView& event);

// Codes: too_long (an id above limits.id_bytes_max).
std::optional<Rejection> CheckEventOptions(const EventView& event, const EventLimits& limits);

// Code: timestamp_in_future.
std::optional<Rejection> CheckEventClock(int64_t timestamp_ms, int64_t now_ms,
                                         const EventLimits& limits);

}  // namespace tallystick
