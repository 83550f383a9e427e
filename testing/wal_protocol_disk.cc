#include "testing/wal_protocol_disk.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "testing/model_result.h"

namespace tallystick::wal_protocol {
namespace {

// Inodes without a name cannot be seen again; blank ones make equal states equal.
void ForgetNameless(State& state) {
  for (int inode = 1; inode <= kFiles; ++inode) {
    bool named = false;
    for (int number = 1; number <= kFiles; ++number) {
      named = named || state.names_visible[number] == inode || state.names_durable[number] == inode;
    }
    if (!named) state.inodes[inode] = Inode{};
  }
}

// What may be on disk of a block that was written and not synced.
struct BlockChoice {
  uint8_t inode;
  uint8_t block;
  uint8_t options;  // old, new, torn
};

void AddChoices(const State& state, int inode, std::array<BlockChoice, 32>& choices, int* count) {
  const Inode& file = state.inodes[inode];
  for (int block = 0; block <= kDataBlocks; ++block) {
    if ((file.dirty >> block & 1) == 0 || file.visible[block] == file.durable[block]) continue;
    TALLY_CHECK(*count < static_cast<int>(choices.size()));
    const bool head = file.visible[block].kind == BlockKind::kHead;
    choices[(*count)++] = {static_cast<uint8_t>(inode), static_cast<uint8_t>(block),
                           static_cast<uint8_t>(head ? 3 : 2)};
  }
}

void Choose(State& state, const BlockChoice& choice, int option) {
  Inode& file = state.inodes[choice.inode];
  const Block& written = file.visible[choice.block];
  if (option == 1) file.durable[choice.block] = written;
  // The sector with the salt arrived, another did not.
  if (option == 2) file.durable[choice.block] = Block{BlockKind::kTorn, written.salt, 0};
}

void ForgetProcess(State& state) {
  state.mode = Mode::kDown;
  state.committer = Committer{};
  state.keeper = Keeper{};
  state.recovery = Recovery{};
}

// Which of the manifests that are renamed but not synced survive, and how: a digit each.
void ApplyManifestChoice(State& state, const State& before, int code) {
  state.manifest_count = 2;
  for (int i = 2; i < before.manifest_count; ++i) {
    const int options = before.manifests[i].synced != 0 ? 2 : 3;
    const int option = code % options;
    code /= options;
    if (option == 0) continue;
    state.manifests[0] = state.manifests[1];
    state.manifests[1] = before.manifests[i];
    state.manifests[1].damaged = option == 2;
    state.manifests[1].synced = 1;
  }
  for (int i = 2; i < kManifests; ++i) state.manifests[i] = Manifest{};
}

int ManifestChoices(const State& state) {
  int choices = 1;
  for (int i = 2; i < state.manifest_count; ++i) choices *= state.manifests[i].synced != 0 ? 2 : 3;
  return choices;
}

}  // namespace

void WriteBlock(State& state, int inode, int block, Block value) {
  state.inodes[inode].visible[block] = value;
  state.inodes[inode].dirty |= static_cast<uint8_t>(1 << block);
}

void SyncFile(State& state, int inode) {
  Inode& file = state.inodes[inode];
  for (int block = 0; block <= kDataBlocks; ++block) {
    if (file.dirty >> block & 1) file.durable[block] = file.visible[block];
  }
  file.dirty = 0;
}

void SyncWalDir(State& state) {
  state.names_durable = state.names_visible;
  state.names_dirty = {};
  ForgetNameless(state);
}

int CreateFile(State& state, int number) {
  for (int inode = 1; inode <= kFiles; ++inode) {
    bool named = false;
    for (int other = 1; other <= kFiles; ++other) {
      named = named || state.names_visible[other] == inode || state.names_durable[other] == inode;
    }
    if (named) continue;
    state.names_visible[number] = static_cast<uint8_t>(inode);
    state.names_dirty[number] = 1;
    return inode;
  }
  TALLY_CHECK(false);  // more files than the bounds allow for
}

void RemoveName(State& state, int number) {
  state.names_visible[number] = 0;
  state.names_dirty[number] = state.names_durable[number] != 0;
  ForgetNameless(state);
}

void RenameFile(State& state, int from, int to) {
  state.names_visible[to] = state.names_visible[from];
  state.names_visible[from] = 0;
  state.names_dirty[to] = 1;
  state.names_dirty[from] = 1;
}

void RenameManifest(State& state, Manifest manifest, bool synced) {
  TALLY_CHECK(state.manifest_count < kManifests);
  manifest.exists = 1;
  manifest.synced = synced;
  state.manifests[state.manifest_count++] = manifest;
}

void SyncManifestDir(State& state) { SettleManifests(state); }

void Kill(State& state) { ForgetProcess(state); }

void ForEachPowerCut(const State& state, const std::function<void(const State&)>& outcome) {
  std::array<BlockChoice, 32> blocks;
  int block_count = 0;
  for (int inode = 1; inode <= kFiles; ++inode) AddChoices(state, inode, blocks, &block_count);
  std::array<uint8_t, kFiles> names;
  int name_count = 0;
  int codes = ManifestChoices(state);
  for (int number = 1; number <= kFiles; ++number) {
    if (state.names_dirty[number] == 0) continue;
    names[name_count++] = static_cast<uint8_t>(number);
    codes *= 2;
  }
  for (int i = 0; i < block_count; ++i) codes *= blocks[i].options;

  for (int code = 0; code < codes; ++code) {
    State after = state;
    int rest = code;
    for (int i = 0; i < block_count; ++i) {
      Choose(after, blocks[i], rest % blocks[i].options);
      rest /= blocks[i].options;
    }
    for (int i = 0; i < name_count; ++i) {
      if (rest % 2 == 1) after.names_durable[names[i]] = state.names_visible[names[i]];
      rest /= 2;
    }
    ApplyManifestChoice(after, state, rest);
    for (Inode& file : after.inodes) {
      file.visible = file.durable;
      file.dirty = 0;
    }
    after.names_visible = after.names_durable;
    after.names_dirty = {};
    ForgetNameless(after);
    ForgetProcess(after);
    outcome(after);
  }
}

void ForEachFailedSync(const State& state, int inode,
                       const std::function<void(const State&)>& outcome) {
  std::array<BlockChoice, 32> blocks;
  int count = 0;
  AddChoices(state, inode, blocks, &count);
  int codes = 1;
  for (int i = 0; i < count; ++i) codes *= blocks[i].options;
  for (int code = 0; code < codes; ++code) {
    State after = state;
    int rest = code;
    for (int i = 0; i < count; ++i) {
      Choose(after, blocks[i], rest % blocks[i].options);
      rest /= blocks[i].options;
    }
    after.inodes[inode].dirty = 0;
    outcome(after);
  }
}

std::optional<uint8_t> FrameAt(const State& state, int inode, int block) {
  if (block > kDataBlocks) return std::nullopt;
  const Inode& file = state.inodes[inode];
  const uint8_t salt = file.visible[0].salt;
  const Block& head = file.visible[block];
  if (head.kind != BlockKind::kHead || head.salt != salt) return std::nullopt;
  const int blocks = state.contents[head.value].blocks;
  if (block + blocks - 1 > kDataBlocks) return std::nullopt;
  for (int i = 1; i < blocks; ++i) {
    if (file.visible[block + i] != Block{BlockKind::kBody, salt, head.value}) return std::nullopt;
  }
  return head.value;
}

namespace {

// One pass over the listed files, as wal_reader.cc makes it.
class Planner {
 public:
  Planner(const State& state, BrokenRule rule) : state_(state), rule_(rule) {}

