// usageDb's dedupe index of any bytes: what is accepted encodes to the same bytes again.
#include <blake3.h>

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "usagedb/udbidx01.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  // The checksum would keep the fuzzer out: it is made right for the second try.
  Bytes bytes(reinterpret_cast<const std::byte*>(data),
              reinterpret_cast<const std::byte*>(data) + size);
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (const auto entries = udbidx01::DecodeDedupeIndex(bytes); entries.ok()) {
      TALLY_CHECK(udbidx01::EncodeDedupeIndex(*entries) == bytes);
    }
    if (bytes.size() < 8) break;
    const size_t covered = bytes.size() - 8;
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, bytes.data(), covered);
    blake3_hasher_finalize(&hasher, reinterpret_cast<uint8_t*>(bytes.data() + covered), 8);
  }
  return 0;
}
