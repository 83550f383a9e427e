#include "rollup/rollup_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/result.h"

namespace tallystick {

RollupReader::RollupReader(std::unique_ptr<File> file, uint64_t bytes, const RollupFooter& footer,
                           BlockCache& cache)
    : file_(std::move(file)),
      bytes_(bytes),
      footer_(footer),
      seed_(SegmentSeed(footer.database_id, RollupCacheNumber(footer.number))),
      cache_(cache) {}

Result<std::unique_ptr<RollupReader>> RollupReader::OpenAlone(FileSystem& fs,
                                                              const std::string& path,
                                                              BlockCache& cache) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  TALLY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size < kRollupFooterBytes) {
    return Status::Corruption(path + ": the file is too short for a rollup");
  }
  Bytes bytes(kRollupFooterBytes);
  const uint64_t footer_at = size - kRollupFooterBytes;
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
  if (footer.database_id != segment.database_id || footer.number != segment.number ||
      footer.first_lsn != segment.first_lsn || footer.last_lsn != segment.last_lsn ||
      footer.rows != segment.rows || footer.segment_checksum != segment.footer_checksum) {
    return reader->Fault(reader->bytes() - kRollupFooterBytes,
                         "it is the rollup of another segment, or of another state of it");
  }
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
  Index index;
  TALLY_ASSIGN_OR_RETURN(index.block,
                         cache_.Get(RollupCacheNumber(footer_.number), footer_.index.offset,
                                    [&] { return Read(footer_.index); }));
  Decoder in(*index.block);
  const auto starts = static_cast<uint32_t>(footer_.entries + 1);
  const auto offsets = static_cast<uint32_t>(footer_.blocks() + 1);
  if (!IntChunk::Parse(in, starts, &index.starts) ||
      !IntChunk::Parse(in, offsets, &index.offsets) || in.remaining() != 0 ||
      index.starts.Get(starts - 1) != footer_.lines ||
      index.offsets.Get(offsets - 1) != footer_.index.offset) {
    return Fault(footer_.index.offset, "the index does not decode");
  }
  return index;
}

Result<LineRange> RollupReader::LinesOf(uint64_t entry) const {
  TALLY_CHECK(entry < footer_.entries);
  TALLY_ASSIGN_OR_RETURN(const Index index, LoadIndex());
  const LineRange range{index.starts.Get(static_cast<uint32_t>(entry)),
                        index.starts.Get(static_cast<uint32_t>(entry + 1))};
  if (range.begin > range.end || range.end > footer_.lines) {
    return Fault(footer_.index.offset, "the index contradicts itself");
  }
  return range;
}

Result<uint64_t> RollupReader::OffsetOf(uint64_t block) const {
  TALLY_ASSIGN_OR_RETURN(const Index index, LoadIndex());
  return index.offsets.Get(static_cast<uint32_t>(block));
}

Result<BlockCache::Block> RollupReader::Block(uint64_t block) const {
  TALLY_CHECK(block < footer_.blocks());
  TALLY_ASSIGN_OR_RETURN(const Index index, LoadIndex());
  const uint64_t begin = index.offsets.Get(static_cast<uint32_t>(block));
  const uint64_t end = index.offsets.Get(static_cast<uint32_t>(block + 1));
  if (begin < kRollupHeaderBytes || begin >= end || end > footer_.index.offset ||
      end - begin > UINT32_MAX) {
    return Fault(footer_.index.offset, "the index contradicts itself");
  }
  const BlockRef ref{begin, static_cast<uint32_t>(end - begin)};
  return cache_.Get(RollupCacheNumber(footer_.number), begin, [&] { return Read(ref); });
}

size_t RollupColumns::Place(SegmentColumn column) {
  const auto at = std::ranges::find(kColumns, column);
  TALLY_CHECK(at != kColumns.end());
  return static_cast<size_t>(at - kColumns.begin());
}

