#include "usagedb/directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/mutant.h"
#include "base/result.h"

namespace tallystick::usagedb {
namespace {

constexpr uint64_t kManifestBytesMax = uint64_t{1} << 30;
constexpr size_t kPieceBytes = 1 << 20;

Result<std::vector<std::string>> ListIfThere(FileSystem& fs, const std::string& dir) {
  auto names = fs.List(dir);
  if (names.status().code() == StatusCode::kNotFound) return std::vector<std::string>();
  return names;
}

// The N of prefixNsuffix.
std::optional<uint64_t> NumberIn(std::string_view name, std::string_view prefix,
                                 std::string_view suffix) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix) ||
      name.size() <= prefix.size() + suffix.size()) {
    return std::nullopt;
  }
  const std::string_view digits =
      name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

std::string ManifestName(uint64_t generation) {
  return fmt::format("manifest-{:06}.json", generation);
}

Status LoadManifest(FileSystem& fs, Directory* out) {
  const auto text = ReadWholeFile(fs, out->manifest_file, kManifestBytesMax);
  if (text.status().code() == StatusCode::kNotFound) {
    return Status::Corruption(out->manifest_file + " is named by CURRENT, but is not there");
  }
  if (!text.ok()) return text.status();
  auto manifest = ParseManifest(AsText(*text));
  if (!manifest.ok()) return manifest.status().WithContext(out->manifest_file);
  out->manifest = *std::move(manifest);
  return Status::Ok();
}

// CURRENT, and the manifest that it names.
Status ReadCurrent(FileSystem& fs, const std::string& dir, const std::vector<std::string>& names,
                   Directory* out) {
  const std::string path = JoinPath(dir, "CURRENT");
  TALLY_ASSIGN_OR_RETURN(const Bytes text, ReadWholeFile(fs, path, 64));
  std::string_view digits = AsText(text);
  while (digits.ends_with('\n')) digits.remove_suffix(1);
  const auto current = NumberIn(fmt::format("<{}>", digits), "<", ">");
  if (!current.has_value()) return Status::Corruption(path + " is no number of a generation");
  out->manifest_file = JoinPath(dir, ManifestName(*current));
  for (const std::string& name : names) {
    if (NumberIn(name, "manifest-", ".json").value_or(0) > *current) {
      out->newer_manifests.push_back(JoinPath(dir, name));
    }
  }
  std::ranges::sort(out->newer_manifests);
  return LoadManifest(fs, out);
}

Status FindManifest(FileSystem& fs, const std::vector<std::string>& root_names, Directory* out) {
  const std::string dir = JoinPath(out->root, "manifest");
  TALLY_ASSIGN_OR_RETURN(const auto names, ListIfThere(fs, dir));
  if (std::ranges::find(names, "CURRENT") != names.end()) return ReadCurrent(fs, dir, names, out);
  for (const std::string& name : names) {
    if (!NumberIn(name, "manifest-", ".json").has_value()) continue;
    return Status::Corruption(fmt::format(
        "{} is missing, but {} is there: usageDb itself would start empty over this data. If the "
        "newest manifest is the right one, write its number into CURRENT",
        JoinPath(dir, "CURRENT"), JoinPath(dir, name)));
  }
  if (std::ranges::find(root_names, "manifest.json") != root_names.end()) {
    out->manifest_file = JoinPath(out->root, "manifest.json");
    return LoadManifest(fs, out);
  }
  for (const std::string& name : root_names) {
    if (!IsSegmentName(name)) continue;
    return Status::Corruption(fmt::format("{} is there, but no manifest: {} is missing",
                                          JoinPath(out->root, name), JoinPath(dir, "CURRENT")));
  }
  return Status::Ok();
}

