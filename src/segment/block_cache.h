// BlockCache: the verified blocks of all segments, bounded in bytes; the least recently used leave.
// What a block needs to be read (checksum, decompression) is done once, by whoever brings it in.
//
// Thread rule: any thread. Blocks are immutable and stay valid as long as somebody holds them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/coding.h"
#include "base/types.h"
#include "tallystick/status.h"

namespace tallystick {

class BlockCache {
 public:
  using Block = std::shared_ptr<const Bytes>;

  explicit BlockCache(uint64_t bytes_max);
  ~BlockCache();

  // The block at `offset` of the file, from memory or by `load` (called without a lock held; two
  // threads may load the same block at once). An error of `load` is passed on and not remembered.
  Result<Block> Get(FileNumber file, uint64_t offset, const std::function<Result<Bytes>()>& load);
  // Forgets a file's blocks: it was deleted.
  void Erase(FileNumber file);

  struct Readings {
    uint64_t bytes = 0;
    uint64_t hits = 0;
    uint64_t misses = 0;
  };
  Readings Read() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tallystick
