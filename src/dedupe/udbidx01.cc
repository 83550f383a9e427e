#include "dedupe/udbidx01.h"

#include <blake3.h>
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/result.h"
#include "model/identity.h"

namespace tallystick::udbidx01 {
namespace {

// Magic, u32 count, u64 length of the vector in front; u64 checksum behind.
constexpr uint64_t kHeadBytes = sizeof kMagic + sizeof(uint32_t) + sizeof(uint64_t);
constexpr uint64_t kChecksumBytes = sizeof(uint64_t);
constexpr uint64_t kFileBytesMax = kHeadBytes + kEntriesMax * kEntryBytes + kChecksumBytes;

// The first bytes of BLAKE3, as many as `out` has.
void Blake3(ByteSpan data, std::span<uint8_t> out) {
  blake3_hasher hasher;
  blake3_hasher_init(&hasher);
  blake3_hasher_update(&hasher, data.data(), data.size());
  blake3_hasher_finalize(&hasher, out.data(), out.size());
}

uint64_t Checksum(ByteSpan data) {
  std::array<uint8_t, 8> hash;
  Blake3(data, hash);
  return std::bit_cast<uint64_t>(hash);
}

void PutRaw(Bytes& out, ByteSpan data) { out.insert(out.end(), data.begin(), data.end()); }

// --- bincode 1.3: fixed-width integers, u64 lengths, an option is a byte ---

void PutText(Bytes& out, std::string_view text) {
  PutFixed<uint64_t>(out, text.size());
  PutRaw(out, AsByteSpan(text));
}

void PutOptionalText(Bytes& out, const std::optional<std::string_view>& text) {
  PutFixed<uint8_t>(out, text.has_value() ? 1 : 0);
  if (text.has_value()) PutText(out, *text);
}

void PutDimensions(Bytes& out, const RowView& row) {
  PutFixed<uint64_t>(out, row.dimension_count);
  Decoder decoder(row.dimension_bytes);
  for (uint32_t i = 0; i < row.dimension_count; ++i) {
    PutText(out, decoder.Text());
    PutText(out, decoder.Text());
  }
  TALLY_CHECK(decoder.ok());
}

// The fields in the order of usageDb's struct; the server's stamp counts as 0.
void PutEvent(Bytes& out, const RowView& row) {
  PutText(out, row.event_id);
  PutFixed<uint32_t>(out, static_cast<uint32_t>(row.kind));
  PutFixed<uint8_t>(out, row.correction_ref.has_value() ? 1 : 0);
  if (row.correction_ref.has_value()) {
    PutText(out, row.correction_ref->original_event_id);
    PutText(out, row.correction_ref->reason);
  }
  PutText(out, row.account_id);
  PutOptionalText(out, row.subscription_id);
  PutText(out, row.product_id);
  PutText(out, row.meter_id);
  PutFixed<int64_t>(out, row.timestamp_ms);
  PutFixed<int128>(out, row.quantity.mantissa);
  PutText(out, row.unit);
  PutText(out, row.source);
  PutOptionalText(out, row.model_id);
  PutDimensions(out, row);
  PutFixed<int64_t>(out, 0);
}

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
  PutRaw(out, std::as_bytes(entries));
  PutFixed<uint64_t>(out, Checksum(out));
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
  if (LoadFixed<uint64_t>(file.data() + covered.size()) != Checksum(covered)) {
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
  Bytes encoded;
  PutEvent(encoded, row);
  EventHash hash;
  Blake3(encoded, hash.bytes);
  return hash;
}

Result<DedupeEntry> EntryOf(const RowView& row, int64_t commit_time_us) {
  DedupeEntry entry;
  entry.id_hash = IdHash(IdentityScope::kGlobal, row.account_id, row.event_id);
  TALLY_ASSIGN_OR_RETURN(entry.payload_hash, UsageDbPayloadHash(row));
  entry.ingested_at_ms = commit_time_us / 1000;
  return entry;
}

}  // namespace tallystick::udbidx01
