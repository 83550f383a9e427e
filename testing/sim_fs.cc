// Invariants:
//  1. A node's `disk` side changes only by a sync, a direct write, or Restart(kPowerCut).
//  2. Entries: `visible` is what a process sees, `durable` what the disk has; `pending` of a
//  directory are the
//     changes between the two, in order; SyncDir makes them durable.
//  3. After a crash no operation has an effect until Restart.
#include "testing/sim_fs.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "base/check.h"
#include "base/result.h"
#include "base/types.h"

namespace tallystick {
namespace {

constexpr size_t kSectorBytes = 512;

class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next() {  // splitmix64
    uint64_t x = state_ += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }
  uint64_t Below(uint64_t n) { return Next() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

// What a power cut does to each thing that was not synced. Every cut has a mood, drawn first: when
// each of forty blocks had its own even chance, all of them lost or all of them kept would never be
// seen.
class PowerCutDraw {
 public:
  enum class Fate : uint8_t { kOld, kNew, kTorn };
  enum class RenameFate : uint8_t { kNothing, kWhole, kBothNames, kNeitherName };

  explicit PowerCutDraw(SimRandom& random) : random_(random) {
    static constexpr unsigned kPercents[] = {0, 100, 10, 90, 50, 50, 50, 50};
    percent_ = kPercents[random_.Below(std::size(kPercents))];
  }
  bool Survives() { return random_.Below(100) < percent_; }
  Fate OfBlock() {
    if (IsMixed() && random_.OneIn(3)) return Fate::kTorn;
    return Survives() ? Fate::kNew : Fate::kOld;
  }
  RenameFate OfRename() {
    if (!IsMixed()) return Survives() ? RenameFate::kWhole : RenameFate::kNothing;
    return static_cast<RenameFate>(random_.Below(4));
  }
  bool SectorIsNew() { return random_.OneIn(2); }

 private:
  bool IsMixed() const { return percent_ != 0 && percent_ != 100; }

  SimRandom& random_;
  unsigned percent_;
};

using Block = std::array<std::byte, kBlockBytes>;
using BlockRef = std::shared_ptr<const Block>;

const BlockRef& ZeroBlock() {
  static const BlockRef zero = std::make_shared<Block>();
  return zero;
}

// Bytes and size of a file, blocks shared between copies.
struct Image {
  std::vector<BlockRef> blocks;
  uint64_t size = 0;

  const Block& At(uint64_t index) const {
    return index < blocks.size() ? *blocks[index] : *ZeroBlock();
  }
  void Set(uint64_t index, BlockRef block) {
    if (index >= blocks.size()) blocks.resize(index + 1, ZeroBlock());
    blocks[index] = std::move(block);
  }
  void Resize(uint64_t bytes) {
    size = bytes;
    blocks.resize((bytes + kBlockBytes - 1) / kBlockBytes, ZeroBlock());
    const size_t used = bytes % kBlockBytes;
    if (used != 0) {
      auto last = std::make_shared<Block>(*blocks.back());
      std::fill(last->begin() + static_cast<ptrdiff_t>(used), last->end(), std::byte{0});
      blocks.back() = std::move(last);
    }
  }
  void Read(uint64_t offset, std::span<std::byte> out) const {
    for (size_t done = 0; done < out.size();) {
      const uint64_t at = offset + done;
      const size_t in_block = at % kBlockBytes;
      const size_t now = std::min(out.size() - done, kBlockBytes - in_block);
      std::memcpy(out.data() + done, At(at / kBlockBytes).data() + in_block, now);
      done += now;
    }
  }
  void Write(uint64_t offset, ByteSpan data) {
    for (size_t done = 0; done < data.size();) {
      const uint64_t at = offset + done;
      const size_t in_block = at % kBlockBytes;
      const size_t now = std::min(data.size() - done, kBlockBytes - in_block);
      auto block = std::make_shared<Block>(At(at / kBlockBytes));
      std::memcpy(block->data() + in_block, data.data() + done, now);
      Set(at / kBlockBytes, std::move(block));
      done += now;
    }
    size = std::max(size, offset + data.size());
  }
};

struct Node {
  bool is_dir = false;
  // A file.
  Image now;
  Image disk;
  std::set<uint64_t> dirty;  // blocks where `now` may reach the disk
  bool size_dirty = false;
  bool lost_dirty = false;  // a sync failed once
  // A directory.
  std::map<std::string, uint64_t> visible;
  std::map<std::string, uint64_t> durable;
  struct Change {
    std::string name;
    uint64_t node = 0;         // 0: the name was removed
    std::string renamed_from;  // with a rename: the name that went
  };
  std::vector<Change> pending;

  void SyncFile() {
    for (uint64_t block : dirty)
      disk.Set(block, now.blocks.size() > block ? now.blocks[block] : ZeroBlock());
    if (size_dirty) disk.Resize(now.size);
    dirty.clear();
    size_dirty = false;
  }
};

std::string Normal(const std::string& path) {
  std::string out = path;
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

std::string NameOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

Status Crashed() { return Status(StatusCode::kIoError, "crashed", "the machine has stopped"); }

}  // namespace

struct SimFs::State {
  explicit State(uint64_t seed) : random(seed) { nodes[kRoot].is_dir = true; }
  static constexpr uint64_t kRoot = 1;

  std::map<uint64_t, Node> nodes;
  uint64_t next_node = kRoot + 1;
  std::set<std::string> locks;
  SimRandom random;
  uint64_t life = 0;  // grows with every restart; files of an earlier life are dead
  uint64_t operations = 0;
  uint64_t bytes_read = 0;
  uint64_t retried_syncs = 0;
  std::optional<uint64_t> crash_at;
  uint64_t crash_seed = 0;
  bool crashed = false;
  bool direct_refused = false;
  std::optional<uint64_t> capacity;

  // Every call begins here. True: the machine stops in this operation, which may take partial
  // effect.
  bool Begin() {
    if (crashed) return true;
    if (crash_at.has_value() && operations == *crash_at) {
      crashed = true;
      random = SimRandom(crash_seed);
    }
    ++operations;
    return crashed;
  }

  // "." and "/" are the root; parts are looked up by what is visible.
  uint64_t FindNode(const std::string& path) const {
    uint64_t at = kRoot;
    size_t begin = 0;
    while (begin < path.size()) {
      const size_t slash = std::min(path.find('/', begin), path.size());
      const std::string part = path.substr(begin, slash - begin);
      begin = slash + 1;
      if (part.empty() || part == ".") continue;
      const Node& dir = nodes.at(at);
      const auto entry = dir.visible.find(part);
      if (!dir.is_dir || entry == dir.visible.end()) return 0;
      at = entry->second;
    }
    return at;
  }
  Node* Dir(const std::string& path) {
    const uint64_t node = FindNode(path);
    return node != 0 && nodes.at(node).is_dir ? &nodes.at(node) : nullptr;
  }

  uint64_t UsedBytes() const {
    std::set<uint64_t> named;  // a removed file's blocks are free again
    for (const auto& [number, node] : nodes) {
      for (const auto& [name, child] : node.visible) named.insert(child);
    }
    uint64_t bytes = 0;
    for (const uint64_t number : named) bytes += nodes.at(number).now.blocks.size() * kBlockBytes;
    return bytes;
  }
  bool HasRoomFor(uint64_t bytes) const { return !capacity || UsedBytes() + bytes <= *capacity; }

  uint64_t NewEntry(Node& dir, const std::string& name, bool is_dir) {
    const uint64_t node = next_node++;
    nodes[node].is_dir = is_dir;
    dir.visible[name] = node;
    dir.pending.push_back({name, node, ""});
    return node;
  }

  void LoseFile(Node& node, PowerCutDraw& draw);
  void LoseEntries(Node& dir, PowerCutDraw& draw);
  void DropUnreachable();
};

// What a power cut leaves of a file's unsynced part.
void SimFs::State::LoseFile(Node& node, PowerCutDraw& draw) {
  const Image before = node.disk;
  for (uint64_t index : node.dirty) {
    const PowerCutDraw::Fate fate = draw.OfBlock();
    if (fate == PowerCutDraw::Fate::kOld) continue;
    auto block = std::make_shared<Block>(before.At(index));
    const Block& fresh = node.now.At(index);
    for (size_t at = 0; at < kBlockBytes; at += kSectorBytes) {
      if (fate == PowerCutDraw::Fate::kTorn && !draw.SectorIsNew()) continue;
      std::memcpy(block->data() + at, fresh.data() + at, kSectorBytes);
    }
    node.disk.Set(index, std::move(block));
  }
  const bool size_survives = node.size_dirty && draw.Survives();
  node.disk.Resize(size_survives ? node.now.size : before.size);
  node.now = node.disk;
  node.dirty.clear();
  node.size_dirty = false;
  node.lost_dirty = false;
}

void SimFs::State::LoseEntries(Node& dir, PowerCutDraw& draw) {
  using RenameFate = PowerCutDraw::RenameFate;
  for (const Node::Change& change : dir.pending) {
    if (!change.renamed_from.empty()) {
      const RenameFate fate = draw.OfRename();
      const bool has_new = fate == RenameFate::kWhole || fate == RenameFate::kBothNames;
      const bool has_old = fate == RenameFate::kNothing || fate == RenameFate::kBothNames;
      if (!has_old) dir.durable.erase(change.renamed_from);
      if (has_new) dir.durable[change.name] = change.node;
    } else if (!draw.Survives()) {
      continue;
    } else if (change.node == 0) {
      dir.durable.erase(change.name);
    } else {
      dir.durable[change.name] = change.node;
    }
  }
  dir.pending.clear();
  dir.visible = dir.durable;
}

void SimFs::State::DropUnreachable() {
  std::set<uint64_t> live = {kRoot};
  std::vector<uint64_t> open = {kRoot};
  while (!open.empty()) {
    const Node& node = nodes.at(open.back());
    open.pop_back();
    auto keep = [&](uint64_t number) {
      if (live.insert(number).second) open.push_back(number);
    };
    for (const auto& [name, number] : node.visible) keep(number);
    for (const auto& [name, number] : node.durable) keep(number);
    for (const Node::Change& change : node.pending) {
      if (change.node != 0) keep(change.node);
    }
  }
  std::erase_if(nodes, [&](const auto& entry) { return !live.contains(entry.first); });
}

class SimFile final : public File {
 public:
  SimFile(SimFs& fs, std::string path, uint64_t node, bool writable, bool direct)
      : fs_(fs),
        path_(std::move(path)),
        node_(node),
        writable_(writable),
        direct_(direct),
        life_(fs.state_->life) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) override {
    MutexLock lock(fs_.mutex_);
    if (direct_) CheckAligned(offset, out);
    if (Dead() || fs_.state_->Begin()) return Crashed();
    const Image& now = node().now;
    if (offset >= now.size) return size_t{0};
    const size_t bytes = std::min<uint64_t>(out.size(), now.size - offset);
    now.Read(offset, out.first(bytes));
    fs_.state_->bytes_read += bytes;
    return bytes;
  }

  Result<size_t> WriteAt(uint64_t offset, ByteSpan data) override {
    MutexLock lock(fs_.mutex_);
    TALLY_CHECK(writable_ && !data.empty());
    if (direct_) CheckAligned(offset, data);
    const bool was_crashed = fs_.state_->crashed;
    if (Dead()) return Crashed();
    const bool stops = fs_.state_->Begin();
    if (was_crashed) return Crashed();
    if (!fs_.state_->HasRoomFor(Grows(offset + data.size()))) {
      return stops ? Crashed() : Status::NoSpace("write " + path_ + ": no space left on device");
    }
    if (stops) {
      ApplyPartly(offset, data);
      return Crashed();
    }
    Apply(offset, data);
    if (direct_) node().SyncFile();
    return data.size();
  }

  Status Sync() override {
    MutexLock lock(fs_.mutex_);
    const bool was_crashed = fs_.state_->crashed;
    if (Dead()) return Crashed();
    const bool stops = fs_.state_->Begin();
    if (was_crashed) return Crashed();
    Node& file = node();
    if (file.lost_dirty) ++fs_.state_->retried_syncs;
    // A sync that the machine stopped in may have done all of its work, or some, which the power
    // cut draws.
    if (!stops || fs_.state_->random.OneIn(3)) file.SyncFile();
    return stops ? Crashed() : Status::Ok();
  }

  Result<uint64_t> Size() override {
    MutexLock lock(fs_.mutex_);
    if (Dead() || fs_.state_->Begin()) return Crashed();
    return node().now.size;
  }

  Status Truncate(uint64_t bytes) override {
    MutexLock lock(fs_.mutex_);
    const bool was_crashed = fs_.state_->crashed;
    if (Dead()) return Crashed();
    const bool stops = fs_.state_->Begin();
    if (was_crashed) return Crashed();
    if (!stops || fs_.state_->random.OneIn(2)) {
      Node& file = node();
      file.now.Resize(bytes);
      file.size_dirty = true;
      const uint64_t end = (bytes + kBlockBytes - 1) / kBlockBytes;
      file.dirty.erase(file.dirty.lower_bound(end), file.dirty.end());
    }
    return stops ? Crashed() : Status::Ok();
  }

  const std::string& path() const override { return path_; }

 private:
  static void CheckAligned(uint64_t offset, ByteSpan bytes) {
    TALLY_CHECK(offset % kBlockBytes == 0 && bytes.size() % kBlockBytes == 0);
    TALLY_CHECK(reinterpret_cast<uintptr_t>(bytes.data()) % kBlockBytes == 0);
  }
  bool Dead() const { return life_ != fs_.state_->life; }
  Node& node() { return fs_.state_->nodes.at(node_); }
  uint64_t Grows(uint64_t end) {
    const uint64_t has = node().now.blocks.size() * kBlockBytes;
    const uint64_t needs = (end + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    return needs > has ? needs - has : 0;
  }
  void Apply(uint64_t offset, ByteSpan data) {
    if (data.empty()) return;
    Node& file = node();
    if (offset + data.size() > file.now.size) file.size_dirty = true;
    file.now.Write(offset, data);
    for (uint64_t b = offset / kBlockBytes; b <= (offset + data.size() - 1) / kBlockBytes; ++b) {
      file.dirty.insert(b);
    }
  }

  // A copy into the page cache stops behind some block; of a direct write any blocks may have been
  // in flight. What of them reaches the disk a power cut decides.
  void ApplyPartly(uint64_t offset, ByteSpan data) {
    SimRandom& random = fs_.state_->random;
    const uint64_t blocks = (data.size() + kBlockBytes - 1) / kBlockBytes;
    const bool scattered = direct_ && random.OneIn(2);
    const uint64_t written = random.Below(blocks + 1);
    for (uint64_t block = 0; block < blocks; ++block) {
      if (scattered ? random.OneIn(2) : block >= written) continue;
      const uint64_t at = block * kBlockBytes;
      Apply(offset + at, data.subspan(at, std::min<uint64_t>(data.size() - at, kBlockBytes)));
    }
  }

  SimFs& fs_;
  std::string path_;
  uint64_t node_;
  bool writable_;
  bool direct_;
  uint64_t life_;
};

class SimLock final : public FileLock {
 public:
  SimLock(SimFs& fs, std::string path) : fs_(fs), path_(std::move(path)), life_(fs.state_->life) {}
  ~SimLock() override {
    MutexLock lock(fs_.mutex_);
    if (life_ == fs_.state_->life) fs_.state_->locks.erase(path_);
  }

 private:
  SimFs& fs_;
  std::string path_;
  uint64_t life_;
};

SimFs::SimFs(uint64_t seed) : state_(std::make_unique<State>(seed)) {}
SimFs::~SimFs() = default;

Result<std::unique_ptr<File>> SimFs::Open(const std::string& raw, OpenMode mode, OpenFlags flags) {
  MutexLock lock(mutex_);
  const std::string path = Normal(raw);
  const bool was_crashed = state_->crashed;
  const bool stops = state_->Begin();
  if (was_crashed || (stops && mode != OpenMode::kCreateNew)) return Crashed();
  uint64_t node = state_->FindNode(path);
  if (mode == OpenMode::kCreateNew) {
    if (stops && state_->random.OneIn(2)) return Crashed();
    Node* dir = state_->Dir(ParentPath(path));
    if (dir == nullptr)
      return Status::NotFound("not_found", "open " + path + ": no such directory");
    if (node != 0) return Status::FailedPrecondition("exists", "open " + path + ": it exists");
    if (!state_->HasRoomFor(kBlockBytes))
      return Status::NoSpace("open " + path + ": no space left");
    if (flags.direct_dsync && state_->direct_refused) {
      return Status::InvalidArgument("direct_refused", "open " + path + ": direct I/O is refused");
    }
    node = state_->NewEntry(*dir, NameOf(path), false);
  }
  if (stops) return Crashed();
  if (node == 0) return Status::NotFound("not_found", "open " + path + ": no such file");
  if (state_->nodes.at(node).is_dir) return Status::IoError("open " + path + ": is a directory");
  if (flags.direct_dsync && state_->direct_refused) {
    return Status::InvalidArgument("direct_refused", "open " + path + ": direct I/O is refused");
  }
  return std::make_unique<SimFile>(*this, path, node, mode != OpenMode::kRead, flags.direct_dsync);
}

Status SimFs::CreateDir(const std::string& raw) {
  MutexLock lock(mutex_);
  const std::string path = Normal(raw);
  const bool was_crashed = state_->crashed;
  const bool stops = state_->Begin();
  if (was_crashed || (stops && state_->random.OneIn(2))) return Crashed();
  if (state_->FindNode(path) == 0) {
    Node* dir = state_->Dir(ParentPath(path));
    if (dir == nullptr) return Status::NotFound("not_found", "mkdir " + path + ": no parent");
    if (!state_->HasRoomFor(kBlockBytes))
      return Status::NoSpace("mkdir " + path + ": no space left");
    state_->NewEntry(*dir, NameOf(path), true);
  }
  return stops ? Crashed() : Status::Ok();
}

Status SimFs::Remove(const std::string& raw) {
  MutexLock lock(mutex_);
  const std::string path = Normal(raw);
  const bool was_crashed = state_->crashed;
  const bool stops = state_->Begin();
  if (was_crashed || (stops && state_->random.OneIn(2))) return Crashed();
  Node* dir = state_->Dir(ParentPath(path));
  if (dir == nullptr || dir->visible.erase(NameOf(path)) == 0) {
    return Status::NotFound("not_found", "remove " + path + ": no such file");
  }
  dir->pending.push_back({NameOf(path), 0, ""});
  return stops ? Crashed() : Status::Ok();
}

Status SimFs::Rename(const std::string& raw_from, const std::string& raw_to) {
  MutexLock lock(mutex_);
  const std::string from = Normal(raw_from), to = Normal(raw_to);
  const bool was_crashed = state_->crashed;
  const bool stops = state_->Begin();
  if (was_crashed || (stops && state_->random.OneIn(2))) return Crashed();
  Node* dir = state_->Dir(ParentPath(from));
  Node* to_dir = state_->Dir(ParentPath(to));
  const auto entry = dir == nullptr ? std::map<std::string, uint64_t>::iterator()
                                    : dir->visible.find(NameOf(from));
  if (dir == nullptr || to_dir == nullptr || entry == dir->visible.end()) {
    return Status::NotFound("not_found", "rename " + from + ": no such file");
  }
  if (!state_->HasRoomFor(0)) return Status::NoSpace("rename " + from + ": no space left");
  const uint64_t node = entry->second;
  dir->visible.erase(entry);
  to_dir->visible[NameOf(to)] = node;
  if (dir == to_dir) {
    dir->pending.push_back({NameOf(to), node, NameOf(from)});
  } else {
    // Each folder's part survives or not by itself: both names, or neither, can be found.
    dir->pending.push_back({NameOf(from), 0, ""});
    to_dir->pending.push_back({NameOf(to), node, ""});
  }
  return stops ? Crashed() : Status::Ok();
}

Status SimFs::Link(const std::string& raw_from, const std::string& raw_to) {
  MutexLock lock(mutex_);
  const std::string from = Normal(raw_from), to = Normal(raw_to);
  const bool was_crashed = state_->crashed;
  const bool stops = state_->Begin();
  if (was_crashed || (stops && state_->random.OneIn(2))) return Crashed();
  const uint64_t node = state_->FindNode(from);
  Node* dir = state_->Dir(ParentPath(to));
  if (node == 0 || dir == nullptr) {
    return Status::NotFound("not_found", "link " + from + " to " + to + ": no such file");
  }
  TALLY_CHECK(!state_->nodes.at(node).is_dir);
  if (dir->visible.contains(NameOf(to))) {
    return Status::FailedPrecondition("exists", "link " + from + " to " + to + ": it exists");
  }
  if (!state_->HasRoomFor(0)) return Status::NoSpace("link " + to + ": no space left");
  dir->visible[NameOf(to)] = node;
  dir->pending.push_back({NameOf(to), node, ""});
  return stops ? Crashed() : Status::Ok();
}

Status SimFs::SyncDir(const std::string& raw) {
  MutexLock lock(mutex_);
  const bool was_crashed = state_->crashed;
  const bool stops = state_->Begin();
  if (was_crashed) return Crashed();
  Node* dir = state_->Dir(Normal(raw));
  if (dir == nullptr) return Status::NotFound("not_found", "fsync " + raw + ": no such directory");
  if (!stops || state_->random.OneIn(3)) {
    dir->durable = dir->visible;
    dir->pending.clear();
  }
  return stops ? Crashed() : Status::Ok();
}

Result<std::vector<std::string>> SimFs::List(const std::string& path) {
  MutexLock lock(mutex_);
  if (state_->Begin()) return Crashed();
  const Node* dir = state_->Dir(Normal(path));
  if (dir == nullptr) return Status::NotFound("not_found", "list " + path + ": no such directory");
  std::vector<std::string> names;
  for (const auto& [name, node] : dir->visible) names.push_back(name);
  if (state_->random.OneIn(4)) {
    static constexpr const char* kStrangers[] = {"lost+found", ".nfs0001", "x000001", "notes~"};
    names.emplace_back(kStrangers[state_->random.Below(4)]);
  }
  for (size_t i = names.size(); i > 1; --i) std::swap(names[i - 1], names[state_->random.Below(i)]);
  return names;
}

Result<bool> SimFs::Exists(const std::string& path) {
  MutexLock lock(mutex_);
  if (state_->Begin()) return Crashed();
  return state_->FindNode(Normal(path)) != 0;
}

// Not an operation: it asks nothing of the disk.
Result<uint64_t> SimFs::FreeBytes(const std::string&) {
  MutexLock lock(mutex_);
  if (!state_->capacity) return uint64_t{INT64_MAX};
  return *state_->capacity - std::min(*state_->capacity, state_->UsedBytes());
}

// Everything stands under one root, and there are no symbolic links.
Result<std::string> SimFs::RealPath(const std::string& path) {
  MutexLock lock(mutex_);
  if (state_->Begin()) return Crashed();
  if (state_->FindNode(Normal(path)) == 0) {
    return Status::NotFound("not_found", "realpath " + path + ": no such file");
  }
  std::string real;
  for (size_t begin = 0; begin < path.size();) {
    const size_t slash = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, slash - begin);
    if (!part.empty() && part != ".") real += "/" + part;
    begin = slash + 1;
  }
  return real.empty() ? "/" : real;
}

Result<std::unique_ptr<FileLock>> SimFs::Lock(const std::string& path) {
  MutexLock lock(mutex_);
  if (state_->Begin()) return Crashed();
  Node* dir = state_->Dir(ParentPath(path));
  if (dir == nullptr) return Status::NotFound("not_found", "lock " + path + ": no such directory");
  if (!dir->visible.contains(NameOf(path))) {
    if (!state_->HasRoomFor(kBlockBytes))
      return Status::NoSpace("lock " + path + ": no space left");
    state_->NewEntry(*dir, NameOf(path), false);
  }
  if (!state_->locks.insert(path).second) {
    return Status::FailedPrecondition("locked", path + " is held by process 1");
  }
  return std::make_unique<SimLock>(*this, path);
}

void SimFs::CrashAt(uint64_t number, uint64_t seed) {
  MutexLock lock(mutex_);
  state_->crash_at = number;
  state_->crash_seed = seed;
}

bool SimFs::crashed() const {
  MutexLock lock(mutex_);
  return state_->crashed;
}

void SimFs::Restart(CrashKind kind, uint64_t seed) {
  MutexLock lock(mutex_);
  ++state_->life;
  state_->locks.clear();
  state_->crashed = false;
  state_->crash_at.reset();
  state_->random = SimRandom(seed);
  if (kind == CrashKind::kPowerCut) {
    PowerCutDraw draw(state_->random);
    for (auto& [number, node] : state_->nodes) {
      if (node.is_dir) {
        state_->LoseEntries(node, draw);
      } else {
        state_->LoseFile(node, draw);
      }
    }
  }
  state_->DropUnreachable();
}

std::unique_ptr<SimFs> SimFs::Clone() const {
  MutexLock lock(mutex_);
  auto copy = std::make_unique<SimFs>();
  copy->state_ = std::make_unique<State>(*state_);
  copy->state_->locks.clear();
  copy->state_->crash_at.reset();
  return copy;
}

uint64_t SimFs::operations() const {
  MutexLock lock(mutex_);
  return state_->operations;
}

uint64_t SimFs::bytes_read() const {
  MutexLock lock(mutex_);
  return state_->bytes_read;
}

uint64_t SimFs::retried_syncs() const {
  MutexLock lock(mutex_);
  return state_->retried_syncs;
}

void SimFs::SetDirectRefused(bool refused) {
  MutexLock lock(mutex_);
  state_->direct_refused = refused;
}

uint64_t SimFs::UsedBytes() const {
  MutexLock lock(mutex_);
  return state_->UsedBytes();
}

void SimFs::SetCapacity(std::optional<uint64_t> bytes) {
  MutexLock lock(mutex_);
  state_->capacity = bytes;
}

void SimFs::LoseDirty(const std::string& path) {
  MutexLock lock(mutex_);
  const uint64_t node = state_->FindNode(Normal(path));
  if (node == 0) return;
  Node& file = state_->nodes.at(node);
  // Where nothing was dirty, nothing is lost, and a later sync of new bytes is no second try.
  file.lost_dirty = file.lost_dirty || !file.dirty.empty() || file.size_dirty;
  file.dirty.clear();
  file.size_dirty = false;
}

Result<Bytes> SimFs::Content(const std::string& path) const {
  MutexLock lock(mutex_);
  const uint64_t node = state_->FindNode(Normal(path));
  if (node == 0) return Status::NotFound("not_found", path);
  const Image& now = state_->nodes.at(node).now;
  Bytes bytes(now.size);
  now.Read(0, bytes);
  return bytes;
}

void SimFs::SetContent(const std::string& path, ByteSpan content) {
  MutexLock lock(mutex_);
  const uint64_t node = state_->FindNode(Normal(path));
  TALLY_CHECK(node != 0);
  Node& file = state_->nodes.at(node);
  file.now = Image();
  if (!content.empty()) file.now.Write(0, content);
  file.disk = file.now;
  file.dirty.clear();
  file.size_dirty = false;
}

std::vector<std::string> SimFs::AllFiles() const {
  MutexLock lock(mutex_);
  std::vector<std::string> paths;
  std::vector<std::pair<std::string, uint64_t>> open = {{"", State::kRoot}};
  while (!open.empty()) {
    const auto [prefix, number] = open.back();
    open.pop_back();
    for (const auto& [name, child] : state_->nodes.at(number).visible) {
      const std::string path = prefix.empty() ? name : prefix + "/" + name;
      if (state_->nodes.at(child).is_dir) {
        open.emplace_back(path, child);
      } else {
        paths.push_back(path);
      }
    }
  }
  std::ranges::sort(paths);
  return paths;
}

}  // namespace tallystick
