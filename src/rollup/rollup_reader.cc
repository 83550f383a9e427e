#include "rollup/rollup_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"

namespace tallystick {
RollupReader::RollupReader(std::unique_ptr<File> file, uint64_t bytes, const RollupFooter& footer,
                           BlockCache& cache)
    : file_(std::move(file)),
      bytes_(bytes),
      footer_(footer),
      seed_(RollupSeed(footer.database_id, footer.number)),
      cache_(cache) {}

Result<std::unique_ptr<RollupReader>> RollupReader::OpenAlone(FileSystem& fs,
                                                              const std::string& path,
                                                              BlockCache& cache) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  TALLY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  Bytes bytes(std::min(size, kRollupFooterBytes));
  const uint64_t footer_at = size - bytes.size();
  TALLY_RETURN_IF_ERROR(ReadFully(*file, footer_at, bytes));
  const auto footer = DecodeRollupFooter(bytes, size);
  if (!footer.ok()) {
    return footer.status().WithContext(fmt::format("{} at offset {}", path, footer_at));
  }
  return std::unique_ptr<RollupReader>(new RollupReader(std::move(file), size, *footer, cache));
}

Result<std::unique_ptr<RollupReader>> RollupReader::Open(FileSystem& fs, const std::string& path,
                                                         const SegmentInfo& segment,
                                                         BlockCache& cache) {
  TALLY_ASSIGN_OR_RETURN(auto reader, OpenAlone(fs, path, cache));
  const RollupFooter& footer = reader->footer();
  std::string differs;
  const auto compare = [&](std::string_view what, const auto& found, const auto& expected) {
    if (differs.empty() && found != expected) {
      differs = fmt::format("the footer's {} is {}, expected {}", what, found, expected);
    }
  };
  compare("database id", footer.database_id.ToHex(), segment.database_id.ToHex());
  compare("number", footer.number.value, segment.number.value);
  compare("first LSN", footer.first_lsn.value, segment.first_lsn.value);
  compare("last LSN", footer.last_lsn.value, segment.last_lsn.value);
  compare("number of rows", footer.rows, segment.rows);
  compare("checksum of the segment's footer", footer.segment_checksum, segment.footer_checksum);
  if (TALLY_MUTANT("foreign_rollup_believed")) differs.clear();
  if (!differs.empty()) return reader->Fault(reader->bytes() - kRollupFooterBytes, differs);
  return reader;
}

Status RollupReader::Fault(uint64_t offset, std::string_view what) const {
  return Status::Corruption(what).WithContext(fmt::format("{} at offset {}", path(), offset));
}

Result<Bytes> RollupReader::Read(const BlockRef& ref) const {
  Bytes raw(ref.bytes);
  TALLY_RETURN_IF_ERROR(ReadFully(*file_, ref.offset, raw));
  auto payload = OpenBlock(seed_, ref.offset, std::move(raw));
  if (!payload.ok()) return Fault(ref.offset, payload.status().message());
  return payload;
}

Status RollupReader::CheckHeader() const {
  Bytes header(kRollupHeaderBytes);
  TALLY_RETURN_IF_ERROR(ReadFully(*file_, 0, header));
  const Status status = CheckRollupHeader(header, footer_.database_id, footer_.number);
  return status.ok() ? status : Fault(0, status.message());
}

Result<RollupReader::Index> RollupReader::LoadIndex() const {
  TALLY_ASSIGN_OR_RETURN(BlockCache::Block block,
                         cache_.Get(footer_.cache_number(), footer_.index.offset,
                                    [&] { return Read(footer_.index); }));
  return ParseIndex(std::move(block));
}

Result<RollupReader::Index> RollupReader::ParseIndex(BlockCache::Block block) const {
  Index index{std::move(block), {}, {}};
  Decoder in(*index.block);
  const auto starts = static_cast<uint32_t>(footer_.entries + 1);
  const auto offsets = static_cast<uint32_t>(footer_.blocks() + 1);
  if (!IntChunk::Parse(in, starts, &index.starts) ||
      !IntChunk::Parse(in, offsets, &index.offsets) || in.remaining() != 0 ||
      index.starts.Get(0) != 0 || index.starts.Get(starts - 1) != footer_.lines ||
      index.offsets.Get(0) != kRollupHeaderBytes ||
      index.offsets.Get(offsets - 1) != footer_.index.offset) {
    return Fault(footer_.index.offset, "the index does not decode");
  }
  return index;
}

