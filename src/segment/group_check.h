// GroupChecker: the part of CheckSegment that is about rows. It is given the row groups one after
// another and holds them against each other, the directory, the tables and the footer.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "segment/chunk.h"
#include "segment/segment_file.h"
#include "segment/segment_tables.h"

namespace tallystick {

// What stands behind the row groups, decoded and checked in itself.
struct CheckedTables {
  std::array<LoadedDictionary, kDictionaryCount> dictionaries;
  AccountIndex account_index;
  CommitTimeTable commit_times;
  QuarantinedList quarantined;
};

class GroupChecker {
 public:
  // Borrows both.
  GroupChecker(const SegmentFile& file, const CheckedTables& tables);

  // `raw`: the group's blocks as they stand in the file.
  Status Check(uint32_t number, const GroupEntry& entry, ByteSpan raw);
  // After the last group: nothing is missing, and the footer says the same.
  Status Finish() const;
  const SegmentTotals& totals() const { return totals_; }

 private:
  static constexpr size_t kTimestampPlace = kSortedDictionaryColumns;
  static constexpr size_t kLsnPlace = kTimestampPlace + 1;
  static constexpr size_t kPlaces = kLsnPlace + 1;

  Status Fault(std::string_view what) const { return file_.Fault(entry_.offset, what); }
  Status ColumnFault(SegmentColumn column, std::string_view what) const {
    return file_.Fault(entry_.Block(column).offset, what);
  }
  uint64_t CodeCount(size_t dictionary) const;
  Result<Bytes> Payload(SegmentColumn column) const;
  Status ReadIntegers(SegmentColumn column, std::vector<uint64_t>* values) const;

  Status CheckCodes();
  Status CheckOrder(SegmentColumn column, size_t place);
  Status CheckAccounts();
  Status CheckTimestamps();
  Status CheckLsns();
  Status CheckDispositions();
  Status CheckCorrections();
  Status CheckQuantities();
  Status CheckDimensions();
  Status CheckEventIds();
  Status CheckUnzoned() const;

  const SegmentFile& file_;
  const SegmentFooter& footer_;
  const CheckedTables& tables_;

  // Of the rows so far.
  SegmentTotals totals_;
  std::vector<bool> lsn_seen_;                // by place in the segment's range
  std::array<uint64_t, kPlaces> last_row_{};  // its values in the order of the sort
  uint64_t accounts_ = 0;
  std::vector<std::pair<EventHash, uint32_t>> quarantined_;
  int64_t timestamp_min_ms_ = INT64_MAX;
  int64_t timestamp_max_ms_ = 0;

  // Of the row group at hand.
  GroupEntry entry_;
  ByteSpan raw_;
  uint32_t first_row_ = 0;
  uint32_t rows_ = 0;
  std::vector<uint64_t> values_;
  std::vector<uint64_t> account_codes_;
  std::vector<uint64_t> dispositions_;
  std::vector<uint8_t> after_;  // 1: the row is known to come after the one before it
};

}  // namespace tallystick
