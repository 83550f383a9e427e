#include "usagedb/udbidx01.h"

#include <fmt/format.h>

#include <cstring>

#include "base/check.h"
#include "base/result.h"
#include "usagedb/bincode.h"
#include "usagedb/event_hash.h"

namespace tallystick::udbidx01 {
namespace {

// Magic, u32 count, u64 length of the vector in front; u64 checksum behind.
constexpr uint64_t kHeadBytes = sizeof kMagic + sizeof(uint32_t) + sizeof(uint64_t);
constexpr uint64_t kChecksumBytes = sizeof(uint64_t);
constexpr uint64_t kFileBytesMax = kHeadBytes + kEntriesMax * kEntryBytes + kChecksumBytes;

}  // namespace

std::string IndexPath(std::string_view segment_path) {
  const size_t name = segment_path.find_last_of('/') + 1;
  const size_t dot = segment_path.substr(name).find_last_of('.');
  // A name may begin with a dot that starts no extension.
  const bool has_extension = dot != std::string_view::npos && dot > 0;
  return std::string(has_extension ? segment_path.substr(0, name + dot) : segment_path) + ".idx";
}

Bytes EncodeDedupeIndex(std::span<const DedupeEntry> entries) {
  TALLY_CHECK(entries.size() <= kEntriesMax);
  Bytes out;
  out.reserve(kHeadBytes + entries.size_bytes() + kChecksumBytes);
  for (const char c : kMagic) PutFixed(out, c);
  PutFixed<uint32_t>(out, static_cast<uint32_t>(entries.size()));
  PutFixed<uint64_t>(out, entries.size());
  usagedb::PutRaw(out, std::as_bytes(entries));
  PutFixed<uint64_t>(out, usagedb::Checksum(out));
  return out;
}

Result<std::vector<DedupeEntry>> DecodeDedupeIndex(ByteSpan file) {
  if (file.size() < sizeof kMagic || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) {
    return Status::Corruption("the magic is not UDBIDX01");
  }
  if (file.size() < kHeadBytes + kChecksumBytes) {
    return Status::Corruption(fmt::format("{} bytes are less than an empty index", file.size()));
  }
  const auto count = LoadFixed<uint32_t>(file.data() + sizeof kMagic);
  const auto length = LoadFixed<uint64_t>(file.data() + sizeof kMagic + sizeof count);
  const uint64_t entry_bytes = file.size() - kHeadBytes - kChecksumBytes;
  if (entry_bytes % kEntryBytes != 0 || entry_bytes / kEntryBytes != count) {
    return Status::Corruption(
        fmt::format("the count is {}, but there are {} bytes of entries", count, entry_bytes));
  }
  if (length != count) {
    return Status::Corruption(
        fmt::format("the count is {}, the vector's length {}", count, length));
  }
  const ByteSpan covered = file.first(file.size() - kChecksumBytes);
  if (LoadFixed<uint64_t>(file.data() + covered.size()) != usagedb::Checksum(covered)) {
    return Status::Corruption("the checksum does not match");
  }
  std::vector<DedupeEntry> entries(count);
  if (count > 0) std::memcpy(entries.data(), file.data() + kHeadBytes, entry_bytes);
  return entries;
}

Status WriteDedupeIndex(FileSystem& fs, const std::string& path,
                        std::span<const DedupeEntry> entries) {
  if (entries.size() > kEntriesMax) {
    return Status::InvalidArgument(
        "too_many_entries", fmt::format("{}: {} entries are more than the {} that a file may have",
                                        path, entries.size(), kEntriesMax));
  }
  const Bytes bytes = EncodeDedupeIndex(entries);
  TALLY_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kCreateNew));
  Status status = WriteFully(*file, 0, bytes);
  if (status.ok()) status = file->Sync();
  if (!status.ok()) IgnoreError(fs.Remove(path), "the write's own error says more");
  return status;
}

Result<std::optional<std::vector<DedupeEntry>>> ReadDedupeIndex(FileSystem& fs,
                                                                const std::string& path) {
  const auto bytes = ReadWholeFile(fs, path, kFileBytesMax);
  if (bytes.status().code() == StatusCode::kNotFound) {
    return std::optional<std::vector<DedupeEntry>>();
  }
  if (!bytes.ok()) return bytes.status();
  auto entries = DecodeDedupeIndex(*bytes);
  if (!entries.ok()) return entries.status().WithContext(path);
  return std::optional(*std::move(entries));
}

Result<EventHash> UsageDbPayloadHash(const RowView& row) {
  if (row.quantity.scale != 0) {
    return Status::InvalidArgument(
        "quantity_not_whole", fmt::format("event {}: its quantity {} is no whole number, which is "
                                          "all that usageDb can hold",
                                          row.event_id, row.quantity.ToString()));
  }
  std::vector<Dimension> dimensions;
  Bytes scratch;
  return usagedb::HashOfPayload(usagedb::ViewOf(row, &dimensions), &scratch);
}

Result<DedupeEntry> EntryOf(const RowView& row, int64_t commit_time_us) {
  DedupeEntry entry;
  entry.id_hash = usagedb::HashOfId(row.event_id);
  TALLY_ASSIGN_OR_RETURN(entry.payload_hash, UsageDbPayloadHash(row));
  entry.ingested_at_ms = commit_time_us / 1000;
  return entry;
}

}  // namespace tallystick::udbidx01
