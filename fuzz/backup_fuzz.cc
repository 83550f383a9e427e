// The BACKUP decoder on any bytes. What is accepted contradicts nothing, has a path for each file,
// and encodes to the same bytes again.
#include <cstdint>
#include <cstdlib>

#include "base/check.h"
#include "manifest/backup_file.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  Bytes bytes(reinterpret_cast<const std::byte*>(data),
              reinterpret_cast<const std::byte*>(data) + size);
  // The checksum would keep the fuzzer out: it is made right for the second try.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (const auto content = DecodeBackup(bytes); content.ok()) {
      TALLY_CHECK(CheckBackup(*content).empty());
      for (const BackupFile& file : content->files) {
        const std::string path = BackupFilePath(*content, file);
        TALLY_CHECK(path.find("..") == std::string::npos && path.front() != '/');
      }
      TALLY_CHECK(EncodeBackup(*content) == bytes);
    }
    if (bytes.size() < 24) break;
    const size_t body = bytes.size() - 8;
    StoreFixed<uint64_t>(bytes.data() + body, XXH3_64bits(bytes.data(), body));
  }
  return 0;
}