  Plan Run() {
    const Manifest* manifest = PickManifest();
    if (manifest == nullptr) return plan_;
    plan_.next_frame = manifest->first_frame;
    plan_.next_lsn = manifest->first_lsn;
    plan_.next = *manifest;
    plan_.next.count = 0;
    plan_.next.files = {};
    // What is flushed stands in segments, which the model takes for granted.
    for (int lsn = 1; lsn < manifest->first_lsn; ++lsn) plan_.found[lsn] = state_.promised[lsn];
    for (int i = 0; i < manifest->count && plan_.refused.empty(); ++i) ReadFile(*manifest, i);
    if (plan_.refused.empty()) EndBeforeLastFrame();
    return plan_;
  }

 private:
  const Manifest* PickManifest() {
    plan_.next_number = 1;
    for (int number = 1; number <= kFiles; ++number) {
      if (state_.names_visible[number] != 0) plan_.next_number = static_cast<uint8_t>(number + 1);
    }
    const Manifest* manifest = &state_.Newest();
    if (manifest->damaged != 0 && rule_ == BrokenRule::kOlderManifestTaken) --manifest;
    if (manifest->damaged != 0) {
      plan_.refused = "the newest manifest does not verify";
      return nullptr;
    }
    if (manifest->exists == 0) {
      plan_.create = true;
      if (plan_.next_number > 1) plan_.refused = "log files without a manifest";
      return nullptr;
    }
    plan_.next_number = std::max(plan_.next_number, manifest->next_number);
    return manifest;
  }

