#include "segment/group_check.h"

#include <algorithm>

#include "base/result.h"
#include "model/identity.h"
#include "segment/dimension_chunk.h"
#include "segment/uuid.h"

namespace tallystick {

GroupChecker::GroupChecker(const SegmentFile& file, const CheckedTables& tables)
    : file_(file), footer_(file.footer()), tables_(tables), lsn_seen_(file.info().rows) {}

uint64_t GroupChecker::CodeCount(size_t dictionary) const {
  const bool nullable =
      dictionary < kDictionaryColumns.size() && kDictionaryColumns[dictionary].nullable;
  return uint64_t{tables_.dictionaries[dictionary].view.size()} + (nullable ? 1 : 0);
}

Result<Bytes> GroupChecker::Payload(SegmentColumn column) const {
  const BlockRef ref = entry_.Block(column);
  const ByteSpan block = raw_.subspan(ref.offset - entry_.offset, ref.bytes);
  return file_.Open(ref.offset, Bytes(block.begin(), block.end()));
}

Status GroupChecker::ReadIntegers(SegmentColumn column, std::vector<uint64_t>* values) const {
  const ColumnEntry& zone = entry_.at(column);
  values->resize(rows_);
  IntChunk chunk = IntChunk::Constant(zone.min);
  Bytes payload;
  if (zone.block_bytes != 0) {
    TALLY_ASSIGN_OR_RETURN(payload, Payload(column));
    Decoder decoder(payload);
    if (!IntChunk::Parse(decoder, rows_, &chunk) || decoder.remaining() != 0) {
      return ColumnFault(column, "the chunk does not decode");
    }
  }
  chunk.Unpack(0, *values);
  const auto [min, max] = std::ranges::minmax(*values);
  if (min == zone.min && max == zone.max) return Status::Ok();
  return ColumnFault(column, "the zone is not that of the chunk");
}

Status GroupChecker::Check(uint32_t number, const GroupEntry& entry, ByteSpan raw) {
  entry_ = entry;
  raw_ = raw;
  first_row_ = number * file_.info().group_rows;
  rows_ = footer_.rows_of_group(number);
  after_.assign(rows_, 0);
  if (number == 0) after_[0] = 1;
  TALLY_RETURN_IF_ERROR(CheckUnzoned());
  TALLY_RETURN_IF_ERROR(CheckCodes());
  TALLY_RETURN_IF_ERROR(CheckTimestamps());
  TALLY_RETURN_IF_ERROR(CheckLsns());
  TALLY_RETURN_IF_ERROR(CheckDispositions());
  TALLY_RETURN_IF_ERROR(CheckCorrections());
  TALLY_RETURN_IF_ERROR(CheckQuantities());
  TALLY_RETURN_IF_ERROR(CheckDimensions());
  TALLY_RETURN_IF_ERROR(CheckEventIds());
  totals_.rows += rows_;
  return Status::Ok();
}

Status GroupChecker::CheckUnzoned() const {
  for (size_t i = 0; i < kSegmentColumnCount; ++i) {
    const auto column = static_cast<SegmentColumn>(1u << i);
    const ColumnEntry& zone = entry_.at(column);
    if (!HasZone(column, footer_.dimensions_by_key) && (zone.min != 0 || zone.max != 0)) {
      return Fault("the directory has a zone where there is none");
    }
  }
  return Status::Ok();
}

// The order of rows is that of place 0, where that is equal of place 1, ...
Status GroupChecker::CheckOrder(SegmentColumn column, size_t place) {
  uint64_t before = last_row_[place];
  uint8_t wrong = 0;
  for (uint32_t i = 0; i < rows_; ++i) {
    const uint64_t value = values_[i];
    wrong |= static_cast<uint8_t>((after_[i] == 0) & (value < before));
    after_[i] |= static_cast<uint8_t>(value > before);
    before = value;
  }
  last_row_[place] = before;
  return wrong == 0 ? Status::Ok() : ColumnFault(column, "the rows are not in order");
}

Status GroupChecker::CheckCodes() {
  for (size_t c = 0; c < kDictionaryColumns.size(); ++c) {
    const SegmentColumn column = kDictionaryColumns[c].column;
    TALLY_RETURN_IF_ERROR(ReadIntegers(column, &values_));
    if (entry_.at(column).max >= CodeCount(c)) {
      return ColumnFault(column, "a code is not in the dictionary");
    }
    if (c == 0) TALLY_RETURN_IF_ERROR(CheckAccounts());
    if (c < kSortedDictionaryColumns) TALLY_RETURN_IF_ERROR(CheckOrder(column, c));
  }
  return Status::Ok();
}

Status GroupChecker::CheckAccounts() {
  for (uint32_t i = 0; i < rows_; ++i) {
    if (values_[i] + 1 == accounts_) continue;  // of the same account as the row before
    if (values_[i] != accounts_ ||
        tables_.account_index.Start(static_cast<uint32_t>(accounts_)) != first_row_ + i) {
      return Fault("the account index does not lead to the accounts' rows");
    }
    ++accounts_;
  }
  account_codes_ = values_;
  return Status::Ok();
}

Status GroupChecker::CheckTimestamps() {
  TALLY_RETURN_IF_ERROR(ReadIntegers(SegmentColumn::kTimestamp, &values_));
  const ColumnEntry& zone = entry_.at(SegmentColumn::kTimestamp);
  if (zone.min == 0 || zone.max > static_cast<uint64_t>(INT64_MAX)) {
    return ColumnFault(SegmentColumn::kTimestamp, "a timestamp is out of range");
  }
  timestamp_min_ms_ = std::min(timestamp_min_ms_, static_cast<int64_t>(zone.min));
  timestamp_max_ms_ = std::max(timestamp_max_ms_, static_cast<int64_t>(zone.max));
  return CheckOrder(SegmentColumn::kTimestamp, kTimestampPlace);
}

Status GroupChecker::CheckLsns() {
  TALLY_RETURN_IF_ERROR(ReadIntegers(SegmentColumn::kLsn, &values_));
  for (const uint64_t lsn : values_) {
    const uint64_t place = lsn - file_.info().first_lsn.value;
    if (place >= lsn_seen_.size() || lsn_seen_[place]) {
      return ColumnFault(SegmentColumn::kLsn, "an LSN is not of this segment, or is there twice");
    }
    lsn_seen_[place] = true;
  }
  return CheckOrder(SegmentColumn::kLsn, kLsnPlace);
}

Status GroupChecker::CheckDispositions() {
  TALLY_RETURN_IF_ERROR(ReadIntegers(SegmentColumn::kDisposition, &dispositions_));
  const ColumnEntry& zone = entry_.at(SegmentColumn::kDisposition);
  uint64_t quarantined = 0;
  for (const uint64_t disposition : dispositions_) quarantined += disposition;
  if (zone.max > static_cast<uint64_t>(Disposition::kQuarantined) ||
      quarantined != entry_.quarantined) {
    return ColumnFault(SegmentColumn::kDisposition, "the quarantined rows are not as counted");
  }
  totals_.quarantined += quarantined;
  return Status::Ok();
}

Status GroupChecker::CheckCorrections() {
  TALLY_RETURN_IF_ERROR(ReadIntegers(SegmentColumn::kKind, &values_));
  if (entry_.at(SegmentColumn::kKind).max > static_cast<uint64_t>(EventKind::kRetraction)) {
    return ColumnFault(SegmentColumn::kKind, "an event is of an unknown kind");
  }
  Bytes payload;
  CorrectionChunk chunk;
  if (entry_.at(SegmentColumn::kCorrectionRef).block_bytes != 0) {
    TALLY_ASSIGN_OR_RETURN(payload, Payload(SegmentColumn::kCorrectionRef));
    if (!CorrectionChunk::Parse(payload, rows_, &chunk) || chunk.size() == 0 || !chunk.IsWhole()) {
      return ColumnFault(SegmentColumn::kCorrectionRef, "the chunk does not decode");
    }
  }
  uint32_t refs = 0;
  for (uint32_t i = 0; i < rows_; ++i) {
    const bool has_ref = refs < chunk.size() && chunk.Row(refs) == i;
    refs += has_ref ? 1 : 0;
    if (values_[i] != static_cast<uint64_t>(EventKind::kUsage) && !has_ref) {
      return ColumnFault(SegmentColumn::kCorrectionRef, "a correction refers to nothing");
    }
  }
  return Status::Ok();
}

Status GroupChecker::CheckQuantities() {
  TALLY_ASSIGN_OR_RETURN(const Bytes payload, Payload(SegmentColumn::kQuantity));
  QuantityChunk chunk;
  if (!QuantityChunk::Parse(payload, rows_, &chunk)) {
    return ColumnFault(SegmentColumn::kQuantity, "the chunk does not decode");
  }
  chunk.ForSum([this](uint32_t i) { return dispositions_[i] == 0; },
               [this](const Quantity& quantity) { totals_.quantity.Add(quantity); });
  return Status::Ok();
}

Status GroupChecker::CheckDimensions() {
  constexpr SegmentColumn kColumn = SegmentColumn::kDimensions;
  if (!footer_.dimensions_by_key) {
    TALLY_RETURN_IF_ERROR(ReadIntegers(kColumn, &values_));
    if (entry_.at(kColumn).max < CodeCount(kDimensionDictionary)) return Status::Ok();
    return ColumnFault(kColumn, "a code is not in the dictionary");
  }
  TALLY_ASSIGN_OR_RETURN(const Bytes payload, Payload(kColumn));
  DimensionChunk chunk;
  bool good = DimensionChunk::Parse(payload, rows_, &chunk) && chunk.IsWhole();
  Bytes pairs;
  for (uint32_t i = 0; good && i < rows_; ++i) {
    pairs.clear();
    uint32_t count = 0;
    good = chunk.AppendPairs(i, &count, pairs);
  }
  return good ? Status::Ok() : ColumnFault(kColumn, "the chunk does not decode");
}

Status GroupChecker::CheckEventIds() {
  TALLY_ASSIGN_OR_RETURN(const Bytes payload, Payload(SegmentColumn::kEventId));
  EventIdChunk chunk;
  if (!EventIdChunk::Parse(payload, rows_, &chunk) || !chunk.IsWhole()) {
    return ColumnFault(SegmentColumn::kEventId, "the chunk does not decode");
  }
  for (uint32_t i = 0; entry_.quarantined > 0 && i < rows_; ++i) {
    if (dispositions_[i] == 0) continue;
    char buffer[kUuidTextBytes];
    std::string_view event_id, account_id;
    if (!chunk.Get(i, buffer, &event_id) ||
        !tables_.dictionaries[0].view.Get(account_codes_[i], &account_id)) {
      return ColumnFault(SegmentColumn::kEventId, "the chunk does not decode");
    }
    quarantined_.emplace_back(IdHash(footer_.scope, account_id, event_id), first_row_ + i);
  }
  return Status::Ok();
}

Status GroupChecker::Finish() const {
  const SegmentInfo& info = file_.info();
  const DictionaryView& accounts = tables_.dictionaries[0].view;
  if (accounts_ != accounts.size() || tables_.account_index.Start(accounts.size()) != info.rows) {
    return file_.Fault(footer_.account_index.offset, "the account index has accounts without rows");
  }
  auto sorted = quarantined_;
  std::ranges::sort(sorted);
  bool listed = sorted.size() == tables_.quarantined.size();
  for (uint32_t i = 0; listed && i < sorted.size(); ++i) {
    listed = tables_.quarantined.hash(i) == sorted[i].first &&
             tables_.quarantined.row(i) == sorted[i].second;
  }
  if (!listed) {
    return file_.Fault(footer_.quarantined.offset,
                       "the list of quarantined rows is not that of the rows");
  }
  if (totals_.quarantined != info.quarantined || totals_.quantity != footer_.quantity ||
      timestamp_min_ms_ != info.timestamp_min_ms || timestamp_max_ms_ != info.timestamp_max_ms) {
    return file_.Fault(info.bytes - kSegmentTailBytes, "the footer's totals are not the rows'");
  }
  return Status::Ok();
}

}  // namespace tallystick
