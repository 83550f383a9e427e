// Writes a segment: collect, sort, encode.
//
//   collect   each record is decoded once, in LSN order: its dictionary columns become codes
//   sort      dictionaries and rows are ranked (row_sort.h)
//   encode    row group by row group; what is no code is taken from the record again, whose first
//             bytes hold it
//
// Invariants:
//   1. The input is read, never copied: beyond the output buffer there are some dozens of bytes a
//      row, and the dictionaries' views.
//   2. The totals are added up from the records, not from what was encoded.
#include "segment/segment_writer.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "model/identity.h"
#include "segment/dictionary.h"
#include "segment/row_sort.h"
#include "segment/segment_encoder.h"

namespace tallystick {
namespace {

// In sort order records stand anywhere, so they are fetched into the cache this far ahead; what
// points to them twice as far.
constexpr size_t kPrefetchRows = 16;
// Of a record, enough for what ReadHead takes where the id is a UUID.
constexpr size_t kPrefetchBytes = 64;

// The count of dimensions and the pairs, as they stand at the end of the canonical bytes.
std::string_view DimensionTail(ByteSpan canonical, const RowView& row) {
  const size_t bytes = VarintBytes(row.dimension_count) + row.dimension_bytes.size();
  return AsText(canonical.last(bytes));
}

// What the encoder takes from the first bytes of valid canonical bytes (model/row.h has the table);
// the columns behind the event id are codes by then.
struct Head {
  EventKind kind;
  bool has_correction_ref;
  Quantity quantity;
  std::string_view event_id;
};

Head ReadHead(ByteSpan canonical) {
  constexpr uint8_t kHasCorrectionRef = 4;
  Decoder decoder(canonical);
  Head head;
  head.kind = static_cast<EventKind>(decoder.Fixed<uint8_t>());
  head.quantity.scale = decoder.Fixed<uint8_t>();
  const auto mantissa_bytes = decoder.Fixed<uint8_t>();
  head.has_correction_ref = (decoder.Fixed<uint8_t>() & kHasCorrectionRef) != 0;
  decoder.Fixed<int64_t>();  // timestamp
  const ByteSpan mantissa = decoder.Raw(mantissa_bytes);
  uint128 value = 0;
  if (!mantissa.empty() && (mantissa.back() & std::byte{0x80}) != std::byte{0}) value = ~value;
  std::memcpy(&value, mantissa.data(), mantissa.size());
  head.quantity.mantissa = static_cast<int128>(value);
  head.event_id = decoder.Text();
  TALLY_CHECK(decoder.ok());
  return head;
}

RowView Decode(const RecordView& record) {
  RowView row;
  TALLY_CHECK(DecodeCanonical(record.canonical, &row));
  return row;
}

class Writer {
 public:
  Writer(const SegmentSpec& spec, const SegmentInput& input) : spec_(spec), input_(input) {}

  Result<WrittenSegment> Write(std::unique_ptr<File> file, IoGovernor* governor);

 private:
  void Collect();
  Status RankCodes();
  void Sort();
  void Gather(uint32_t begin, uint32_t end);
  void GatherRow(uint32_t row);

  size_t rows() const { return input_.records.size(); }

  const SegmentSpec& spec_;
  const SegmentInput& input_;
  SegmentTotals totals_;
  SegmentTables tables_;
  bool dimensions_by_key_ = false;

  // By place in the input.
  std::vector<RowCodes> codes_;
  std::vector<int64_t> timestamps_ms_;
  std::array<DictionaryBuilder, kDictionaryCount> dictionaries_;

  // By row of the file.
  std::vector<uint32_t> order_;

