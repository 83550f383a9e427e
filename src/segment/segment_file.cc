#include "segment/segment_file.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/result.h"

namespace tallystick {

SegmentFile::SegmentFile(std::unique_ptr<File> file, const SegmentFooter& footer, BlockCache& cache)
    : file_(std::move(file)),
      footer_(footer),
      seed_(SegmentSeed(footer.info.database_id, footer.info.number)),
      cache_(cache) {}

Result<std::unique_ptr<SegmentFile>> SegmentFile::Open(FileSystem& fs, const std::string& path,
                                                       BlockCache& cache) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  TALLY_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
  Bytes tail(bytes < kSegmentTailBytes ? 0 : kSegmentTailBytes);
  const uint64_t tail_at = bytes - tail.size();
  TALLY_RETURN_IF_ERROR(ReadFully(*file, tail_at, tail));
  auto footer = DecodeSegmentTail(tail, bytes);
  if (!footer.ok()) {
    return footer.status().WithContext(path + " at offset " + std::to_string(tail_at));
  }
  return std::unique_ptr<SegmentFile>(new SegmentFile(std::move(file), *footer, cache));
}

Status SegmentFile::Fault(uint64_t offset, std::string_view what) const {
  return Status::Corruption(what).WithContext(path() + " at offset " + std::to_string(offset));
}

Result<Bytes> SegmentFile::ReadRaw(uint64_t offset, uint64_t bytes) const {
  Bytes raw(bytes);
  TALLY_RETURN_IF_ERROR(ReadFully(*file_, offset, raw));
  return raw;
}

Result<Bytes> SegmentFile::Open(uint64_t offset, Bytes raw) const {
  auto payload = OpenBlock(seed_, offset, std::move(raw));
  if (!payload.ok()) return Fault(offset, payload.status().message());
  return payload;
}

Result<Bytes> SegmentFile::Read(const BlockRef& ref) const {
  TALLY_ASSIGN_OR_RETURN(Bytes raw, ReadRaw(ref.offset, ref.bytes));
  return Open(ref.offset, std::move(raw));
}

Result<SegmentFile::Block> SegmentFile::Get(const BlockRef& ref) const {
  return cache_.Get(info().number, ref.offset, [&] { return Read(ref); });
}

Result<GroupEntry> SegmentFile::Group(uint32_t group) const {
  TALLY_CHECK(group < footer_.group_count());
  TALLY_ASSIGN_OR_RETURN(const Block page, Get(footer_.DirectoryPage(group / kGroupsPerPage)));
  return GroupOfPage(*page, group);
}

Result<GroupEntry> SegmentFile::GroupOfPage(ByteSpan page, uint32_t group) const {
  const uint64_t page_at = footer_.DirectoryPage(group / kGroupsPerPage).offset;
  const uint64_t at = group % kGroupsPerPage * kGroupEntryBytes;
  if (at > page.size() || page.size() - at < kGroupEntryBytes) {
    return Fault(page_at, "the page of the directory is too short");
  }
  const GroupEntry entry = DecodeGroupEntry(page.subspan(at, kGroupEntryBytes));
  if (entry.offset < kSegmentHeaderBytes || entry.offset > footer_.directory_offset ||
      entry.block_bytes() > footer_.directory_offset - entry.offset) {
    return Fault(page_at, "a row group's blocks reach out of their place");
  }
  // Whoever reads relies on zones as on ranges, also of tables.
  const ColumnEntry& time = entry.at(SegmentColumn::kTimestamp);
  if (static_cast<int64_t>(time.min) > static_cast<int64_t>(time.max) ||
      std::ranges::any_of(entry.columns,
                          [](const ColumnEntry& column) { return column.min > column.max; })) {
    return Fault(page_at, "a zone is none");
  }
  return entry;
}

Result<LoadedDictionary> LoadDictionary(const SegmentFile& file, size_t index) {
  const BlockRef& ref = file.footer().dictionaries[index];
  TALLY_ASSIGN_OR_RETURN(SegmentFile::Block block, file.Get(ref));
  LoadedDictionary dictionary{std::move(block), {}};
  if (!DictionaryView::Parse(*dictionary.block, &dictionary.view)) {
    return file.Fault(ref.offset, "the dictionary does not decode");
  }
  return dictionary;
}

}  // namespace tallystick