Result<LineRange> RollupReader::LinesOf(uint64_t entry) const {
  TALLY_CHECK(entry < footer_.entries);
  TALLY_ASSIGN_OR_RETURN(const Index index, LoadIndex());
  return LinesOf(index, entry);
}

Result<std::vector<LineRange>> RollupReader::Entries() const {
  TALLY_ASSIGN_OR_RETURN(const Index index, LoadIndex());
  std::vector<LineRange> entries;
  entries.reserve(footer_.entries);
  for (uint64_t entry = 0; entry < footer_.entries; ++entry) {
    TALLY_ASSIGN_OR_RETURN(entries.emplace_back(), LinesOf(index, entry));
  }
  return entries;
}

Result<LineRange> RollupReader::LinesOf(const Index& index, uint64_t entry) const {
  const LineRange range{index.starts.Get(static_cast<uint32_t>(entry)),
                        index.starts.Get(static_cast<uint32_t>(entry + 1))};
  if (range.begin > range.end || range.end > footer_.lines) {
    return Fault(footer_.index.offset, "the entries do not follow one another");
  }
  return range;
}

Result<BlockRef> RollupReader::RefOf(const Index& index, uint64_t block) const {
  const uint64_t begin = index.offsets.Get(static_cast<uint32_t>(block));
  const uint64_t end = index.offsets.Get(static_cast<uint32_t>(block + 1));
  if (begin < kRollupHeaderBytes || begin >= end || end > footer_.index.offset ||
      end - begin > UINT32_MAX) {
    return Fault(footer_.index.offset, "the blocks do not follow one another");
  }
  return BlockRef{begin, static_cast<uint32_t>(end - begin)};
}

Result<BlockCache::Block> RollupReader::Block(uint64_t block, uint64_t* offset) const {
  TALLY_CHECK(block < footer_.blocks());
  TALLY_ASSIGN_OR_RETURN(const Index index, LoadIndex());
  TALLY_ASSIGN_OR_RETURN(const BlockRef ref, RefOf(index, block));
  *offset = ref.offset;
  return cache_.Get(footer_.cache_number(), ref.offset, [&] { return Read(ref); });
}

size_t RollupColumns::Place(SegmentColumn column) {
  const auto at = std::ranges::find(kColumns, column);
  TALLY_CHECK(at != kColumns.end());
  return static_cast<size_t>(at - kColumns.begin());
}

Status RollupColumns::Enter(uint64_t block, uint32_t begin, uint32_t end) {
  rows_ = 0;
  uint64_t offset = 0;
  TALLY_ASSIGN_OR_RETURN(const BlockCache::Block payload, reader_.Block(block, &offset));
  return Decode(block, offset, *payload, begin, end);
}

Status RollupColumns::Decode(uint64_t block, uint64_t offset, ByteSpan payload, uint32_t begin,
                             uint32_t end) {
  const uint32_t lines = reader_.footer().lines_of(block);
  TALLY_CHECK(begin < end && end <= lines);
  rows_ = end - begin;
  Decoder in(payload);
  bool good = true;
  for (auto& values : integers_) good = good && Unpack(in, lines, begin, values);
  good = good && Unpack(in, lines, begin, counts_) && DecodeQuantities(in, lines, begin);
  Status status = Status::Ok();
  if (!good || in.remaining() != 0) {
    status = reader_.Fault(offset, "the block of lines does not decode");
  } else {
    status = CheckLines(offset);
  }
  if (!status.ok()) rows_ = 0;
  return status;
}

bool RollupColumns::Unpack(Decoder& in, uint32_t lines, uint32_t begin,
                           std::vector<uint64_t>& values) const {
  IntChunk chunk;
  if (!IntChunk::Parse(in, lines, &chunk)) return false;
  values.resize(rows_);
  chunk.Unpack(begin, values);
  return true;
}

