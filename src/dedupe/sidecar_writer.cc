// Invariants:
//  1. The file is created only for entries that are right: as many as rows, keys distinct, every
//     row number once.
//  2. The footer is written last: what a crash or an error leaves behind does not open.
#include "dedupe/sidecar_writer.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "base/coding.h"
#include "base/mutant.h"
#include "base/result.h"
#include "dedupe/sidecar_filter.h"
#include "dedupe/sidecar_format.h"

namespace tallystick {
namespace {

constexpr size_t kWriteBytes = 256 << 10;

// Collects what is appended and writes it in large pieces.
class Output {
 public:
  Output(File& file, IoGovernor* governor) : file_(file), governor_(governor) {
    buffer_.reserve(kWriteBytes + kBlockBytes);
  }

  Bytes& buffer() { return buffer_; }
  Status FlushIfFull() { return buffer_.size() < kWriteBytes ? Status::Ok() : Flush(); }
  Status Flush() {
    TALLY_RETURN_IF_ERROR(Write(buffer_));
    buffer_.clear();
    return Status::Ok();
  }
  // REQUIRES: nothing is left in the buffer.
  Status Write(ByteSpan data) {
    TALLY_RETURN_IF_ERROR(WriteGoverned(file_, offset_, data, governor_));
    offset_ += data.size();
    return Status::Ok();
  }

 private:
  File& file_;
  IoGovernor* governor_;
  uint64_t offset_ = 0;
  Bytes buffer_;
};

Status SortEntries(const std::string& path, const SidecarBinding& binding,
                   std::vector<SidecarEntry>& entries) {
  const auto refuse = [&](std::string_view why) {
    return Status::Corruption(fmt::format("{} is not written: {}", path, why));
  };
  if (entries.empty() || entries.size() != binding.rows || binding.rows > kSidecarRowsMax) {
    return refuse(fmt::format("{} entries for {} rows", entries.size(), binding.rows));
  }
  std::vector<bool> seen(entries.size());
  for (const SidecarEntry& entry : entries) {
    if (entry.row >= entries.size()) {
      return refuse(fmt::format("row {} is beyond the {} rows", entry.row, binding.rows));
    }
    if (seen[entry.row]) return refuse(fmt::format("row {} has two entries", entry.row));
    seen[entry.row] = true;
  }
  std::ranges::sort(entries, {},
                    [](const SidecarEntry& entry) { return KeyHalves::Of(entry.key); });
  const auto twice = std::ranges::adjacent_find(entries, {}, &SidecarEntry::key);
  if (twice != entries.end()) {
    return refuse(fmt::format("rows {} and {} have the same key", twice->row, (twice + 1)->row));
  }
  return Status::Ok();
}

std::vector<FilterBlock> BuildFilter(std::span<const SidecarEntry> entries) {
  std::vector<FilterBlock> filter(FilterBlocksFor(entries.size()));
  const size_t left_out = TALLY_MUTANT("filter_key_missing") ? entries.size() / 2 : entries.size();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i == left_out) continue;
    const EventHash& key = entries[i].key;
    AddToBlock(key, &filter[FilterBlockOf(KeyHalves::Of(key), filter.size())]);
  }
  return filter;
}

Status WritePages(const SidecarBinding& binding, std::span<const SidecarEntry> entries,
                  Output& output) {
  const uint64_t seed = SidecarSeed(binding);
  for (uint64_t page = 0; !entries.empty(); ++page) {
    const auto of_page = entries.first(std::min(entries.size(), kSidecarEntriesPerPage));
    Bytes& out = output.buffer();
    const size_t begin = out.size();
    out.resize(begin + kSidecarPageBytes);
    std::byte* at = out.data() + begin + sizeof(uint64_t);
    for (const SidecarEntry& entry : of_page) {
      StoreSidecarEntry(entry, at);
      at += kSidecarEntryBytes;
    }
    SealSidecarPage(seed, page, std::span(out).subspan(begin, kSidecarPageBytes));
    TALLY_RETURN_IF_ERROR(output.FlushIfFull());
    entries = entries.subspan(of_page.size());
  }
  return output.Flush();
}

}  // namespace

Status WriteSidecar(FileSystem& fs, const std::string& path, const SidecarBinding& binding,
                    std::vector<SidecarEntry> entries, IoGovernor* governor) {
  TALLY_RETURN_IF_ERROR(SortEntries(path, binding, entries));
  TALLY_ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kCreateNew));
  Output output(*file, governor);
  AppendSidecarHeader(binding, output.buffer());
  TALLY_RETURN_IF_ERROR(WritePages(binding, entries, output));

  Bytes directory;
  for (size_t i = 0; i < entries.size(); i += kSidecarEntriesPerPage) {
    PutFixed(directory, KeyHalves::Of(entries[i].key).leading);
  }
  const std::vector<FilterBlock> filter = BuildFilter(entries);
  const ByteSpan filter_bytes = std::as_bytes(std::span(filter));
  TALLY_RETURN_IF_ERROR(output.Write(directory));
  TALLY_RETURN_IF_ERROR(output.Write(filter_bytes));

  SidecarFooter footer;
  footer.binding = binding;
  footer.directory_checksum = XXH3_64bits(directory.data(), directory.size());
  footer.filter_checksum = XXH3_64bits(filter_bytes.data(), filter_bytes.size());
  AppendSidecarFooter(footer, output.buffer());
  TALLY_RETURN_IF_ERROR(output.Flush());
  return file->Sync();
}

}  // namespace tallystick
