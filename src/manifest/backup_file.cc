#include "manifest/backup_file.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "base/result.h"
#include "env/number_name.h"

namespace tallystick {
namespace {

constexpr size_t kIdentityBytes = 64;
constexpr size_t kEntryBytes = 28;
constexpr size_t kSmallest = 16 + kIdentityBytes + 8 + 16 + 4 + 4 + 8;

// In the order of the kinds, from 1.
constexpr std::array<const char*, 3> kSuffixes = {".seg", ".idx", ".sum"};
constexpr std::array<const char*, 4> kKindNames = {"rows", "sidecar", "rollup", "wal"};

std::tuple<BackupFileKind, FileNumber> KeyOf(const BackupFile& file) {
  return {file.kind, file.number};
}

// What the manifest lists, by number.
struct Listed {
  explicit Listed(const Manifest& manifest) {
    for (const ListedSegment& segment : manifest.segments) {
      segment_bytes[segment.number.value] = segment.bytes;
    }
    for (const ListedWalFile& file : manifest.wal_files) wal.insert(file.number.value);
  }

  // Empty, or why the manifest does not want this file.
  std::string Check(const BackupFile& file) const {
    if (file.kind == BackupFileKind::kWal) {
      return wal.contains(file.number.value) ? "" : "a log file that is not listed";
    }
    const auto segment = segment_bytes.find(file.number.value);
    if (segment == segment_bytes.end()) return "a file of a segment that is not listed";
    if (file.kind == BackupFileKind::kRows && file.bytes != segment->second) {
      return "a segment of another size than is listed";
    }
    return "";
  }

  std::unordered_map<uint64_t, uint64_t> segment_bytes;
  std::unordered_set<uint64_t> wal;
};

Result<BackupContent> DecodeBody(ByteSpan body) {
  Decoder in(body);
  BackupContent content;
  TALLY_ASSIGN_OR_RETURN(content.identity, DecodeIdentity(in.Raw(kIdentityBytes)));
  const auto incarnation = in.Fixed<uint64_t>();
  content.lsn = {in.Fixed<uint64_t>()};
  content.created_us = in.Fixed<int64_t>();
  const auto manifest_bytes = in.Fixed<uint32_t>();
  const auto count = in.Fixed<uint32_t>();
  const ByteSpan manifest = in.Raw(manifest_bytes);
  if (!in.ok() || in.remaining() != uint64_t{count} * kEntryBytes) {
    return Status::Corruption("the backup's lists do not fill its length exactly");
  }
  DatabaseId id;
  TALLY_ASSIGN_OR_RETURN(content.manifest, DecodeManifest(manifest, &id));
  if (id != content.identity.database_id || content.manifest.incarnation != incarnation) {
    return Status::Corruption("the backup and its manifest are of two databases");
  }
  content.files.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    BackupFile& file = content.files.emplace_back();
    file.kind = static_cast<BackupFileKind>(in.Fixed<uint32_t>());
    file.number = {in.Fixed<uint64_t>()};
    file.bytes = in.Fixed<uint64_t>();
    file.checksum = in.Fixed<uint64_t>();
  }
  if (std::string fault = CheckBackup(content); !fault.empty()) {
    return Status::Corruption("the backup contradicts itself: " + fault);
  }
  return content;
}

}  // namespace

std::string BackupFilePath(const BackupContent& content, const BackupFile& file) {
  if (file.kind != BackupFileKind::kWal) {
    return "segments/" + NumberName(file.number.value) +
           kSuffixes[static_cast<size_t>(file.kind) - 1];
  }
  const auto& all = content.manifest.wal_files;
  const auto listed = std::ranges::find(all, file.number, &ListedWalFile::number);
  TALLY_CHECK(listed != all.end() && listed->end.has_value());
  return fmt::format("wal/{}-{}", NumberName(file.number.value), listed->end->value);
}

std::string CheckBackup(const BackupContent& content) {
  const Manifest& manifest = content.manifest;
  if (content.lsn < manifest.flushed_lsn) return "its LSN lies before the end of its segments";
  for (const ListedWalFile& file : manifest.wal_files) {
    if (!file.end.has_value()) return fmt::format("log file {} has no end", file.number.value);
  }
  const Listed listed(manifest);
  size_t rows = 0, wal = 0;
  for (size_t i = 0; i < content.files.size(); ++i) {
    const BackupFile& file = content.files[i];
    if (file.kind < BackupFileKind::kRows || file.kind > BackupFileKind::kWal) {
      return fmt::format("unknown kind of file {}", static_cast<uint32_t>(file.kind));
    }
    if (i > 0 && KeyOf(content.files[i - 1]) >= KeyOf(file)) {
      return fmt::format("file {} is out of order", file.number.value);
    }
    if (std::string fault = listed.Check(file); !fault.empty()) {
      return fmt::format("file {}: {}", file.number.value, fault);
    }
    rows += file.kind == BackupFileKind::kRows ? 1 : 0;
    wal += file.kind == BackupFileKind::kWal ? 1 : 0;
  }
  if (rows != manifest.segments.size()) return "a listed segment is not in the backup";
  if (wal != manifest.wal_files.size()) return "a listed log file is not in the backup";
  return "";
}

