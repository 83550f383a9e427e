#include "dedupe/sidecar_format.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/result.h"
#include "dedupe/sidecar_filter.h"

namespace tallystick {
namespace {

constexpr size_t kHeaderChecksumAt = kSidecarHeaderBytes - sizeof(uint64_t);
constexpr size_t kFooterChecksumAt = kSidecarFooterBytes - sizeof(uint64_t);

uint64_t PageChecksum(uint64_t seed, uint64_t page_number, ByteSpan page) {
  return XXH3_64bits_withSeed(page.data() + sizeof(uint64_t), page.size() - sizeof(uint64_t),
                              seed + page_number);
}

// Magic, version and whose file it is: what header and footer have in common.
void AppendIdentity(const SidecarBinding& binding, Bytes& out) {
  for (const char c : kSidecarMagic) PutFixed(out, c);
  PutFixed<uint32_t>(out, kSidecarFormatVersion);
  PutFixed<uint32_t>(out, 0);
  PutFixed(out, binding.database_id.bytes);
  PutFixed<uint64_t>(out, binding.number.value);
}

Status Differs(std::string_view field, uint64_t found, uint64_t expected) {
  return Status::Corruption(
      fmt::format("the footer's {} is {}, expected {}", field, found, expected));
}

}  // namespace

SidecarLayout SidecarLayout::For(uint64_t rows) {
  TALLY_CHECK(rows <= kSidecarRowsMax);
  SidecarLayout layout;
  layout.rows = rows;
  layout.pages = (rows + kSidecarEntriesPerPage - 1) / kSidecarEntriesPerPage;
  layout.directory_offset = layout.PageOffset(layout.pages);
  layout.directory_bytes = layout.pages * sizeof(uint64_t);
  layout.filter_offset = layout.directory_offset + layout.directory_bytes;
  layout.filter_bytes = FilterBlocksFor(rows) * sizeof(FilterBlock);
  layout.file_bytes = layout.filter_offset + layout.filter_bytes + kSidecarFooterBytes;
  return layout;
}

void AppendSidecarHeader(const SidecarBinding& binding, Bytes& out) {
  const size_t begin = out.size();
  AppendIdentity(binding, out);
  out.resize(begin + kHeaderChecksumAt);
  PutFixed<uint64_t>(out, XXH3_64bits(out.data() + begin, kHeaderChecksumAt));
}

Status CheckSidecarHeader(ByteSpan header, const SidecarBinding& binding) {
  Bytes right;
  AppendSidecarHeader(binding, right);
  if (!std::ranges::equal(header, right)) {
    return Status::Corruption("the header is not that of this sidecar");
  }
  return Status::Ok();
}

void AppendSidecarFooter(const SidecarFooter& footer, Bytes& out) {
  const size_t begin = out.size();
  const SidecarBinding& binding = footer.binding;
  const SidecarLayout layout = SidecarLayout::For(binding.rows);
  AppendIdentity(binding, out);
  for (const uint64_t value :
       {binding.first_lsn.value, binding.last_lsn.value, binding.rows, binding.footer_checksum,
        layout.directory_offset, layout.directory_bytes, footer.directory_checksum,
        layout.filter_offset, layout.filter_bytes, footer.filter_checksum}) {
    PutFixed<uint64_t>(out, value);
  }
  TALLY_CHECK(out.size() - begin == kFooterChecksumAt);
  PutFixed<uint64_t>(out, XXH3_64bits(out.data() + begin, kFooterChecksumAt));
}

Result<SidecarFooter> DecodeSidecarFooter(ByteSpan tail, uint64_t file_bytes) {
  if (tail.size() != kSidecarFooterBytes) {
    return Status::Corruption("the file is shorter than a footer");
  }
  if (std::memcmp(tail.data(), kSidecarMagic, sizeof kSidecarMagic) != 0) {
    return Status::Corruption("the footer's magic is not that of a sidecar");
  }
  Decoder decoder(tail.subspan(sizeof kSidecarMagic));
  if (const auto version = decoder.Fixed<uint32_t>(); version != kSidecarFormatVersion) {
    return Status::Corruption(fmt::format("unknown sidecar format version {}", version));
  }
  if (LoadFixed<uint64_t>(tail.data() + kFooterChecksumAt) !=
      XXH3_64bits(tail.data(), kFooterChecksumAt)) {
    return Status::Corruption("the footer's checksum does not match");
  }
  SidecarFooter footer;
  SidecarBinding& binding = footer.binding;
  const auto zero = decoder.Fixed<uint32_t>();
  binding.database_id.bytes = decoder.Fixed<std::array<uint8_t, 16>>();
  SidecarLayout said;
  for (uint64_t* value : {&binding.number.value, &binding.first_lsn.value, &binding.last_lsn.value,
                          &binding.rows, &binding.footer_checksum, &said.directory_offset,
                          &said.directory_bytes, &footer.directory_checksum, &said.filter_offset,
                          &said.filter_bytes, &footer.filter_checksum}) {
    *value = decoder.Fixed<uint64_t>();
  }
  if (zero != 0 || binding.rows == 0 || binding.rows > kSidecarRowsMax) {
    return Status::Corruption("the footer contradicts itself");
  }
  const SidecarLayout layout = SidecarLayout::For(binding.rows);
  if (said.directory_offset != layout.directory_offset ||
      said.directory_bytes != layout.directory_bytes ||
      said.filter_offset != layout.filter_offset || said.filter_bytes != layout.filter_bytes) {
    return Status::Corruption("the footer contradicts itself");
  }
  if (file_bytes != layout.file_bytes) {
    return Status::Corruption(
        fmt::format("the file has {} bytes, expected {}", file_bytes, layout.file_bytes));
  }
  return footer;
}

Status CompareBinding(const SidecarBinding& found, const SidecarBinding& expected) {
  if (found.database_id != expected.database_id) {
    return Status::Corruption(fmt::format("the footer's database id is {}, expected {}",
                                          found.database_id.ToHex(), expected.database_id.ToHex()));
  }
  if (found.number != expected.number) {
    return Differs("number", found.number.value, expected.number.value);
  }
  if (found.first_lsn != expected.first_lsn) {
    return Differs("first LSN", found.first_lsn.value, expected.first_lsn.value);
  }
  if (found.last_lsn != expected.last_lsn) {
    return Differs("last LSN", found.last_lsn.value, expected.last_lsn.value);
  }
  if (found.rows != expected.rows) {
    return Differs("number of rows", found.rows, expected.rows);
  }
  if (found.footer_checksum != expected.footer_checksum) {
    return Differs("checksum of the segment's footer", found.footer_checksum,
                   expected.footer_checksum);
  }
  return Status::Ok();
}

uint64_t SidecarSeed(const SidecarBinding& binding) {
  std::byte identity[24];
  StoreFixed(identity, binding.database_id.bytes);
  StoreFixed(identity + 16, binding.number.value);
  return XXH3_64bits(identity, sizeof identity);
}

void SealSidecarPage(uint64_t seed, uint64_t page_number, std::span<std::byte> page) {
  StoreFixed(page.data(), PageChecksum(seed, page_number, page));
}

bool SidecarPageIsValid(uint64_t seed, uint64_t page_number, ByteSpan page) {
  return LoadFixed<uint64_t>(page.data()) == PageChecksum(seed, page_number, page);
}

}  // namespace tallystick
