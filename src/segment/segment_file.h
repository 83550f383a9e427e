// SegmentFile: an open segment below its rows: footer, directory, blocks. Each block is verified
// before it is handed out; the directory is read page by page, when it is needed.
//
// Thread rule: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "env/env.h"
#include "segment/block_cache.h"
#include "segment/dictionary.h"
#include "segment/segment_format.h"

namespace tallystick {

class SegmentFile {
 public:
  using Block = BlockCache::Block;

  // Reads and verifies the footer.
  static Result<std::unique_ptr<SegmentFile>> Open(FileSystem& fs, const std::string& path,
                                                   BlockCache& cache);

  const SegmentFooter& footer() const { return footer_; }
  const SegmentInfo& info() const { return footer_.info; }
  const std::string& path() const { return file_->path(); }

  // The payload of a block, through the cache; and past it.
  Result<Block> Get(const BlockRef& ref) const;
  Result<Bytes> Read(const BlockRef& ref) const;
  // Bytes as they stand in the file, and the payload of a block that was read so.
  Result<Bytes> ReadRaw(uint64_t offset, uint64_t bytes) const;
  Result<Bytes> Open(uint64_t offset, Bytes raw) const;
  // The row group's line of the directory; its blocks are inside of the file.
  // REQUIRES: group < footer().group_count().
  Result<GroupEntry> Group(uint32_t group) const;
  // A group's line, checked as Group does, out of a page of the directory that was read elsewise.
  Result<GroupEntry> GroupOfPage(ByteSpan page, uint32_t group) const;

  // "PATH at offset N: what"
  Status Fault(uint64_t offset, std::string_view what) const;

 private:
  SegmentFile(std::unique_ptr<File> file, const SegmentFooter& footer, BlockCache& cache);

  const std::unique_ptr<File> file_;
  const SegmentFooter footer_;
  const uint64_t seed_;
  BlockCache& cache_;
};

// A dictionary of the file together with the block that it looks into.
struct LoadedDictionary {
  BlockCache::Block block;
  DictionaryView view;
};
Result<LoadedDictionary> LoadDictionary(const SegmentFile& file, size_t index);

}  // namespace tallystick