  GroupRows group_;  // the one being written
};

void Writer::Collect() {
  codes_.resize(rows());
  timestamps_ms_.resize(rows());
  DictionaryBuilder& sets = dictionaries_[kDimensionDictionary];
  for (size_t i = 0; i < rows(); ++i) {
    const RowView row = Decode(input_.records[i]);
    timestamps_ms_[i] = row.timestamp_ms;
    RowCodes& codes = codes_[i];
    const std::array<std::optional<std::string_view>, kDictionaryColumns.size()> texts = {
        row.account_id, row.product_id,      row.meter_id, row.unit,
        row.model_id,   row.subscription_id, row.source};
    for (size_t c = 0; c < texts.size(); ++c) {
      if (!texts[c].has_value()) continue;  // code 0
      codes[c] = dictionaries_[c].Add(*texts[c]) + (kDictionaryColumns[c].nullable ? 1 : 0);
    }
    if (dimensions_by_key_) continue;
    codes[kDimensionDictionary] = sets.Add(DimensionTail(input_.records[i].canonical, row));
    dimensions_by_key_ = spec_.WantsDimensionsByKey(sets.size(), sets.text_bytes());
  }
}

Status Writer::RankCodes() {
  std::array<std::vector<uint32_t>, kDictionaryCount> ranks;
  for (size_t c = 0; c < kDictionaryCount; ++c) {
    if (c == kDimensionDictionary && dimensions_by_key_) continue;
    auto ranked = dictionaries_[c].Finish(tables_.dictionaries[c]);
    if (!ranked.has_value()) {
      return Status::InvalidArgument("segment_block_too_large", "a dictionary is too large");
    }
    const bool nullable = c < kDictionaryColumns.size() && kDictionaryColumns[c].nullable;
    if (nullable) {
      for (uint32_t& rank : *ranked) ++rank;
      ranked->insert(ranked->begin(), 0);
    }
    ranks[c] = std::move(*ranked);
  }
  const size_t ranked = dimensions_by_key_ ? kDimensionDictionary : kDictionaryCount;
  for (RowCodes& codes : codes_) {
    for (size_t c = 0; c < ranked; ++c) codes[c] = ranks[c][codes[c]];
  }
  return Status::Ok();
}

void Writer::Sort() {
  std::array<uint32_t, kSortedDictionaryColumns> counts;
  for (size_t c = 0; c < counts.size(); ++c) {
    counts[c] = dictionaries_[c].size() + (kDictionaryColumns[c].nullable ? 1 : 0);
  }
  order_ = SortRows(codes_, timestamps_ms_, counts);
}

void Writer::GatherRow(uint32_t row) {
  const uint32_t place = order_[row];
  const RecordView& record = input_.records[place];
  const ByteSpan canonical = record.canonical;
  const RowCodes& codes = codes_[place];
  for (size_t c = 0; c < kDictionaryCount; ++c) group_.codes[c].push_back(codes[c]);
  group_.timestamps.push_back(static_cast<uint64_t>(timestamps_ms_[place]));
  group_.lsns.push_back(input_.first_lsn.value + place);
  group_.dispositions.push_back(static_cast<uint64_t>(record.disposition));

  const Head head = ReadHead(canonical);
  group_.kinds.push_back(static_cast<uint64_t>(head.kind));
  group_.quantities.push_back(head.quantity);
  group_.event_ids.Add(head.event_id);
  if (record.disposition == Disposition::kCounted) {
    totals_.quantity.Add(head.quantity);
  } else {
    ++totals_.quarantined;
    tables_.quarantined.emplace_back(
        IdHash(spec_.scope, CanonicalAccountId(canonical), head.event_id), row);
  }
  if (!head.has_correction_ref && !dimensions_by_key_) return;
  const RowView whole = Decode(record);
  if (whole.correction_ref.has_value()) {
    group_.corrections.push_back({row % spec_.group_rows, *whole.correction_ref});
  }
  group_.dimension_tails.push_back(DimensionTail(canonical, whole));
}

void Writer::Gather(uint32_t begin, uint32_t end) {
  group_.Clear();
  for (uint32_t row = begin; row < end; ++row) {
    // Not in a function of its own: g++ 12 takes one that only prefetches for one without effect.
    if (row + 2 * kPrefetchRows < rows()) {
      const uint32_t far = order_[row + 2 * kPrefetchRows];
      __builtin_prefetch(&input_.records[far]);
      __builtin_prefetch(&codes_[far]);
      __builtin_prefetch(&timestamps_ms_[far]);
      const std::byte* canonical = input_.records[order_[row + kPrefetchRows]].canonical.data();
      __builtin_prefetch(canonical);
      __builtin_prefetch(canonical + kPrefetchBytes);
    }
    GatherRow(row);
  }
}

Result<WrittenSegment> Writer::Write(std::unique_ptr<File> file, IoGovernor* governor) {
  Collect();
  TALLY_RETURN_IF_ERROR(RankCodes());
  Sort();
  SegmentEncoder encoder(std::move(file), spec_, dimensions_by_key_, governor);
  const auto end = static_cast<uint32_t>(rows());
  for (uint32_t begin = 0; begin < end;) {
    const uint32_t group_end = begin + std::min(end - begin, spec_.group_rows);
    Gather(begin, group_end);
    TALLY_RETURN_IF_ERROR(encoder.AddGroup(group_));
    begin = group_end;
  }
  totals_.rows = rows();
  tables_.commit_times = input_.commit_times;
  TALLY_ASSIGN_OR_RETURN(WrittenSegment written,
                         encoder.Finish(input_.first_lsn, totals_, std::move(tables_)));
  written.row_of.resize(rows());
  for (uint32_t row = 0; row < end; ++row) written.row_of[order_[row]] = row;
  return written;
}

}  // namespace

Result<WrittenSegment> WriteSegment(FileSystem& fs, const std::string& path,
                                    const SegmentSpec& spec, const SegmentInput& input,
                                    IoGovernor* governor) {
  TALLY_CHECK(!input.records.empty() && input.records.size() <= UINT32_MAX);
  TALLY_CHECK(!input.commit_times.empty() && input.commit_times[0].first_lsn <= input.first_lsn);
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreateNew));
  return Writer(spec, input).Write(std::move(file), governor);
}

}  // namespace tallystick