void SortLogs(const std::vector<std::string>& names, Directory* out) {
  for (const std::string& name : names) {
    const auto id = NumberIn(name, "wal-", ".log");
    if (!id.has_value()) {
      out->leftovers.push_back(JoinPath("wal", name));
    } else if (const std::string path = LogPath(out->root, *id);
               path != JoinPath(JoinPath(out->root, "wal"), name)) {
      out->log_faults.push_back({JoinPath(JoinPath(out->root, "wal"), name),
                                 "is no name that usageDb gives; it would be " + path});
    } else if (*id > out->manifest.last_sealed_wal_id) {
      out->live_logs.push_back(*id);
    } else {
      out->sealed_logs.push_back(*id);
      out->leftovers.push_back(JoinPath("wal", name));
    }
  }
  std::ranges::sort(out->live_logs);
  std::ranges::sort(out->sealed_logs);
}

void NoteMissingLogs(uint64_t first, uint64_t end, Directory* out) {
  std::string what = "is missing, with the events in it";
  if (end - first > 1) what += fmt::format("; so are the logs up to {}", end - 1);
  out->log_faults.push_back({LogPath(out->root, first), std::move(what)});
}

// usageDb makes the next log before the manifest calls the last one sealed, and removes only sealed
// ones: from there on a log that is not there is lost.
void CheckLogs(Directory* out) {
  uint64_t next = out->manifest.last_sealed_wal_id + 1;
  // Manifests of old do not say where the live ones begin.
  if (!out->manifest.says_last_sealed && !out->live_logs.empty()) next = out->live_logs.front();
  for (const uint64_t id : out->live_logs) {
    if (id != next) NoteMissingLogs(next, id, out);
    next = id + 1;
  }
  if (out->live_logs.empty() && out->manifest.says_last_sealed) {
    NoteMissingLogs(next, next + 1, out);
  }
}

void ListLeftovers(const std::vector<std::string>& names, Directory* out) {
  std::set<std::string> known = {"LOCK", "manifest", "wal", "tmp", "manifest.json"};
  for (const SegmentMeta& meta : out->manifest.raw_segments) {
    known.insert(meta.segment_id + ".seg");
    known.insert(meta.segment_id + ".idx");
  }
  for (const SegmentMeta& meta : out->manifest.rollup_segments) {
    known.insert(meta.segment_id + ".rseg");
  }
  for (const std::string& name : names) {
    if (!known.contains(name)) out->leftovers.push_back(name);
  }
  std::ranges::sort(out->leftovers);
}

// What the rows add up to, against the manifest.
Status CompareWithManifest(const SegmentRows& rows, const SegmentMeta& meta) {
  if (rows.size() != meta.row_count) {
    return Status::Corruption(
        fmt::format("it has {} rows, the manifest says {}", rows.size(), meta.row_count));
  }
  // usageDb's sum is cut off at the ends of 128 bits, wherever it gets there. Where all quantities
  // without their signs fit, no order of adding can get there.
  int128 sum = 0;
  int128 magnitude = 0;
  bool fits = meta.quantity_sum.has_value();
  int64_t min_ms = INT64_MAX;
  int64_t max_ms = INT64_MIN;
  for (uint32_t i = 0; i < rows.size(); ++i) {
    const int128 quantity = rows.quantity(i);
    min_ms = std::min(min_ms, rows.timestamp_ms(i));
    max_ms = std::max(max_ms, rows.timestamp_ms(i));
    fits = fits && !__builtin_add_overflow(sum, quantity, &sum) &&
           !(quantity < 0 ? __builtin_sub_overflow(magnitude, quantity, &magnitude)
                          : __builtin_add_overflow(magnitude, quantity, &magnitude));
  }
  if (rows.size() > 0 && (min_ms != meta.min_timestamp_ms || max_ms != meta.max_timestamp_ms)) {
    return Status::Corruption(fmt::format("its times are {} to {}, the manifest says {} to {}",
                                          min_ms, max_ms, meta.min_timestamp_ms,
                                          meta.max_timestamp_ms));
  }
  if (!fits || sum == *meta.quantity_sum) return Status::Ok();
  return Status::Corruption(fmt::format("its quantities add up to {}, the manifest says {}",
                                        Quantity::FromInteger(sum).ToString(),
                                        Quantity::FromInteger(*meta.quantity_sum).ToString()));
}

}  // namespace

bool IsSegmentName(std::string_view name) {
  return name.ends_with(".seg") && (name.starts_with("raw_") || name.starts_with("compacted_"));
}

