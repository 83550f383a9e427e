#include "model/identity.h"

#include <blake3.h>

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tallystick {
namespace {

EventHash Finish(const blake3_hasher& hasher) {
  EventHash hash;
  blake3_hasher_finalize(&hasher, hash.bytes.data(), hash.bytes.size());
  return hash;
}

}  // namespace

EventHash IdHash(IdentityScope scope, std::string_view account_id, std::string_view event_id) {
  blake3_hasher hasher;
  blake3_hasher_init(&hasher);
  if (scope == IdentityScope::kAccount) {
    const auto length = static_cast<uint32_t>(account_id.size());
    blake3_hasher_update(&hasher, &length, sizeof length);
    blake3_hasher_update(&hasher, account_id.data(), account_id.size());
  }
  blake3_hasher_update(&hasher, event_id.data(), event_id.size());
  return Finish(hasher);
}

uint64_t PayloadHash(ByteSpan canonical) {
  return XXH3_64bits(canonical.data(), canonical.size());
}

EventHash ConflictKey(const EventHash& id_hash, ByteSpan canonical) {
  blake3_hasher hasher;
  blake3_hasher_init_derive_key(&hasher, kConflictKeyContext);
  blake3_hasher_update(&hasher, id_hash.bytes.data(), id_hash.bytes.size());
  blake3_hasher_update(&hasher, canonical.data(), canonical.size());
  return Finish(hasher);
}

}  // namespace tallystick
