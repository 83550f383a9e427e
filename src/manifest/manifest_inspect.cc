#include "manifest/manifest_inspect.h"

#include <fmt/format.h>

#include <iterator>

#include "base/result.h"
#include "manifest/manifest.h"

namespace tallystick {
namespace {

void PrintText(const Manifest& m, const DatabaseId& id, std::string* out) {
  auto to = std::back_inserter(*out);
  fmt::format_to(to, "manifest {} of database {}, format {}\n", m.number.value, id.ToHex(),
                 kManifestFormatVersion);
  fmt::format_to(to, "incarnation      {:016x}\n", m.incarnation);
  fmt::format_to(to, "flushed_lsn      {}\n", m.flushed_lsn.value);
  fmt::format_to(to, "next_number      {}\n", m.next_number);
  fmt::format_to(to, "last_commit_us   {}\n", m.last_commit_time_us);
  fmt::format_to(to, "first_frame      {}\n", m.first_frame.value);
  fmt::format_to(to, "segments         {}\n", m.segments.size());
  for (const ListedSegment& s : m.segments) {
    fmt::format_to(to, "  {}  LSN {}..{}  {} bytes\n", s.number.value, s.first_lsn.value,
                   s.last_lsn.value, s.bytes);
  }
  fmt::format_to(to, "wal files        {}\n", m.wal_files.size());
  for (const ListedWalFile& file : m.wal_files) {
    fmt::format_to(to, "  {:06}  {}\n", file.number.value,
                   file.end.has_value() ? fmt::format("ends with frame {}", file.end->value)
                                        : std::string("open"));
  }
}

void PrintJson(const Manifest& m, const DatabaseId& id, std::string* out) {
  auto to = std::back_inserter(*out);
  fmt::format_to(to,
                 R"({{"database_id":"{}","first_frame":{},"flushed_lsn":{},"format":{},)"
                 R"("incarnation":"{:016x}","last_commit_time_us":{},"next_number":{},"number":{},)"
                 R"("segments":[)",
                 id.ToHex(), m.first_frame.value, m.flushed_lsn.value, kManifestFormatVersion,
                 m.incarnation, m.last_commit_time_us, m.next_number, m.number.value);
  const char* separator = "";
  for (const ListedSegment& s : m.segments) {
    fmt::format_to(to, R"({}{{"bytes":{},"first_lsn":{},"last_lsn":{},"number":{},"rows":{}}})",
                   separator, s.bytes, s.first_lsn.value, s.last_lsn.value, s.number.value, s.rows);
    separator = ",";
  }
  fmt::format_to(to, R"(],"wal_files":[)");
  separator = "";
  for (const ListedWalFile& file : m.wal_files) {
    fmt::format_to(to, R"({}{{"end_frame":{},"number":{}}})", separator,
                   file.end.has_value() ? std::to_string(file.end->value) : "null",
                   file.number.value);
    separator = ",";
  }
  fmt::format_to(to, "]}}\n");
}

}  // namespace

Status InspectManifest(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  TALLY_ASSIGN_OR_RETURN(const Bytes bytes, ReadWholeFile(fs, path, kManifestBytesMax));
  DatabaseId id;
  auto manifest = DecodeManifest(bytes, &id);
  if (!manifest.ok()) return manifest.status().WithContext(path);
  (json ? PrintJson : PrintText)(*manifest, id, out);
  return Status::Ok();
}

}  // namespace tallystick
