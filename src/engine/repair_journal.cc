#include "engine/repair_journal.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "base/result.h"
#include "base/types.h"
#include "env/number_name.h"

namespace tallystick {
namespace {

constexpr std::string_view kMagic = "TALLYREP";
constexpr uint32_t kVersion = 1;
constexpr size_t kBytes = 8 + 4 + 4 + 16 + 8 + 8;

}  // namespace

std::string RepairJournal::folder() const {
  return fmt::format("damaged/{}-{}", NumberName(first_number), date);
}

Bytes EncodeRepairJournal(const RepairJournal& journal) {
  Bytes out;
  const ByteSpan magic = AsByteSpan(kMagic);
  out.insert(out.end(), magic.begin(), magic.end());
  PutFixed<uint32_t>(out, kVersion);
  PutFixed<uint32_t>(out, journal.date);
  PutFixed(out, journal.database_id.bytes);
  PutFixed<uint64_t>(out, journal.first_number);
  PutFixed<uint64_t>(out, XXH3_64bits(out.data(), out.size()));
  return out;
}

Result<RepairJournal> DecodeRepairJournal(ByteSpan bytes) {
  if (bytes.size() != kBytes || AsText(bytes.first(kMagic.size())) != kMagic) {
    return Status::Corruption("no such file of a repair");
  }
  const ByteSpan body = bytes.first(kBytes - 8);
  if (LoadFixed<uint64_t>(bytes.data() + body.size()) != XXH3_64bits(body.data(), body.size())) {
    return Status::Corruption("its checksum does not match");
  }
  Decoder in(body.subspan(kMagic.size()));
  if (const auto version = in.Fixed<uint32_t>(); version != kVersion) {
    return Status::Corruption(fmt::format("unknown format version {}", version));
  }
  RepairJournal journal;
  journal.date = in.Fixed<uint32_t>();
  journal.database_id.bytes = in.Fixed<std::array<uint8_t, 16>>();
  journal.first_number = in.Fixed<uint64_t>();
  return journal;
}

Result<RepairJournal> LoadRepairJournal(FileSystem& fs, const Layout& layout) {
  TALLY_ASSIGN_OR_RETURN(const Bytes bytes, ReadWholeFile(fs, layout.repair, kBlockBytes));
  auto journal = DecodeRepairJournal(bytes);
  if (!journal.ok()) return journal.status().WithContext(layout.repair);
  return journal;
}

}  // namespace tallystick