Status RollupColumns::Enter(uint64_t block, uint32_t begin, uint32_t end) {
  const uint64_t left = reader_.footer().lines - block * kLinesPerBlock;
  const auto lines = static_cast<uint32_t>(std::min<uint64_t>(left, kLinesPerBlock));
  TALLY_CHECK(begin < end && end <= lines);
  TALLY_ASSIGN_OR_RETURN(const BlockCache::Block bytes, reader_.Block(block));
  TALLY_ASSIGN_OR_RETURN(const uint64_t offset, reader_.OffsetOf(block));
  rows_ = end - begin;
  Decoder in(*bytes);
  IntChunk chunk;
  const auto unpack = [&](std::vector<uint64_t>& values) {
    if (!IntChunk::Parse(in, lines, &chunk)) return false;
    values.resize(rows_);
    chunk.Unpack(begin, values);
    return true;
  };
  bool good = true;
  for (auto& values : integers_) good = good && unpack(values);
  good = good && unpack(counts_);
  const auto form = in.Fixed<uint8_t>();
  quantities_ = {};
  if (form == 0) {
    quantities_.scale = in.Fixed<uint8_t>();
    std::vector<uint64_t> biased;
    good = good && quantities_.scale <= Quantity::kScaleMax && unpack(biased);
    mantissas_.assign(rows_, 0);
    for (size_t i = 0; good && i < rows_; ++i) mantissas_[i] = Unbiased(biased[i]);
    const auto [min, max] = std::ranges::minmax(mantissas_);
    quantities_.mantissas = mantissas_;
    quantities_.min = min;
    quantities_.max = max;
  } else {
    const ByteSpan sums = in.Raw(uint64_t{lines} * sizeof(std::array<uint64_t, 4>));
    good = good && form == 1 && in.ok();
    wide_.clear();
    for (uint32_t i = begin; good && i < end; ++i) {
      wide_.push_back(ExactSum::FromLimbs(
          LoadFixed<std::array<uint64_t, 4>>(sums.data() + i * sizeof(std::array<uint64_t, 4>))));
    }
    quantities_.wide = wide_;
  }
  if (!good || !in.ok() || in.remaining() != 0) {
    rows_ = 0;
    return reader_.Fault(offset, "the block of lines does not decode");
  }
  // Hours to their start: what does not fit is of no row.
  for (uint64_t& hour : integers_[Place(SegmentColumn::kTimestamp)]) {
    int64_t start;
    if (__builtin_mul_overflow(Unbiased(hour), kHourMs, &start)) {
      rows_ = 0;
      return reader_.Fault(offset, "a line has an impossible hour");
    }
    hour = static_cast<uint64_t>(start);
  }
  for (size_t i = 0; i < kColumns.size(); ++i) {
    ColumnZone& zone = zones_[i];
    if (kColumns[i] == SegmentColumn::kTimestamp) {
      const auto less = [](uint64_t a, uint64_t b) {
        return static_cast<int64_t>(a) < static_cast<int64_t>(b);
      };
      const auto [min, max] = std::ranges::minmax(integers_[i], less);
      zone = {min, max};
    } else {
      const auto [min, max] = std::ranges::minmax(integers_[i]);
      zone = {min, max};
    }
  }
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

Result<Rollup> ReadRollup(const RollupReader& reader) {
  TALLY_RETURN_IF_ERROR(reader.CheckHeader());
  const RollupFooter& footer = reader.footer();
  Rollup rollup;
  rollup.starts.push_back(0);
  for (uint64_t entry = 0; entry < footer.entries; ++entry) {
    TALLY_ASSIGN_OR_RETURN(const LineRange range, reader.LinesOf(entry));
    if (range.begin != rollup.starts.back()) {
      return reader.Fault(footer.index.offset, "the entries do not follow one another");
    }
    rollup.starts.push_back(range.end);
  }
  RollupColumns columns(reader);
  for (uint64_t block = 0; block < footer.blocks(); ++block) {
    const uint64_t left = footer.lines - block * kLinesPerBlock;
    TALLY_RETURN_IF_ERROR(
        columns.Enter(block, 0, static_cast<uint32_t>(std::min<uint64_t>(left, kLinesPerBlock))));
    const auto code = [&](SegmentColumn column, uint32_t i) {
      return static_cast<uint32_t>((*columns.Integers(column))[i]);
    };
    TALLY_ASSIGN_OR_RETURN(const QuantityColumn sums, columns.Quantities());
    TALLY_ASSIGN_OR_RETURN(const auto counts, columns.Counts());
    TALLY_ASSIGN_OR_RETURN(const auto hours, columns.Integers(SegmentColumn::kTimestamp));
    for (uint32_t i = 0; i < columns.rows(); ++i) {
      RollupLine& line = rollup.lines.emplace_back();
      line.key = {.product = code(SegmentColumn::kProductId, i),
                  .meter = code(SegmentColumn::kMeterId, i),
                  .unit = code(SegmentColumn::kUnit, i),
                  .model = code(SegmentColumn::kModelId, i),
                  .source = code(SegmentColumn::kSource, i),
                  .kind = code(SegmentColumn::kKind, i),
                  .hour_start_ms = static_cast<int64_t>(hours[i])};
      if (sums.wide.empty()) {
        line.sum.Add(Quantity{sums.mantissas[i], sums.scale});
      } else {
        line.sum = sums.wide[i];
      }
      line.count = counts[i];
    }
  }
  return rollup;
}

Status CheckRollup(const RollupReader& reader, const Rollup& rollup) {
  TALLY_ASSIGN_OR_RETURN(const Rollup stored, ReadRollup(reader));
  if (stored.starts != rollup.starts) {
    return Status::Corruption(reader.path() +
                              ": its lines are not of the accounts that the rows "
                              "give");
  }
  if (stored.lines.size() != rollup.lines.size()) {
    return Status::Corruption(fmt::format("{}: {} lines, the rows give {}", reader.path(),
                                          stored.lines.size(), rollup.lines.size()));
  }
  for (size_t i = 0; i < stored.lines.size(); ++i) {
    if (stored.lines[i] == rollup.lines[i]) continue;
    return Status::Corruption(
        fmt::format("{}: line {} says {} in {} events, the rows give {} in {}", reader.path(), i,
                    stored.lines[i].sum.ToString(), stored.lines[i].count,
                    rollup.lines[i].sum.ToString(), rollup.lines[i].count));
  }
  return Status::Ok();
}

}  // namespace tallystick