bool RollupColumns::DecodeQuantities(Decoder& in, uint32_t lines, uint32_t begin) {
  using Limbs = std::array<uint64_t, 4>;
  quantities_ = {};
  const auto form = in.Fixed<uint8_t>();
  if (form == 0) {
    quantities_.scale = in.Fixed<uint8_t>();
    std::vector<uint64_t> biased;
    if (quantities_.scale > Quantity::kScaleMax || !Unpack(in, lines, begin, biased)) return false;
    mantissas_.resize(rows_);
    std::ranges::transform(biased, mantissas_.begin(), Unbiased);
    const auto [min, max] = std::ranges::minmax(mantissas_);
    quantities_.min = min;
    quantities_.max = max;
    quantities_.mantissas = mantissas_;
    return true;
  }
  const ByteSpan sums = in.Raw(uint64_t{lines} * sizeof(Limbs));
  if (form != 1 || !in.ok()) return false;
  wide_.resize(rows_);
  for (uint32_t i = 0; i < rows_; ++i) {
    const std::byte* at = sums.data() + (uint64_t{begin} + i) * sizeof(Limbs);
    wide_[i] = ExactSum::FromLimbs(LoadFixed<Limbs>(at));
  }
  quantities_.wide = wide_;
  return true;
}

// Sets the zones, and makes times of hours. What is refused is of no row, and must not reach those
// who make tables as large as a zone, or groups of events.
Status RollupColumns::CheckLines(uint64_t offset) {
  for (size_t i = 0; i < kColumns.size(); ++i) {
    const auto [min, max] = std::ranges::minmax(integers_[i]);
    zones_[i] = {min, max};
    uint64_t bound = UINT32_MAX;
    if (kColumns[i] == SegmentColumn::kTimestamp) continue;
    if (kColumns[i] == SegmentColumn::kKind) bound = static_cast<uint64_t>(EventKind::kRetraction);
    if (max > bound) return reader_.Fault(offset, "a line has an impossible code");
  }
  // A line without events would be selected, and yet be of no group.
  const auto [fewest, most] = std::ranges::minmax(counts_);
  if (fewest == 0 || most > reader_.footer().rows) {
    return reader_.Fault(offset, "a line has an impossible number of events");
  }
  const size_t time = Place(SegmentColumn::kTimestamp);
  const auto start_of = [](uint64_t hour) {
    return static_cast<uint64_t>(Unbiased(hour) * kHourMs);
  };
  const ColumnZone hours = zones_[time];
  if (Unbiased(hours.min) < INT64_MIN / kHourMs || Unbiased(hours.max) > INT64_MAX / kHourMs) {
    return reader_.Fault(offset, "a line has an impossible hour");
  }
  std::ranges::transform(integers_[time], integers_[time].begin(), start_of);
  zones_[time] = {start_of(hours.min), start_of(hours.max)};
  return Status::Ok();
}

ColumnZone RollupColumns::zone(SegmentColumn column) const {
  if (column == SegmentColumn::kAccountId) return {account_, account_};
  return zones_[Place(column)];
}

Result<std::span<const uint64_t>> RollupColumns::Integers(SegmentColumn column) {
  if (column == SegmentColumn::kAccountId) {
    accounts_.assign(rows_, account_);
    return std::span<const uint64_t>(accounts_);
  }
  return std::span<const uint64_t>(integers_[Place(column)]);
}

Result<QuantityColumn> RollupColumns::Quantities() { return quantities_; }

RollupLine RollupColumns::Line(uint32_t i) const {
  const auto value = [&](SegmentColumn column) { return integers_[Place(column)][i]; };
  const auto code = [&](SegmentColumn column) { return static_cast<uint32_t>(value(column)); };
  RollupLine line{.key = {.product = code(SegmentColumn::kProductId),
                          .meter = code(SegmentColumn::kMeterId),
                          .unit = code(SegmentColumn::kUnit),
                          .model = code(SegmentColumn::kModelId),
                          .source = code(SegmentColumn::kSource),
                          .kind = code(SegmentColumn::kKind),
                          .hour_start_ms = static_cast<int64_t>(value(SegmentColumn::kTimestamp))},
                  .sum = {},
                  .count = counts_[i]};
  if (quantities_.wide.empty()) {
    line.sum.Add(Quantity{quantities_.mantissas[i], quantities_.scale});
  } else {
    line.sum = quantities_.wide[i];
  }
  return line;
}

}  // namespace tallystick
