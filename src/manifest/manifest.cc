#include "manifest/manifest.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "env/number_name.h"

namespace tallystick {
namespace {

constexpr size_t kIdentityBytes = 64;

void PutMagic(Bytes& out, const char (&magic)[8], uint32_t version) {
  const ByteSpan bytes = AsByteSpan({magic, sizeof magic});
  out.insert(out.end(), bytes.begin(), bytes.end());
  PutFixed<uint32_t>(out, version);
  PutFixed<uint32_t>(out, 0);
}

void PutDatabaseId(Bytes& out, const DatabaseId& id) { PutFixed(out, id.bytes); }

void PutChecksum(Bytes& out) { PutFixed<uint64_t>(out, XXH3_64bits(out.data(), out.size())); }

// Checks magic, version and the checksum at the end, and gives what stands between.
Result<ByteSpan> Unwrap(ByteSpan bytes, const char (&magic)[8], uint32_t version,
                        std::string_view what) {
  constexpr size_t kHead = 16;
  constexpr size_t kTail = sizeof(uint64_t);
  if (bytes.size() < kHead + kTail) {
    return Status::Corruption(fmt::format("the file is shorter than any {}", what));
  }
  if (std::memcmp(bytes.data(), magic, sizeof magic) != 0) {
    return Status::Corruption(fmt::format("the magic is not that of a {}", what));
  }
  const auto found = LoadFixed<uint32_t>(bytes.data() + 8);
  if (found != version) {
    return Status::Corruption(fmt::format("unknown {} format version {}", what, found));
  }
  const ByteSpan body = bytes.first(bytes.size() - kTail);
  if (LoadFixed<uint64_t>(body.data() + body.size()) != XXH3_64bits(body.data(), body.size())) {
    return Status::Corruption(fmt::format("the checksum of the {} does not match", what));
  }
  if (LoadFixed<uint32_t>(bytes.data() + 12) != 0) {
    return Status::Corruption(fmt::format("reserved bytes of the {} are not zero", what));
  }
  return body.subspan(kHead);
}

// A count that cannot be true is refused before anything is allocated for it.
uint32_t Count(Decoder& in, size_t entry_bytes) {
  const auto count = in.Fixed<uint32_t>();
  if (count > in.remaining() / entry_bytes) in.Fail();
  return in.ok() ? count : 0;
}

}  // namespace

std::string CheckManifest(const Manifest& m) {
  std::set<uint64_t> numbers;
  auto known = [&](FileNumber number) {
    return number.value != 0 && number.value < m.next_number && numbers.insert(number.value).second;
  };
  if (!known(m.number)) return "its own number is not below the counter";
  Lsn covered{0};
  for (const ListedSegment& segment : m.segments) {
    if (!known(segment.number)) return fmt::format("segment number {}", segment.number.value);
    if (segment.first_lsn.value != covered.value + 1 || segment.last_lsn < segment.first_lsn) {
      return fmt::format("segment {} does not follow LSN {}", segment.number.value, covered.value);
    }
    if (segment.rows != segment.last_lsn.value - covered.value) {
      return fmt::format("segment {} has not as many rows as LSNs", segment.number.value);
    }
    covered = segment.last_lsn;
  }
  if (covered != m.flushed_lsn) return "the segments do not end at flushed_lsn";
  FrameNumber end{m.first_frame.value - 1};
  bool open = false;
  for (const ListedWalFile& file : m.wal_files) {
    if (!known(file.number)) return fmt::format("WAL file number {}", file.number.value);
    if (!file.end.has_value()) {
      open = true;
      continue;
    }
    if (open) return fmt::format("WAL file {} is ended behind an open one", file.number.value);
    if (*file.end <= end)
      return fmt::format("WAL file {} ends before it begins", file.number.value);
    end = *file.end;
  }
  for (const ListedOther& other : m.others) {
    if (!known(other.number)) return fmt::format("file number {}", other.number.value);
  }
  return "";
}

Bytes EncodeManifest(const Manifest& m, const DatabaseId& database_id) {
  Bytes out;
  PutMagic(out, kManifestMagic, kManifestFormatVersion);
  PutDatabaseId(out, database_id);
  PutFixed<uint64_t>(out, m.number.value);
  PutFixed<uint64_t>(out, m.incarnation);
  PutFixed<uint64_t>(out, m.flushed_lsn.value);
  PutFixed<uint64_t>(out, m.next_number);
  PutFixed<int64_t>(out, m.last_commit_time_us);
  PutFixed<uint64_t>(out, m.first_frame.value);
  PutFixed<uint32_t>(out, static_cast<uint32_t>(m.segments.size()));
  for (const ListedSegment& s : m.segments) {
    for (uint64_t value : {s.number.value, s.first_lsn.value, s.last_lsn.value, s.rows, s.bytes,
                           s.footer_checksum}) {
      PutFixed<uint64_t>(out, value);
    }
  }
  PutFixed<uint32_t>(out, static_cast<uint32_t>(m.wal_files.size()));
  for (const ListedWalFile& file : m.wal_files) {
    PutFixed<uint64_t>(out, file.number.value);
    PutFixed<uint64_t>(out, file.end.value_or(FrameNumber{0}).value);  // 0: open
  }
  PutFixed<uint32_t>(out, static_cast<uint32_t>(m.others.size()));
  for (const ListedOther& other : m.others) {
    PutFixed<uint32_t>(out, other.kind);
    PutFixed<uint64_t>(out, other.number.value);
  }
  PutFixed<uint32_t>(out, static_cast<uint32_t>(m.control_effects.size()));
  out.insert(out.end(), m.control_effects.begin(), m.control_effects.end());
  PutChecksum(out);
  return out;
}

Result<Manifest> DecodeManifest(ByteSpan bytes, DatabaseId* database_id) {
  TALLY_ASSIGN_OR_RETURN(const ByteSpan body,
                         Unwrap(bytes, kManifestMagic, kManifestFormatVersion, "manifest"));
  Decoder in(body);
  Manifest m;
  database_id->bytes = in.Fixed<std::array<uint8_t, 16>>();
  m.number = {in.Fixed<uint64_t>()};
  m.incarnation = in.Fixed<uint64_t>();
  m.flushed_lsn = {in.Fixed<uint64_t>()};
  m.next_number = in.Fixed<uint64_t>();
  m.last_commit_time_us = in.Fixed<int64_t>();
  m.first_frame = {in.Fixed<uint64_t>()};
  for (uint32_t left = Count(in, 48); left > 0; --left) {
    ListedSegment& s = m.segments.emplace_back();
    s.number = {in.Fixed<uint64_t>()};
    s.first_lsn = {in.Fixed<uint64_t>()};
    s.last_lsn = {in.Fixed<uint64_t>()};
    s.rows = in.Fixed<uint64_t>();
    s.bytes = in.Fixed<uint64_t>();
    s.footer_checksum = in.Fixed<uint64_t>();
  }
  for (uint32_t left = Count(in, 16); left > 0; --left) {
    ListedWalFile& file = m.wal_files.emplace_back();
    file.number = {in.Fixed<uint64_t>()};
    const auto end = in.Fixed<uint64_t>();
    if (end != 0) file.end = FrameNumber{end};
  }
  for (uint32_t left = Count(in, 12); left > 0; --left) {
    ListedOther& other = m.others.emplace_back();
    other.kind = in.Fixed<uint32_t>();
    other.number = {in.Fixed<uint64_t>()};
  }
  const ByteSpan effects = in.Raw(in.Fixed<uint32_t>());
  m.control_effects.assign(effects.begin(), effects.end());
  if (!in.ok() || in.remaining() != 0) {
    return Status::Corruption("the manifest's lists do not fill its length exactly");
  }
  if (std::string fault = CheckManifest(m); !fault.empty()) {
    return Status::Corruption("the manifest contradicts itself: " + fault);
  }
  return m;
}

Bytes EncodeIdentity(const Identity& identity) {
  Bytes out;
  PutMagic(out, kIdentityMagic, kIdentityFormatVersion);
  PutDatabaseId(out, identity.database_id);
  PutFixed<uint8_t>(out, static_cast<uint8_t>(identity.scope));
  out.resize(kIdentityBytes - sizeof(uint64_t));
  PutChecksum(out);
  return out;
}

Result<Identity> DecodeIdentity(ByteSpan bytes) {
  TALLY_ASSIGN_OR_RETURN(const ByteSpan body,
                         Unwrap(bytes, kIdentityMagic, kIdentityFormatVersion, "IDENTITY file"));
  if (bytes.size() != kIdentityBytes)
    return Status::Corruption("the IDENTITY file's size is wrong");
  Decoder in(body);
  Identity identity;
  identity.database_id.bytes = in.Fixed<std::array<uint8_t, 16>>();
  const auto scope = in.Fixed<uint8_t>();
  if (scope > static_cast<uint8_t>(IdentityScope::kAccount)) {
    return Status::Corruption(fmt::format("unknown identity scope {}", scope));
  }
  identity.scope = static_cast<IdentityScope>(scope);
  return identity;
}

std::string ManifestFileName(FileNumber number) { return NumberName(number.value); }

namespace {

Result<Manifest> LoadOne(FileSystem& fs, const std::string& path, FileNumber number,
                         const DatabaseId& database_id) {
  TALLY_ASSIGN_OR_RETURN(const Bytes bytes, ReadWholeFile(fs, path, kManifestBytesMax));
  DatabaseId found_id;
  auto manifest = DecodeManifest(bytes, &found_id);
  if (!manifest.ok()) return manifest.status().WithContext(path);
  if (found_id != database_id) {
    return Status::Corruption(path + ": the file belongs to database " + found_id.ToHex());
  }
  if (manifest->number != number) {
    return Status::Corruption(
        fmt::format("{}: the file says that its number is {}", path, manifest->number.value));
  }
  return manifest;
}

}  // namespace

Result<Manifest> LoadManifest(FileSystem& fs, const std::string& dir,
                              const DatabaseId& database_id) {
  TALLY_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(dir));
  std::vector<uint64_t> numbers;
  for (const std::string& name : names) {
    if (const auto number = ParseNumberName(name); number.has_value()) numbers.push_back(*number);
  }
  if (numbers.empty()) return Status::NotFound("manifest_missing", dir + ": no manifest");
  std::ranges::sort(numbers, std::greater<>());
  auto load = [&](uint64_t number) {
    return LoadOne(fs, JoinPath(dir, NumberName(number)), {number}, database_id);
  };
  auto newest = load(numbers.front());
  if (TALLY_MUTANT("older_manifest_taken")) {
    for (size_t i = 1; !newest.ok() && i < numbers.size(); ++i) newest = load(numbers[i]);
  }
  return newest;
}

Status WriteManifest(FileSystem& fs, const std::string& dir, const DatabaseId& database_id,
                     const Manifest& manifest, bool* renamed) {
  const std::string fault = CheckManifest(manifest);
  TALLY_CHECK(fault.empty());
  const std::string path = JoinPath(dir, ManifestFileName(manifest.number));
  return WriteFileAtomic(fs, dir, path, EncodeManifest(manifest, database_id), renamed);
}

}  // namespace tallystick