Result<Directory> ReadDirectory(FileSystem& fs, const std::string& root) {
  Directory out;
  out.root = root;
  TALLY_ASSIGN_OR_RETURN(const auto names, fs.List(root));
  TALLY_RETURN_IF_ERROR(FindManifest(fs, names, &out));
  TALLY_ASSIGN_OR_RETURN(const auto logs, ListIfThere(fs, JoinPath(root, "wal")));
  SortLogs(logs, &out);
  ListLeftovers(names, &out);
  if (out.manifest_file.empty() && out.live_logs.empty() && out.log_faults.empty()) {
    return Status::NotFound("usagedb_not_found", root + " holds no manifest and no log of usageDb");
  }
  CheckLogs(&out);
  return out;
}

std::string SegmentPath(const std::string& root, const SegmentMeta& meta) {
  return JoinPath(root, meta.segment_id + ".seg");
}

std::string LogPath(const std::string& root, uint64_t id) {
  return JoinPath(JoinPath(root, "wal"), fmt::format("wal-{:06}.log", id));
}

Result<SegmentRows> ReadSegment(FileSystem& fs, const std::string& root, const SegmentMeta& meta,
                                Bytes* buffer) {
  const std::string path = SegmentPath(root, meta);
  TALLY_RETURN_IF_ERROR(ReadWholeFileInto(fs, path, kSegmentBytesMax, buffer));
  auto segment = DecodeSegment(*buffer);
  if (!segment.ok()) return segment.status().WithContext(path);
  if (segment->checksum != meta.checksum && !TALLY_MUTANT("usagedb_checksum_trusted")) {
    return Status::Corruption(
        fmt::format("{}: at offset {}: the checksum {} is not the manifest's {}", path,
                    buffer->size() - sizeof kSegmentEndMagic - sizeof(uint64_t), segment->checksum,
                    meta.checksum));
  }
  const Status agrees = CompareWithManifest(segment->rows, meta);
  if (!agrees.ok()) return agrees.WithContext(path);
  return std::move(segment->rows);
}

Result<uint64_t> RowsAbout(FileSystem& fs, const std::string& path) {
  TALLY_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kRead));
  TALLY_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
  if (bytes < kSegmentHeaderBytes) return 0;
  Bytes header(kSegmentHeaderBytes);
  TALLY_RETURN_IF_ERROR(ReadFully(*file, 0, header));
  return std::min<uint64_t>(RowsInHeader(header), bytes);
}

Result<LogReader> LogReader::Open(FileSystem& fs, const std::string& path) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  TALLY_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
  return LogReader(std::move(file), bytes);
}

// Another piece of the file behind what is left of the last ones.
Status LogReader::Fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  const size_t kept = buffer_.size();
  const size_t more = std::min<uint64_t>(kPieceBytes, bytes_ - read_);
  buffer_.resize(kept + more);
  TALLY_RETURN_IF_ERROR(
      ReadFully(*file_, read_, std::as_writable_bytes(std::span(buffer_)).subspan(kept)));
  read_ += more;
  return Status::Ok();
}

Result<std::optional<LogReader::Line>> LogReader::Next() {
  while (true) {
    size_t scanned = at_;
    size_t end = buffer_.find('\n', scanned);
    while (end == std::string::npos && read_ < bytes_) {
      scanned = buffer_.size() - at_;
      if (scanned > kLineBytesMax) {
        return Status::Corruption(fmt::format("{}: line {} at offset {} is longer than {} bytes",
                                              file_->path(), number_ + 1, offset_, kLineBytesMax));
      }
      TALLY_RETURN_IF_ERROR(Fill());
      end = buffer_.find('\n', scanned);
    }
    const bool ended = end != std::string::npos;
    if (!ended) end = buffer_.size();
    if (!ended && end == at_) return std::optional<Line>();
    Line line{++number_, offset_, std::string_view(buffer_).substr(at_, end - at_), ended};
    at_ = end + (ended ? 1 : 0);
    offset_ += line.text.size() + (ended ? 1 : 0);
    if (line.text.find_first_not_of(" \t\r") != std::string_view::npos) return std::optional(line);
  }
}

}  // namespace tallystick::usagedb
