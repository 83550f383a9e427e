#include "dedupe/sidecar_inspect.h"

#include <fmt/format.h>

#include <cstring>
#include <iterator>

#include "base/result.h"
#include "dedupe/sidecar_reader.h"
#include "usagedb/udbidx01.h"

namespace tallystick {
namespace {

template <typename T>
std::string Hex(const T& value) {
  return ToHex(&value, sizeof value);
}

Status InspectOurs(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  TALLY_ASSIGN_OR_RETURN(const SidecarBinding binding, SidecarReader::ReadBinding(fs, path));
  TALLY_ASSIGN_OR_RETURN(const auto sidecar, SidecarReader::Open(fs, path, binding));
  auto to = std::back_inserter(*out);
  if (json) {
    fmt::format_to(to,
                   R"({{"bytes":{},"database_id":"{}","first_lsn":{},"footer_checksum":"{:016x}",)"
                   R"("format":"TALLYIDX","last_lsn":{},"number":{},"rows":{},"entries":[)",
                   sidecar->bytes(), binding.database_id.ToHex(), binding.first_lsn.value,
                   binding.footer_checksum, binding.last_lsn.value, binding.number.value,
                   binding.rows);
  } else {
    fmt::format_to(to,
                   "{}\n  sidecar of segment {} of database {}, LSN {} to {}, footer checksum "
                   "{:016x}\n  {} entries in {} bytes, {:.2f} a row: key, payload hash, row\n",
                   path, binding.number.value, binding.database_id.ToHex(), binding.first_lsn.value,
                   binding.last_lsn.value, binding.footer_checksum, binding.rows, sidecar->bytes(),
                   static_cast<double>(sidecar->bytes()) / static_cast<double>(binding.rows));
  }
  bool first = true;
  Status status = sidecar->ForEach([&](const SidecarEntry& entry) {
    if (json) {
      fmt::format_to(to, R"({}{{"key":"{}","payload_hash":"{}","row":{}}})", first ? "" : ",",
                     Hex(entry.key.bytes), Hex(entry.payload_hash), entry.row);
    } else {
      fmt::format_to(to, "  {} {} {}\n", Hex(entry.key.bytes), Hex(entry.payload_hash), entry.row);
    }
    first = false;
  });
  if (status.ok()) status = CheckSidecar(*sidecar);
  fmt::format_to(to, fmt::runtime(json ? R"(],"verdict":"{}"}})" : "  {}\n"),
                 status.ok() ? "every byte verifies" : "damaged");
  return status;
}

Status InspectUsageDbs(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  TALLY_ASSIGN_OR_RETURN(const auto entries, udbidx01::ReadDedupeIndex(fs, path));
  if (!entries.has_value()) return Status::NotFound("no_files", path + " is gone");
  auto to = std::back_inserter(*out);
  if (json) {
    fmt::format_to(to, R"({{"format":"UDBIDX01","rows":{},"entries":[)", entries->size());
  } else {
    fmt::format_to(
        to, "{}\n  sidecar of usageDb, {} entries: id hash, payload hash, ingested at (ms)\n", path,
        entries->size());
  }
  for (const udbidx01::DedupeEntry& entry : *entries) {
    fmt::format_to(
        to,
        fmt::runtime(json ? R"({}{{"id_hash":"{}","payload_hash":"{}","ingested_at_ms":{}}})"
                          : "{}  {} {} {}\n"),
        json && &entry != entries->data() ? "," : "", Hex(entry.id_hash.bytes),
        Hex(entry.payload_hash.bytes), entry.ingested_at_ms);
  }
  out->append(json ? R"(],"verdict":"every byte verifies"})" : "  every byte verifies\n");
  return Status::Ok();
}

}  // namespace

Status InspectSidecar(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  std::byte magic[sizeof udbidx01::kMagic];
  {
    TALLY_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kRead));
    TALLY_RETURN_IF_ERROR(ReadFully(*file, 0, magic));
  }
  const bool usagedbs = std::memcmp(magic, udbidx01::kMagic, sizeof magic) == 0;
  return (usagedbs ? InspectUsageDbs : InspectOurs)(fs, path, json, out);
}

}  // namespace tallystick
