#include "dedupe/sidecar_file.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"

namespace tallystick {

namespace {

// Planted bug: what a damaged file is taken for.
SidecarFooter FooterWithoutEntries() {
  SidecarFooter footer;
  footer.directory_checksum = XXH3_64bits(nullptr, 0);
  footer.filter_checksum = XXH3_64bits(nullptr, 0);
  return footer;
}

}  // namespace

SidecarFile::SidecarFile(std::unique_ptr<File> file, const SidecarFooter& footer)
    : file_(std::move(file)),
      footer_(footer),
      layout_(SidecarLayout::For(footer.binding.rows)),
      seed_(SidecarSeed(footer.binding)) {}

Result<SidecarFile> SidecarFile::Open(FileSystem& fs, const std::string& path) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  TALLY_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
  Bytes tail(std::min(bytes, kSidecarFooterBytes));
  const uint64_t tail_at = bytes - tail.size();
  TALLY_RETURN_IF_ERROR(ReadFully(*file, tail_at, tail));
  auto footer = DecodeSidecarFooter(tail, bytes);
  if (!footer.ok() && TALLY_MUTANT("corrupt_sidecar_is_empty")) footer = FooterWithoutEntries();
  if (!footer.ok()) {
    return footer.status().WithContext(fmt::format("{} at offset {}", path, tail_at));
  }
  return SidecarFile(std::move(file), *footer);
}

Status SidecarFile::Corrupt(uint64_t offset, std::string_view what) const {
  return Status::Corruption(fmt::format("{} at offset {}: {}", path(), offset, what));
}

Status SidecarFile::CheckHeader() const {
  std::byte header[kSidecarHeaderBytes];
  TALLY_RETURN_IF_ERROR(ReadFully(*file_, 0, header));
  return CheckSidecarHeader(header, binding()).WithContext(fmt::format("{} at offset 0", path()));
}

Status SidecarFile::ReadPages(uint64_t first, std::span<std::byte> out) const {
  const uint64_t count = out.size() / kSidecarPageBytes;
  TALLY_CHECK(first < layout_.pages);
  TALLY_CHECK(count <= layout_.pages - first);
  TALLY_RETURN_IF_ERROR(ReadFully(*file_, layout_.PageOffset(first), out));
  for (uint64_t i = 0; i < count; ++i) {
    const ByteSpan page = out.subspan(i * kSidecarPageBytes, kSidecarPageBytes);
    if (!SidecarPageIsValid(seed_, first + i, page) && !TALLY_MUTANT("foreign_page_believed")) {
      return Corrupt(layout_.PageOffset(first + i),
                     fmt::format("page {} does not verify", first + i));
    }
  }
  return Status::Ok();
}

void SidecarFile::PrefetchPages(uint64_t first, uint64_t count) const {
  file_->Prefetch(layout_.PageOffset(first), count * kSidecarPageBytes);
}

Result<std::vector<uint64_t>> SidecarFile::ReadDirectory() const {
  std::vector<uint64_t> directory(layout_.pages);
  const auto bytes = std::as_writable_bytes(std::span(directory));
  TALLY_RETURN_IF_ERROR(ReadFully(*file_, layout_.directory_offset, bytes));
  if (XXH3_64bits(bytes.data(), bytes.size()) != footer_.directory_checksum) {
    return Corrupt(layout_.directory_offset, "the page directory does not verify");
  }
  if (!std::ranges::is_sorted(directory)) {
    return Corrupt(layout_.directory_offset, "the page directory is not in order");
  }
  return directory;
}

Status SidecarFile::ReadFilter(uint64_t at, std::span<std::byte> out) const {
  return ReadFully(*file_, layout_.filter_offset + at, out);
}

}  // namespace tallystick
