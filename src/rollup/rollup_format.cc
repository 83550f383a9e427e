#include "rollup/rollup_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/number_name.h"
#include "segment/chunk.h"

namespace tallystick {
namespace {

uint64_t Checksum(ByteSpan bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

void PutMagic(Bytes& out) {
  const auto* magic = reinterpret_cast<const std::byte*>(kRollupMagic);
  out.insert(out.end(), magic, magic + sizeof kRollupMagic);
  PutFixed<uint32_t>(out, kRollupFormatVersion);
  PutFixed<uint32_t>(out, 0);
}

Status CheckMagic(Decoder& in) {
  if (AsText(in.Raw(sizeof kRollupMagic)) != std::string_view(kRollupMagic, sizeof kRollupMagic)) {
    return Status::Corruption("it has not the magic of a rollup");
  }
  if (const auto version = in.Fixed<uint32_t>(); version != kRollupFormatVersion) {
    return Status::Corruption("rollup format " + std::to_string(version) + ", this program knows " +
                              std::to_string(kRollupFormatVersion));
  }
  if (in.Fixed<uint32_t>() != 0) return Status::Corruption("bytes that are unused are not zero");
  return Status::Ok();
}

constexpr std::array<int64_t, 13> kPowersOfTen = [] {
  std::array<int64_t, 13> powers{1};
  for (size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();

// The sum's value at scale 12 in 128 bits; none if it is wider.
std::optional<int128> Narrow(const ExactSum& sum) {
  const auto& limbs = sum.limbs();
  const auto value = static_cast<int128>(uint128{limbs[1]} << 64 | limbs[0]);
  const uint64_t sign = value < 0 ? ~uint64_t{0} : 0;
  if (limbs[2] != sign || limbs[3] != sign) return std::nullopt;
  return value;
}

// The smallest scale at which all sums are 64-bit integers; none if there is none.
std::optional<uint8_t> CommonScale(std::span<const RollupLine> lines) {
  uint8_t scale = 0;
  for (const RollupLine& line : lines) {
    const auto value = Narrow(line.sum);
    if (!value.has_value()) return std::nullopt;
    while (*value % kPowersOfTen[Quantity::kScaleMax - scale] != 0) ++scale;
  }
  for (const RollupLine& line : lines) {
    const int128 mantissa = *Narrow(line.sum) / kPowersOfTen[Quantity::kScaleMax - scale];
    if (mantissa != static_cast<int64_t>(mantissa)) return std::nullopt;
  }
  return scale;
}

}  // namespace

void AppendRollupHeader(const DatabaseId& database_id, FileNumber number, Bytes& out) {
  const size_t begin = out.size();
  PutMagic(out);
  PutFixed(out, database_id);
  PutFixed<uint64_t>(out, number.value);
  out.resize(begin + kRollupHeaderBytes - 8);
  PutFixed<uint64_t>(out, Checksum(ByteSpan(out).subspan(begin)));
}

Status CheckRollupHeader(ByteSpan header, const DatabaseId& database_id, FileNumber number) {
  Bytes expected;
  AppendRollupHeader(database_id, number, expected);
  return std::ranges::equal(header, expected)
             ? Status::Ok()
             : Status::Corruption("the header is not that of this rollup");
}

void AppendRollupFooter(const RollupFooter& footer, Bytes& out) {
  const size_t begin = out.size();
  PutMagic(out);
  PutFixed(out, footer.database_id);
  for (const uint64_t value :
       {footer.number.value, footer.first_lsn.value, footer.last_lsn.value, footer.rows,
        footer.segment_checksum, footer.lines, footer.entries, footer.index.offset}) {
    PutFixed<uint64_t>(out, value);
  }
  PutFixed<uint32_t>(out, footer.index.bytes);
  PutFixed<uint32_t>(out, footer.rows_per_line_min);
  PutFixed<uint64_t>(out, Checksum(ByteSpan(out).subspan(begin)));
}

Result<RollupFooter> DecodeRollupFooter(ByteSpan bytes, uint64_t file_bytes) {
  if (bytes.size() != kRollupFooterBytes || file_bytes < kRollupHeaderBytes + bytes.size()) {
    return Status::Corruption("the file is too short for a rollup");
  }
  Decoder in(bytes);
  if (Status status = CheckMagic(in); !status.ok()) return status;
  RollupFooter footer;
  footer.database_id = in.Fixed<DatabaseId>();
  footer.number = {in.Fixed<uint64_t>()};
  footer.first_lsn = {in.Fixed<uint64_t>()};
  footer.last_lsn = {in.Fixed<uint64_t>()};
  footer.rows = in.Fixed<uint64_t>();
  footer.segment_checksum = in.Fixed<uint64_t>();
  footer.lines = in.Fixed<uint64_t>();
  footer.entries = in.Fixed<uint64_t>();
  footer.index.offset = in.Fixed<uint64_t>();
  footer.index.bytes = in.Fixed<uint32_t>();
  footer.rows_per_line_min = in.Fixed<uint32_t>();
  const size_t checked = in.position();
  footer.checksum = in.Fixed<uint64_t>();
  if (footer.checksum != Checksum(bytes.first(checked))) {
    return Status::Corruption("the footer's checksum does not match");
  }
  const uint64_t footer_at = file_bytes - bytes.size();
  if (footer.index.bytes < kBlockTrailerBytes || footer.index.offset < kRollupHeaderBytes ||
      footer.index.offset > footer_at || footer.index.bytes != footer_at - footer.index.offset) {
    return Status::Corruption("the footer contradicts the file's size");
  }
  // An account has a row at least, and no more lines than rows; so have all accounts together.
  if (footer.rows_per_line_min == 0 || footer.rows > UINT32_MAX || footer.entries == 0 ||
      footer.entries >= UINT32_MAX || footer.entries > footer.rows + 1 ||
      footer.lines > 2 * footer.rows) {
    return Status::Corruption("the footer contradicts itself");
  }
  return footer;
}

void AppendLines(std::span<const RollupLine> lines, Bytes& out) {
  std::vector<uint64_t> values(lines.size());
  const auto append = [&](auto&& value_of) {
    for (size_t i = 0; i < lines.size(); ++i) values[i] = value_of(lines[i]);
    AppendIntChunk(values, out);
  };
  append([](const RollupLine& line) { return line.key.product; });
  append([](const RollupLine& line) { return line.key.meter; });
  append([](const RollupLine& line) { return line.key.unit; });
  append([](const RollupLine& line) { return line.key.model; });
  append([](const RollupLine& line) { return line.key.source; });
  append([](const RollupLine& line) { return line.key.kind; });
  append([](const RollupLine& line) { return Biased(line.key.hour_start_ms / kHourMs); });
  append([](const RollupLine& line) { return line.count; });
  const std::optional<uint8_t> scale = CommonScale(lines);
  PutFixed<uint8_t>(out, scale.has_value() ? 0 : 1);
  if (scale.has_value()) {
    PutFixed<uint8_t>(out, *scale);
    append([&](const RollupLine& line) {
      return Biased(
          static_cast<int64_t>(*Narrow(line.sum) / kPowersOfTen[Quantity::kScaleMax - *scale]));
    });
    return;
  }
  for (const RollupLine& line : lines) PutFixed(out, line.sum.limbs());
}

std::string RollupFileName(FileNumber number) { return NumberName(number.value) + ".sum"; }

}  // namespace tallystick
