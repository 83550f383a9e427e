// A hash map and a list in order of use for each shard. Invariants:
//   1. A shard's bytes are the sum of its blocks' charges, and at most its share.
//   2. A block that alone is more than a share is handed out and not kept.
#include "segment/block_cache.h"

#include <algorithm>
#include <atomic>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"

namespace tallystick {
namespace {

struct Key {
  uint64_t file = 0;
  uint64_t offset = 0;
  friend bool operator==(const Key&, const Key&) = default;
};
struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t hash = key.file * 0x9e3779b97f4a7c15ull ^ key.offset;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull;
    return hash ^ hash >> 32;
  }
};

// A share smaller than this would not keep a large dictionary.
constexpr uint64_t kShareBytesMin = 32ull << 20;
constexpr uint64_t kShardsMax = 16;
constexpr uint64_t kOverheadBytes = 160;  // of list, map and block, about

uint64_t Charge(const Bytes& block) { return block.size() + kOverheadBytes; }

struct Item {
  Key key;
  BlockCache::Block block;
};

class Shard {
 public:
  explicit Shard(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  BlockCache::Block Find(const Key& key) {
    MutexLock lock(mutex_);
    const auto found = places_.find(key);
    if (found == places_.end()) return nullptr;
    items_.splice(items_.begin(), items_, found->second);
    return found->second->block;
  }

  void Insert(const Key& key, BlockCache::Block block) {
    const uint64_t charge = Charge(*block);
    if (charge > bytes_max_) return;
    MutexLock lock(mutex_);
    if (places_.contains(key)) return;  // another thread loaded it meanwhile
    items_.push_front({key, std::move(block)});
    places_.emplace(key, items_.begin());
    bytes_ += charge;
    while (bytes_ > bytes_max_) Drop(std::prev(items_.end()));
  }

  void Erase(uint64_t file) {
    MutexLock lock(mutex_);
    for (auto item = items_.begin(); item != items_.end();) {
      const auto next = std::next(item);
      if (item->key.file == file) Drop(item);
      item = next;
    }
  }

  uint64_t bytes() {
    MutexLock lock(mutex_);
    return bytes_;
  }

 private:
  void Drop(std::list<Item>::iterator item) REQUIRES(mutex_) {
    bytes_ -= Charge(*item->block);
    places_.erase(item->key);
    items_.erase(item);
  }

  Mutex mutex_;
  const uint64_t bytes_max_;
  std::list<Item> items_ GUARDED_BY(mutex_);  // the most recently used first
  std::unordered_map<Key, std::list<Item>::iterator, KeyHash> places_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace

struct BlockCache::Impl {
  explicit Impl(uint64_t bytes_max) {
    const uint64_t count = std::clamp<uint64_t>(bytes_max / kShareBytesMin, 1, kShardsMax);
    for (uint64_t i = 0; i < count; ++i) {
      shards.push_back(std::make_unique<Shard>(bytes_max / count));
    }
  }
  Shard& ShardOf(const Key& key) { return *shards[(KeyHash()(key) >> 48) % shards.size()]; }

  std::vector<std::unique_ptr<Shard>> shards;
  std::atomic<uint64_t> hits = 0;
  std::atomic<uint64_t> misses = 0;
};

BlockCache::BlockCache(uint64_t bytes_max) : impl_(std::make_unique<Impl>(bytes_max)) {}
BlockCache::~BlockCache() = default;

Result<BlockCache::Block> BlockCache::Get(FileNumber file, uint64_t offset,
                                          const std::function<Result<Bytes>()>& load) {
  const Key key{file.value, offset};
  Shard& shard = impl_->ShardOf(key);
  if (Block block = shard.Find(key); block != nullptr) {
    impl_->hits.fetch_add(1, std::memory_order_relaxed);
    return block;
  }
  impl_->misses.fetch_add(1, std::memory_order_relaxed);
  TALLY_ASSIGN_OR_RETURN(Bytes bytes, load());
  Block block = std::make_shared<const Bytes>(std::move(bytes));
  shard.Insert(key, block);
  return block;
}

void BlockCache::Erase(FileNumber file) {
  for (const auto& shard : impl_->shards) shard->Erase(file.value);
}

BlockCache::Readings BlockCache::Read() const {
  Readings readings;
  for (const auto& shard : impl_->shards) readings.bytes += shard->bytes();
  readings.hits = impl_->hits.load(std::memory_order_relaxed);
  readings.misses = impl_->misses.load(std::memory_order_relaxed);
  return readings;
}

}  // namespace tallystick
