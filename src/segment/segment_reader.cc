#include "segment/segment_reader.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/result.h"
#include "env/number_name.h"
#include "segment/chunk.h"
#include "segment/segment_file.h"
#include "segment/segment_tables.h"

namespace tallystick {

SegmentReader::SegmentReader(std::unique_ptr<SegmentFile> file) : file_(std::move(file)) {}
SegmentReader::~SegmentReader() = default;

Result<std::unique_ptr<SegmentReader>> SegmentReader::Open(FileSystem& fs, const std::string& path,
                                                           const Expected& expected,
                                                           BlockCache& cache) {
  TALLY_ASSIGN_OR_RETURN(auto file, SegmentFile::Open(fs, path, cache));
  const SegmentInfo& info = file->info();
  const uint64_t footer_at = info.bytes - kSegmentTailBytes;
  if (info.database_id != expected.database_id) {
    return file->Fault(footer_at, "a segment of database " + info.database_id.ToHex() + ", not " +
                                      expected.database_id.ToHex());
  }
  if (info.number != expected.number) {
    return file->Fault(footer_at, "segment " + std::to_string(info.number.value) +
                                      " under the name of " +
                                      std::to_string(expected.number.value));
  }
  if (expected.footer_checksum != 0 && info.footer_checksum != expected.footer_checksum) {
    return file->Fault(footer_at, "the content is not that of the listed segment");
  }
  return std::unique_ptr<SegmentReader>(new SegmentReader(std::move(file)));
}

const SegmentInfo& SegmentReader::info() const { return file_->info(); }
SegmentTotals SegmentReader::totals() const {
  return {info().rows, info().quarantined, file_->footer().quantity};
}
const std::string& SegmentReader::path() const { return file_->path(); }
uint32_t SegmentReader::group_count() const { return file_->footer().group_count(); }
uint64_t SegmentReader::table_bytes() const {
  const SegmentFooter& footer = file_->footer();
  uint64_t bytes =
      uint64_t{footer.account_index.bytes} + footer.commit_times.bytes + footer.quarantined.bytes;
  for (const BlockRef& dictionary : footer.dictionaries) bytes += dictionary.bytes;
  return bytes;
}

Result<RowRange> SegmentReader::RowsOfAccount(std::optional<std::string_view> account_id) const {
  if (!account_id.has_value()) return RowRange{0, static_cast<uint32_t>(info().rows)};
  TALLY_ASSIGN_OR_RETURN(const LoadedDictionary accounts, LoadDictionary(*file_, 0));
  const auto code = accounts.view.Find(*account_id);
  if (!code.has_value()) return RowRange{};
  TALLY_ASSIGN_OR_RETURN(const AccountIndex index,
                         AccountIndex::Load(*file_, accounts.view.size()));
  return index.RowsOf(*code);
}

Result<std::vector<uint32_t>> SegmentReader::AccountStarts() const {
  TALLY_ASSIGN_OR_RETURN(const LoadedDictionary accounts, LoadDictionary(*file_, 0));
  TALLY_ASSIGN_OR_RETURN(const AccountIndex index,
                         AccountIndex::Load(*file_, accounts.view.size()));
  std::vector<uint32_t> starts;
  for (uint32_t code = 0; code < accounts.view.size(); ++code) {
    TALLY_ASSIGN_OR_RETURN(const RowRange rows, index.RowsOf(code));
    if (rows.begin != (starts.empty() ? 0 : starts.back())) {
      return file_->Fault(file_->footer().account_index.offset,
                          "the account index contradicts itself");
    }
    if (starts.empty()) starts.push_back(0);
    starts.push_back(rows.end);
  }
  if (starts.empty() || starts.back() != info().rows) {
    return file_->Fault(file_->footer().account_index.offset,
                        "the account index does not have all rows");
  }
  return starts;
}

Result<GroupZone> SegmentReader::Zone(uint32_t group) const {
  TALLY_ASSIGN_OR_RETURN(const GroupEntry entry, file_->Group(group));
  const ColumnEntry& timestamp = entry.at(SegmentColumn::kTimestamp);
  const ColumnEntry& lsn = entry.at(SegmentColumn::kLsn);
  return GroupZone{.timestamp_min_ms = static_cast<int64_t>(timestamp.min),
                   .timestamp_max_ms = static_cast<int64_t>(timestamp.max),
                   .lsn_min = {lsn.min},
                   .lsn_max = {lsn.max}};
}

Result<Lsn> SegmentReader::LsnOfRow(uint32_t row) const {
  SegmentCursor cursor(*this, static_cast<SegmentColumns>(SegmentColumn::kLsn));
  TALLY_RETURN_IF_ERROR(cursor.Seek(row));
  return cursor.lsn();
}

Result<int64_t> SegmentReader::CommitTimeMicros(Lsn lsn) const {
  TALLY_CHECK(lsn >= info().first_lsn && lsn <= info().last_lsn);
  TALLY_ASSIGN_OR_RETURN(const CommitTimeTable table, CommitTimeTable::Load(*file_));
  return table.Find(lsn);
}

Result<std::vector<CommitTime>> SegmentReader::CommitTimes() const {
  TALLY_ASSIGN_OR_RETURN(const CommitTimeTable table, CommitTimeTable::Load(*file_));
  std::vector<CommitTime> times;
  times.reserve(table.size());
  for (uint32_t i = 0; i < table.size(); ++i) times.push_back(table.Get(i));
  return times;
}

Result<std::vector<uint32_t>> SegmentReader::QuarantinedRows(
    std::optional<EventHash> id_hash) const {
  std::vector<uint32_t> rows;
  if (info().quarantined == 0) return rows;
  TALLY_ASSIGN_OR_RETURN(const QuarantinedList list, QuarantinedList::Load(*file_));
  for (uint32_t i = id_hash.has_value() ? list.LowerBound(*id_hash) : 0; i < list.size(); ++i) {
    if (id_hash.has_value() && list.hash(i) != *id_hash) break;
    rows.push_back(list.row(i));
  }
  std::ranges::sort(rows);
  return rows;
}

std::string SegmentFileName(FileNumber number) { return NumberName(number.value) + ".seg"; }

}  // namespace tallystick
