// The hashes that say whether two events are the same.
//
//   id_hash        first 16 bytes of BLAKE3(event_id); with identity scope kAccount, of
//                  u32 account length, account id, event id
//   payload_hash   XXH3-64 of the canonical bytes (row.h)
//   conflict key   first 16 bytes of BLAKE3 in derive-key mode (context kConflictKeyContext) of
//                  id_hash and the canonical bytes: the key under which a quarantined row is kept,
//                  which no event id can be made to equal
#pragma once

#include <cstdint>
#include <string_view>

#include "base/coding.h"
#include "base/types.h"
#include "model/row.h"
#include "tallystick/options.h"

namespace tallystick {

inline constexpr char kConflictKeyContext[] = "tallystick 2026-11-24 conflict key v1";

EventHash IdHash(IdentityScope scope, std::string_view account_id, std::string_view event_id);
uint64_t PayloadHash(ByteSpan canonical);
EventHash ConflictKey(const EventHash& id_hash, ByteSpan canonical);

// What key tables and sidecars keep of a stored row.
struct RowKey {
  EventHash key;  // id hash, or the conflict key of a quarantined row
  uint64_t payload_hash = 0;
};
// `canonical`: the bytes of this row.
RowKey KeyOfRow(IdentityScope scope, const RowView& row, Disposition disposition,
                ByteSpan canonical);

}  // namespace tallystick
