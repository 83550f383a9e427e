#include "segment/segment_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/result.h"

namespace tallystick {
namespace {

constexpr size_t kHeaderChecksumAt = kSegmentHeaderBytes - sizeof(uint64_t);

void AppendRaw(const void* data, size_t bytes, Bytes& out) {
  const auto* from = static_cast<const std::byte*>(data);
  out.insert(out.end(), from, from + bytes);
}

void AppendRef(const BlockRef& ref, Bytes& out) {
  PutFixed<uint64_t>(out, ref.offset);
  PutFixed<uint32_t>(out, ref.bytes);
}

BlockRef DecodeRef(Decoder& decoder) {
  BlockRef ref;
  ref.offset = decoder.Fixed<uint64_t>();
  ref.bytes = decoder.Fixed<uint32_t>();
  return ref;
}

uint64_t BlockChecksum(uint64_t seed, uint64_t offset, ByteSpan covered) {
  return XXH3_64bits_withSeed(covered.data(), covered.size(), seed + offset);
}

Result<Bytes> Unpack(ByteSpan packed) {
  const unsigned long long bytes = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (bytes > kBlockPayloadBytesMax || bytes > packed.size() * kZstdRatioMax) {
    return Status::Corruption("the block's unpacked size is not believable");
  }
  Bytes payload(bytes);
  const size_t got = ZSTD_decompress(payload.data(), payload.size(), packed.data(), packed.size());
  if (ZSTD_isError(got) || got != bytes) {
    return Status::Corruption("the block does not unpack");
  }
  return payload;
}

}  // namespace

uint64_t SegmentSeed(const DatabaseId& database_id, FileNumber number) {
  std::byte identity[24];
  std::memcpy(identity, database_id.bytes.data(), 16);
  StoreFixed(identity + 16, number.value);
  return XXH3_64bits(identity, sizeof identity);
}

uint64_t SealBlock(uint64_t seed, uint64_t offset, BlockCodec codec, size_t begin, Bytes& out) {
  PutFixed<uint8_t>(out, static_cast<uint8_t>(codec));
  const uint64_t checksum = BlockChecksum(seed, offset, ByteSpan(out).subspan(begin));
  PutFixed<uint64_t>(out, checksum);
  return checksum;
}

uint64_t StoredBlockChecksum(ByteSpan block) {
  return LoadFixed<uint64_t>(block.data() + block.size() - sizeof(uint64_t));
}

Result<Bytes> OpenBlock(uint64_t seed, uint64_t offset, Bytes block) {
  if (block.size() < kBlockTrailerBytes) return Status::Corruption("the block is too short");
  const size_t payload_bytes = block.size() - kBlockTrailerBytes;
  if (BlockChecksum(seed, offset, ByteSpan(block).first(payload_bytes + 1)) !=
      StoredBlockChecksum(block)) {
    return Status::Corruption("the block's checksum does not match");
  }
  const auto codec = std::to_integer<uint8_t>(block[payload_bytes]);
  if (codec == static_cast<uint8_t>(BlockCodec::kZstd)) {
    return Unpack(ByteSpan(block).first(payload_bytes));
  }
  if (codec != static_cast<uint8_t>(BlockCodec::kRaw)) {
    return Status::Corruption("the block has the unknown codec " + std::to_string(codec));
  }
  block.resize(payload_bytes);
  return block;
}

uint64_t ChainChecksum(uint64_t chain, uint64_t checksum) {
  return XXH3_64bits_withSeed(&checksum, sizeof checksum, chain);
}

BlockRef GroupEntry::Block(SegmentColumn column) const {
  BlockRef ref{offset, at(column).block_bytes};
  for (size_t i = 0; i < ColumnIndex(column); ++i) ref.offset += columns[i].block_bytes;
  return ref;
}

uint64_t GroupEntry::block_bytes() const {
  uint64_t bytes = 0;
  for (const ColumnEntry& column : columns) bytes += column.block_bytes;
  return bytes;
}

void AppendGroupEntry(const GroupEntry& entry, Bytes& out) {
  PutFixed<uint64_t>(out, entry.offset);
  PutFixed<uint32_t>(out, entry.quarantined);
  for (const ColumnEntry& column : entry.columns) {
    PutFixed<uint64_t>(out, column.min);
    PutFixed<uint64_t>(out, column.max);
    PutFixed<uint32_t>(out, column.block_bytes);
  }
}

GroupEntry DecodeGroupEntry(ByteSpan bytes) {
  TALLY_CHECK(bytes.size() == kGroupEntryBytes);
  Decoder decoder(bytes);
  GroupEntry entry;
  entry.offset = decoder.Fixed<uint64_t>();
  entry.quarantined = decoder.Fixed<uint32_t>();
  for (ColumnEntry& column : entry.columns) {
    column.min = decoder.Fixed<uint64_t>();
    column.max = decoder.Fixed<uint64_t>();
    column.block_bytes = decoder.Fixed<uint32_t>();
  }
  return entry;
}

void AppendSegmentHeader(const DatabaseId& database_id, FileNumber number, Bytes& out) {
  const size_t begin = out.size();
  AppendRaw(kSegmentMagic, sizeof kSegmentMagic, out);
  PutFixed<uint32_t>(out, kSegmentFormatVersion);
  PutFixed<uint32_t>(out, 0);
  AppendRaw(database_id.bytes.data(), database_id.bytes.size(), out);
  PutFixed<uint64_t>(out, number.value);
  out.resize(begin + kHeaderChecksumAt);
  PutFixed<uint64_t>(out, XXH3_64bits(out.data() + begin, kHeaderChecksumAt));
}

Status CheckSegmentHeader(ByteSpan header, const DatabaseId& database_id, FileNumber number) {
  // There is exactly one right header for a file.
  Bytes right;
  AppendSegmentHeader(database_id, number, right);
  if (!std::ranges::equal(header, right)) {
    return Status::Corruption("the header is not that of this segment");
  }
  return Status::Ok();
}

BlockRef SegmentFooter::DirectoryPage(uint64_t page) const {
  const uint64_t left = group_count() - page * kGroupsPerPage;
  const uint64_t entries = std::min<uint64_t>(left, kGroupsPerPage);
  return {directory_offset + page * kDirectoryPageBytes,
          static_cast<uint32_t>(entries * kGroupEntryBytes + kBlockTrailerBytes)};
}

uint64_t SegmentFooter::directory_bytes() const {
  const uint64_t pages = (group_count() + kGroupsPerPage - 1) / kGroupsPerPage;
  return group_count() * kGroupEntryBytes + pages * kBlockTrailerBytes;
}

uint64_t FooterChecksum(ByteSpan footer) { return XXH3_64bits(footer.data(), footer.size()); }

void AppendSegmentTail(SegmentFooter& footer, Bytes& out) {
  const size_t begin = out.size();
  const SegmentInfo& info = footer.info;
  AppendRaw(info.database_id.bytes.data(), info.database_id.bytes.size(), out);
  for (const uint64_t value : {info.number.value, info.bytes, info.first_lsn.value,
                               info.last_lsn.value, info.rows, info.quarantined}) {
    PutFixed<uint64_t>(out, value);
  }
  PutFixed<int64_t>(out, info.timestamp_min_ms);
  PutFixed<int64_t>(out, info.timestamp_max_ms);
  for (const uint64_t limb : footer.quantity.limbs()) PutFixed<uint64_t>(out, limb);
  PutFixed<uint64_t>(out, footer.content_checksum);
  PutFixed<uint64_t>(out, footer.directory_offset);
  PutFixed<uint32_t>(out, info.group_rows);
  PutFixed<uint8_t>(out, static_cast<uint8_t>(footer.scope));
  PutFixed<uint8_t>(out, footer.dimensions_by_key ? 1 : 0);
  PutFixed<uint16_t>(out, 0);
  for (const BlockRef& ref : footer.dictionaries) AppendRef(ref, out);
  for (const BlockRef& ref : {footer.account_index, footer.commit_times, footer.quarantined}) {
    AppendRef(ref, out);
  }
  TALLY_CHECK(out.size() - begin == kSegmentFooterBytes);
  footer.info.footer_checksum = FooterChecksum(ByteSpan(out).subspan(begin));
  PutFixed<uint64_t>(out, footer.info.footer_checksum);
  PutFixed<uint32_t>(out, kSegmentFooterBytes);
  PutFixed<uint32_t>(out, kSegmentFormatVersion);
  AppendRaw(kSegmentMagic, sizeof kSegmentMagic, out);
}

namespace {

// What a reader relies on: sizes that go together, and blocks inside of the file.
bool FooterIsSound(const SegmentFooter& footer, uint64_t file_bytes) {
  const SegmentInfo& info = footer.info;
  if (info.rows == 0 || info.rows > UINT32_MAX || info.group_rows == 0 ||
      info.group_rows > kSegmentGroupRowsMax || info.quarantined > info.rows ||
      info.first_lsn.value == 0 || info.last_lsn < info.first_lsn ||
      info.last_lsn.value - info.first_lsn.value != info.rows - 1 || info.bytes != file_bytes) {
    return false;
  }
  const uint64_t footer_at = file_bytes - kSegmentTailBytes;
  if (footer.directory_offset < kSegmentHeaderBytes || footer.directory_offset > footer_at ||
      footer.directory_bytes() != footer_at - footer.directory_offset) {
    return false;
  }
  const auto inside = [&](const BlockRef& ref) {
    return ref.offset >= kSegmentHeaderBytes && ref.offset <= footer.directory_offset &&
           ref.bytes >= kBlockTrailerBytes && ref.bytes <= footer.directory_offset - ref.offset;
  };
  for (size_t i = 0; i < kDictionaryCount; ++i) {
    const BlockRef& ref = footer.dictionaries[i];
    const bool absent = i == kDimensionDictionary && footer.dimensions_by_key;
    if (absent ? ref != BlockRef{} : !inside(ref)) return false;
  }
  return inside(footer.account_index) && inside(footer.commit_times) &&
         (info.quarantined == 0 ? footer.quarantined == BlockRef{} : inside(footer.quarantined));
}

}  // namespace

Result<SegmentFooter> DecodeSegmentTail(ByteSpan tail, uint64_t file_bytes) {
  if (tail.size() != kSegmentTailBytes || file_bytes < kSegmentHeaderBytes + kSegmentTailBytes) {
    return Status::Corruption("the file is shorter than its header and footer");
  }
  const std::byte* behind = tail.data() + kSegmentFooterBytes;
  if (std::memcmp(behind + 16, kSegmentMagic, sizeof kSegmentMagic) != 0) {
    return Status::Corruption("the magic at the end is not that of a segment");
  }
  if (const auto version = LoadFixed<uint32_t>(behind + 12); version != kSegmentFormatVersion) {
    return Status::Corruption("unknown segment format version " + std::to_string(version));
  }
  if (LoadFixed<uint32_t>(behind + 8) != kSegmentFooterBytes) {
    return Status::Corruption("the footer's length is wrong");
  }
  SegmentFooter footer;
  SegmentInfo& info = footer.info;
  info.footer_checksum = FooterChecksum(tail.first(kSegmentFooterBytes));
  if (info.footer_checksum != LoadFixed<uint64_t>(behind)) {
    return Status::Corruption("the footer's checksum does not match");
  }
  Decoder decoder(tail.first(kSegmentFooterBytes));
  std::memcpy(info.database_id.bytes.data(), decoder.Raw(16).data(), 16);
  for (uint64_t* value : {&info.number.value, &info.bytes, &info.first_lsn.value,
                          &info.last_lsn.value, &info.rows, &info.quarantined}) {
    *value = decoder.Fixed<uint64_t>();
  }
  info.timestamp_min_ms = decoder.Fixed<int64_t>();
  info.timestamp_max_ms = decoder.Fixed<int64_t>();
  std::array<uint64_t, 4> limbs;
  for (uint64_t& limb : limbs) limb = decoder.Fixed<uint64_t>();
  footer.quantity = ExactSum::FromLimbs(limbs);
  footer.content_checksum = decoder.Fixed<uint64_t>();
  footer.directory_offset = decoder.Fixed<uint64_t>();
  info.group_rows = decoder.Fixed<uint32_t>();
  const auto scope = decoder.Fixed<uint8_t>();
  footer.scope = static_cast<IdentityScope>(scope);
  const auto by_key = decoder.Fixed<uint8_t>();
  footer.dimensions_by_key = by_key != 0;
  const auto zero = decoder.Fixed<uint16_t>();
  for (BlockRef& ref : footer.dictionaries) ref = DecodeRef(decoder);
  for (BlockRef* ref : {&footer.account_index, &footer.commit_times, &footer.quarantined}) {
    *ref = DecodeRef(decoder);
  }
  if (!decoder.ok() || scope > static_cast<uint8_t>(IdentityScope::kAccount) || by_key > 1 ||
      zero != 0 || !FooterIsSound(footer, file_bytes)) {
    return Status::Corruption("the footer contradicts itself");
  }
  return footer;
}

}  // namespace tallystick