Bytes EncodeBackup(const BackupContent& content) {
  TALLY_CHECK(CheckBackup(content).empty());
  Bytes out;
  const ByteSpan magic = AsByteSpan({kBackupMagic, sizeof kBackupMagic});
  out.insert(out.end(), magic.begin(), magic.end());
  PutFixed<uint32_t>(out, kBackupFormatVersion);
  PutFixed<uint32_t>(out, 0);
  const Bytes identity = EncodeIdentity(content.identity);
  TALLY_CHECK(identity.size() == kIdentityBytes);
  out.insert(out.end(), identity.begin(), identity.end());
  PutFixed<uint64_t>(out, content.manifest.incarnation);
  PutFixed<uint64_t>(out, content.lsn.value);
  PutFixed<int64_t>(out, content.created_us);
  const Bytes manifest = EncodeManifest(content.manifest, content.identity.database_id);
  PutFixed<uint32_t>(out, static_cast<uint32_t>(manifest.size()));
  PutFixed<uint32_t>(out, static_cast<uint32_t>(content.files.size()));
  out.insert(out.end(), manifest.begin(), manifest.end());
  for (const BackupFile& file : content.files) {
    PutFixed<uint32_t>(out, static_cast<uint32_t>(file.kind));
    for (uint64_t value : {file.number.value, file.bytes, file.checksum}) {
      PutFixed<uint64_t>(out, value);
    }
  }
  PutFixed<uint64_t>(out, XXH3_64bits(out.data(), out.size()));
  return out;
}

Result<BackupContent> DecodeBackup(ByteSpan bytes) {
  if (bytes.size() < kSmallest) return Status::Corruption("the file is shorter than any BACKUP");
  if (std::memcmp(bytes.data(), kBackupMagic, sizeof kBackupMagic) != 0) {
    return Status::Corruption("the magic is not that of a BACKUP");
  }
  const auto version = LoadFixed<uint32_t>(bytes.data() + 8);
  if (version != kBackupFormatVersion) {
    return Status::Corruption(fmt::format("unknown BACKUP format version {}", version));
  }
  const ByteSpan body = bytes.first(bytes.size() - sizeof(uint64_t));
  if (LoadFixed<uint64_t>(body.data() + body.size()) != XXH3_64bits(body.data(), body.size())) {
    return Status::Corruption("the checksum of the BACKUP does not match");
  }
  if (LoadFixed<uint32_t>(bytes.data() + 12) != 0) {
    return Status::Corruption("reserved bytes of the BACKUP are not zero");
  }
  return DecodeBody(body.subspan(16));
}

Result<BackupContent> LoadBackup(FileSystem& fs, const std::string& directory) {
  const std::string path = JoinPath(directory, kBackupFileName);
  auto bytes = ReadWholeFile(fs, path, kBackupBytesMax);
  if (bytes.status().code() == StatusCode::kNotFound) {
    return Status::NotFound("backup_not_found", directory + " holds no backup: no " + path);
  }
  if (!bytes.ok()) return bytes.status();
  auto content = DecodeBackup(*bytes);
  if (!content.ok()) return content.status().WithContext(path);
  return content;
}

namespace {

void PrintText(const BackupContent& c, std::string* out) {
  auto to = std::back_inserter(*out);
  fmt::format_to(to, "backup of database {}, format {}\n", c.identity.database_id.ToHex(),
                 kBackupFormatVersion);
  fmt::format_to(to, "incarnation      {:016x}\n", c.manifest.incarnation);
  fmt::format_to(to, "lsn              {}\n", c.lsn.value);
  fmt::format_to(to, "flushed_lsn      {}\n", c.manifest.flushed_lsn.value);
  fmt::format_to(to, "created_us       {}\n", c.created_us);
  fmt::format_to(to, "files            {}\n", c.files.size());
  for (const BackupFile& file : c.files) {
    fmt::format_to(to, "  {}  {} bytes  {:016x}\n", BackupFilePath(c, file), file.bytes,
                   file.checksum);
  }
}

void PrintJson(const BackupContent& c, std::string* out) {
  auto to = std::back_inserter(*out);
  fmt::format_to(to, R"({{"created_us":{},"database_id":"{}","files":[)", c.created_us,
                 c.identity.database_id.ToHex());
  const char* separator = "";
  for (const BackupFile& file : c.files) {
    fmt::format_to(to, R"({}{{"bytes":{},"checksum":"{:016x}","kind":"{}","path":"{}"}})",
                   separator, file.bytes, file.checksum,
                   kKindNames[static_cast<size_t>(file.kind) - 1], BackupFilePath(c, file));
    separator = ",";
  }
  fmt::format_to(to, R"(],"flushed_lsn":{},"format":{},"incarnation":"{:016x}","lsn":{}}})",
                 c.manifest.flushed_lsn.value, kBackupFormatVersion, c.manifest.incarnation,
                 c.lsn.value);
  *out += '\n';
}

}  // namespace

Status InspectBackup(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  TALLY_ASSIGN_OR_RETURN(const Bytes bytes, ReadWholeFile(fs, path, kBackupBytesMax));
  const auto content = DecodeBackup(bytes);
  if (!content.ok()) return content.status().WithContext(path);
  (json ? PrintJson : PrintText)(*content, out);
  return Status::Ok();
}

}  // namespace tallystick
