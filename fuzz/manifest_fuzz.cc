// Manifest and IDENTITY decoders on any bytes. What is accepted encodes to the same bytes again.
#include <cstdint>
#include <cstdlib>

#include "base/check.h"
#include "manifest/manifest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  // The checksum would keep the fuzzer out: it is made right for the second try.
  Bytes bytes(reinterpret_cast<const std::byte*>(data),
              reinterpret_cast<const std::byte*>(data) + size);
  for (int attempt = 0; attempt < 2; ++attempt) {
    DatabaseId id;
    if (const auto manifest = DecodeManifest(bytes, &id); manifest.ok()) {
      TALLY_CHECK(CheckManifest(*manifest).empty());
      TALLY_CHECK(EncodeManifest(*manifest, id) == bytes);
    }
    if (const auto identity = DecodeIdentity(bytes); identity.ok()) {
      TALLY_CHECK(bytes.size() == 64);
    }
    if (bytes.size() < 24) break;
    const size_t body = bytes.size() - 8;
    StoreFixed<uint64_t>(bytes.data() + body, XXH3_64bits(bytes.data(), body));
  }
  return 0;
}
