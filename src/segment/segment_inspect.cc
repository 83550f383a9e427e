#include "segment/segment_inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "segment/segment_file.h"
#include "segment/segment_reader.h"

namespace tallystick {
namespace {

constexpr uint64_t kCacheBytes = 64 << 20;

constexpr std::array<std::string_view, kSegmentColumnCount> kColumnNames = {
    "event_id",     "account_id",      "product_id", "meter_id",       "unit",
    "model_id",     "subscription_id", "source",     "kind",           "disposition",
    "timestamp_ms", "quantity",        "dimensions", "correction_ref", "lsn"};

struct Cost {
  std::string name;
  uint64_t bytes = 0;
};

// Everything of the file is in exactly one of the costs.
Result<std::vector<Cost>> CostsOf(const SegmentFile& file) {
  const SegmentFooter& footer = file.footer();
  std::vector<Cost> costs;
  for (const std::string_view name : kColumnNames) costs.push_back({std::string(name)});
  for (uint32_t group = 0; group < footer.group_count(); ++group) {
    TALLY_ASSIGN_OR_RETURN(const GroupEntry entry, file.Group(group));
    for (size_t i = 0; i < kSegmentColumnCount; ++i) costs[i].bytes += entry.columns[i].block_bytes;
  }
  for (size_t i = 0; i < kDictionaryColumns.size(); ++i) {
    costs[ColumnIndex(kDictionaryColumns[i].column)].bytes += footer.dictionaries[i].bytes;
  }
  costs[ColumnIndex(SegmentColumn::kDimensions)].bytes +=
      footer.dictionaries[kDimensionDictionary].bytes;
  costs.push_back({"account index", footer.account_index.bytes});
  costs.push_back({"commit times", footer.commit_times.bytes});
  costs.push_back({"quarantined list", footer.quarantined.bytes});
  costs.push_back({"group directory", footer.directory_bytes()});
  costs.push_back({"header and footer", kSegmentHeaderBytes + kSegmentTailBytes});
  return costs;
}

void PrintText(const SegmentFile& file, const std::vector<Cost>& costs, std::string_view verdict,
               std::string* out) {
  const SegmentInfo& info = file.info();
  const SegmentFooter& footer = file.footer();
  auto to = std::back_inserter(*out);
  fmt::format_to(to,
                 "{}\n  segment {} of database {}, format version {}, identity scope {}\n"
                 "  LSN {} to {}, {} rows ({} quarantined) in {} groups of {}\n"
                 "  timestamps {} to {} ms, sum of the counted quantities {}\n"
                 "  footer checksum {:016x}: {}\n",
                 file.path(), info.number.value, info.database_id.ToHex(), kSegmentFormatVersion,
                 footer.scope == IdentityScope::kAccount ? "account" : "global",
                 info.first_lsn.value, info.last_lsn.value, info.rows, info.quarantined,
                 footer.group_count(), info.group_rows, info.timestamp_min_ms,
                 info.timestamp_max_ms, footer.quantity.ToString(), info.footer_checksum, verdict);
  for (const Cost& cost : costs) {
    fmt::format_to(to, "  {:<18} {:>12} bytes {:>7.2f} a row\n", cost.name, cost.bytes,
                   static_cast<double>(cost.bytes) / static_cast<double>(info.rows));
  }
  fmt::format_to(to, "  {:<18} {:>12} bytes {:>7.2f} a row\n", "all", info.bytes,
                 static_cast<double>(info.bytes) / static_cast<double>(info.rows));
}

void PrintJson(const SegmentFile& file, const std::vector<Cost>& costs, std::string_view verdict,
               std::string* out) {
  const SegmentInfo& info = file.info();
  const SegmentFooter& footer = file.footer();
  auto to = std::back_inserter(*out);
  fmt::format_to(to, R"({{"bytes":{},"column_bytes":{{)", info.bytes);
  for (const Cost& cost : costs) {
    fmt::format_to(to, R"({}"{}":{})", &cost == costs.data() ? "" : ",", cost.name, cost.bytes);
  }
  fmt::format_to(
      to,
      R"(}},"database_id":"{}","first_lsn":{},"footer_checksum":"{:016x}","format_version":{},)"
      R"("group_rows":{},"groups":{},"identity_scope":"{}","last_lsn":{},"number":{},)"
      R"("quantity":"{}","quarantined":{},"rows":{},"timestamp_max_ms":{},"timestamp_min_ms":{},)"
      R"("verdict":"{}"}})",
      info.database_id.ToHex(), info.first_lsn.value, info.footer_checksum, kSegmentFormatVersion,
      info.group_rows, footer.group_count(),
      footer.scope == IdentityScope::kAccount ? "account" : "global", info.last_lsn.value,
      info.number.value, footer.quantity.ToString(), info.quarantined, info.rows,
      info.timestamp_max_ms, info.timestamp_min_ms, verdict);
}

}  // namespace

Status InspectSegment(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  BlockCache cache(kCacheBytes);
  TALLY_ASSIGN_OR_RETURN(const auto file, SegmentFile::Open(fs, path, cache));
  const SegmentInfo& info = file->info();
  // The file's own word for what it is: there is no manifest to compare with.
  Status status;
  auto reader = SegmentReader::Open(fs, path, {info.database_id, info.number, 0}, cache);
  if (reader.ok()) {
    status = CheckSegment(**reader, {}).status();
  } else {
    status = reader.status();
  }
  const auto costs = CostsOf(*file);
  (json ? PrintJson : PrintText)(*file, costs.ok() ? *costs : std::vector<Cost>(),
                                 status.ok() ? "every byte verifies" : "damaged", out);
  return status;
}

}  // namespace tallystick