  void ReadFile(const Manifest& manifest, int index) {
    const Listed& listed = manifest.files[index];
    const int inode = state_.names_visible[listed.number];
    if (inode == 0) return Refuse("a listed file is absent");
    const Block& header = state_.inodes[inode].visible[0];
    if (header.kind != BlockKind::kHeader || header.value != listed.number) {
      return Refuse("a listed file has no header of its own");
    }
    const int block = TakeFrames(inode, listed);
    const bool end_reached = listed.end != 0 && plan_.next_frame > listed.end;
    if (listed.end != 0) {
      if (!end_reached) Refuse("a frame that the manifest lists is missing");
      return;
    }
    JudgeTail(manifest, index, inode, block);
  }

  int TakeFrames(int inode, const Listed& listed) {
    Listed out{listed.number, 0, 0};
    int block = 1;
    frames_in_last_ = 0;
    while (listed.end == 0 || plan_.next_frame <= listed.end) {
      const auto frame = FrameAt(state_, inode, block);
      if (!frame.has_value() || !IsNext(*frame)) break;
      const Content& content = state_.contents[*frame];
      if (content.mark == 0) plan_.found[plan_.next_lsn++] = *frame;
      out.end = plan_.next_frame++;
      out.end_lsn = static_cast<uint8_t>(plan_.next_lsn - 1);
      plan_.last = *frame;
      plan_.last_file = listed.number;
      block += content.blocks;
      ++frames_in_last_;
    }
    if (frames_in_last_ > 0) {
      plan_.next.files[plan_.next.count++] = out;
      frames_of_last_file_ = frames_in_last_;
    }
    return block;
  }

  bool IsNext(uint8_t frame) const {
    return state_.contents[frame].frame == plan_.next_frame &&
           state_.contents[frame].lsn == plan_.next_lsn;
  }

  // The table of wal_tail.cc.
  void JudgeTail(const Manifest& manifest, int index, int inode, int block) {
    if (FrameAt(state_, inode, block).has_value())
      return Refuse("a valid frame that is not the next");
    for (int behind = block + 1; behind <= kDataBlocks; ++behind) {
      if (FrameAt(state_, inode, behind).has_value()) return Refuse("frames behind a bad one");
    }
    const bool salt = block <= kDataBlocks && SaltAt(inode, block);
    for (int later = index + 1; later < manifest.count; ++later) {
      const int other = state_.names_visible[manifest.files[later].number];
      if (other == 0) return Refuse("a listed file is absent");
      const auto first = FrameAt(state_, other, 1);
      if (first.has_value()) {
        if (salt || !IsNext(*first)) Refuse("frames in a later file behind a bad one");
        return;
      }
      for (int at = 2; at <= kDataBlocks; ++at) {
        if (FrameAt(state_, other, at).has_value()) return Refuse("frames in a later file");
      }
    }
  }

  bool SaltAt(int inode, int block) const {
    const Block& seen = state_.inodes[inode].visible[block];
    return seen.kind != BlockKind::kBlank && seen.salt == state_.inodes[inode].visible[0].salt;
  }

  // The last frame may not be on disk: it will stand in the new file.
  void EndBeforeLastFrame() {
    if (plan_.last == 0 || rule_ == BrokenRule::kTailNotCopied) return;
    Manifest& next = plan_.next;
    Listed& file = next.files[next.count - 1];
    if (frames_of_last_file_ == 1) {
      file = Listed{};
      --next.count;
      return;
    }
    const Content& last = state_.contents[plan_.last];
    file.end = static_cast<uint8_t>(last.frame - 1);
    file.end_lsn = static_cast<uint8_t>(last.lsn - 1);
  }

  void Refuse(std::string_view why) {
    if (rule_ != BrokenRule::kMidLogTruncated) plan_.refused = why;
  }

  const State& state_;
  const BrokenRule rule_;
  Plan plan_;
  int frames_in_last_ = 0;
  int frames_of_last_file_ = 0;
};

}  // namespace

Plan PlanRecovery(const State& state, BrokenRule rule) { return Planner(state, rule).Run(); }

}  // namespace tallystick::wal_protocol
