// Hashing of ids and payloads.
//
// Most ids fit into one block of BLAKE3, and then the hash is a single call of its compression
// function. The library's hasher object would cost more to set up than the hash itself, so IdHash
// makes that call directly; identity_test.cc compares the two for every length around a block.
#include "model/identity.h"

#include <blake3.h>

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

// The library's own inner function (blake3_impl.h, which is a header for C alone).
extern "C" void blake3_compress_in_place(uint32_t cv[8], const uint8_t block[BLAKE3_BLOCK_LEN],
                                         uint8_t block_len, uint64_t counter, uint8_t flags);

namespace tallystick {
namespace {

constexpr uint32_t kInitialValue[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                       0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
constexpr uint8_t kChunkStart = 1;
constexpr uint8_t kChunkEnd = 2;
constexpr uint8_t kRoot = 8;

EventHash HashOneBlock(const uint8_t block[BLAKE3_BLOCK_LEN], size_t bytes) {
  uint32_t chaining[8];
  std::memcpy(chaining, kInitialValue, sizeof chaining);
  blake3_compress_in_place(chaining, block, static_cast<uint8_t>(bytes), 0,
                           kChunkStart | kChunkEnd | kRoot);
  EventHash hash;
  std::memcpy(hash.bytes.data(), chaining, hash.bytes.size());
  return hash;
}

EventHash Finish(const blake3_hasher& hasher) {
  EventHash hash;
  blake3_hasher_finalize(&hasher, hash.bytes.data(), hash.bytes.size());
  return hash;
}

// The library looks for the processor's features at its first call and notes them without a lock.
// That first call is made here, before there are threads.
[[maybe_unused]] const EventHash kFeaturesFound = [] {
  const uint8_t block[BLAKE3_BLOCK_LEN] = {};
  return HashOneBlock(block, 0);
}();

}  // namespace

EventHash IdHash(IdentityScope scope, std::string_view account_id, std::string_view event_id) {
  const bool with_account = scope == IdentityScope::kAccount;
  const auto account_bytes = static_cast<uint32_t>(account_id.size());
  const size_t prefix_bytes = with_account ? sizeof account_bytes + account_id.size() : 0;
  if (prefix_bytes + event_id.size() <= BLAKE3_BLOCK_LEN) {
    alignas(16) uint8_t block[BLAKE3_BLOCK_LEN] = {};
    if (with_account) {
      std::memcpy(block, &account_bytes, sizeof account_bytes);
      std::memcpy(block + sizeof account_bytes, account_id.data(), account_id.size());
    }
    if (!event_id.empty()) {
      std::memcpy(block + prefix_bytes, event_id.data(), event_id.size());
    }
    return HashOneBlock(block, prefix_bytes + event_id.size());
  }
  blake3_hasher hasher;
  blake3_hasher_init(&hasher);
  if (with_account) {
    blake3_hasher_update(&hasher, &account_bytes, sizeof account_bytes);
    blake3_hasher_update(&hasher, account_id.data(), account_id.size());
  }
  blake3_hasher_update(&hasher, event_id.data(), event_id.size());
  return Finish(hasher);
}

uint64_t PayloadHash(ByteSpan canonical) { return XXH3_64bits(canonical.data(), canonical.size()); }

EventHash ConflictKey(const EventHash& id_hash, ByteSpan canonical) {
  blake3_hasher hasher;
  blake3_hasher_init_derive_key(&hasher, kConflictKeyContext);
  blake3_hasher_update(&hasher, id_hash.bytes.data(), id_hash.bytes.size());
  blake3_hasher_update(&hasher, canonical.data(), canonical.size());
  return Finish(hasher);
}

RowKey KeyOfRow(IdentityScope scope, const RowView& row, Disposition disposition,
                ByteSpan canonical) {
  RowKey key{IdHash(scope, row.account_id, row.event_id), PayloadHash(canonical)};
  if (disposition == Disposition::kQuarantined) key.key = ConflictKey(key.key, canonical);
  return key;
}

}  // namespace tallystick
