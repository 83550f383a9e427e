#include "testing/wal_protocol_steps.h"

#include <algorithm>

#include "base/check.h"

namespace tallystick::wal_protocol {
namespace {

// Steps of Recovery::step. What stands between two of them is where a crash can strike.
enum RecoveryStep : uint8_t {
  kSyncFound,
  kEarlyDelete,
  kCreateFile,
  kWriteHeader,
  kCopyTail,
  kSyncNewFile,
  kSyncNewName,
  kRenameRecovered,
  kSyncRecovered,
  kDelete,
};

// Steps of Keeper::step: of a spare all, of a drop from kRename on.
enum KeeperStep : uint8_t { kName, kHeader, kSync, kSyncName, kRename, kSyncManifest };

int ActiveInode(const State& state) { return state.names_visible[state.committer.active]; }

// The committer may touch only what a crash cannot unlist.
bool ListedDurably(const State& state, uint8_t number) {
  for (int i = 1; i < state.manifest_count; ++i) {
    if (!state.manifests[i].Lists(number)) return false;
  }
  return true;
}

void AddListed(Manifest& manifest, uint8_t number) {
  TALLY_CHECK(manifest.count < kListed);
  manifest.files[manifest.count++] = Listed{number, 0, 0};
  manifest.next_number = std::max<uint8_t>(manifest.next_number, number + 1);
}

uint8_t AddContent(State& state, uint8_t frame, uint8_t lsn, int blocks, bool mark) {
  TALLY_CHECK(state.content_count < kContents);
  state.contents[++state.content_count] = {frame, lsn, static_cast<uint8_t>(blocks), mark};
  return state.content_count;
}

void Promise(State& state, uint8_t content) {
  if (state.contents[content].mark == 0) state.promised[state.contents[content].lsn] = content;
}

std::string_view ReuseViolation(const State& state, uint8_t content) {
  const Content& frame = state.contents[content];
  const uint8_t before = state.promised[frame.lsn];
  const bool reused = frame.mark == 0 && before != 0 && before != content;
  return reused ? "I3: an acknowledged LSN is given to another content" : "";
}

void WriteFrame(State& state, int inode, int block, uint8_t content) {
  const uint8_t salt = state.inodes[inode].visible[0].salt;
  WriteBlock(state, inode, block, {BlockKind::kHead, salt, content});
  for (int i = 1; i < state.contents[content].blocks; ++i) {
    WriteBlock(state, inode, block + i, {BlockKind::kBody, salt, content});
  }
}

void WriteHeaderOf(State& state, int number, bool keep_salt) {
  const int inode = state.names_visible[number];
  const uint8_t old = state.inodes[inode].visible[0].salt;
  const uint8_t salt = keep_salt && old != 0 ? old : ++state.salts;
  WriteBlock(state, inode, 0, {BlockKind::kHeader, salt, static_cast<uint8_t>(number)});
}

}  // namespace

State Steps::Initial() const {
  State state;
  state.frames_left = static_cast<uint8_t>(bounds_.frames);
  state.marks_left = 1;
  state.crashes_left = static_cast<uint8_t>(bounds_.crashes);
  state.failures_left = static_cast<uint8_t>(bounds_.failed_syncs);
  state.spares_left = static_cast<uint8_t>(bounds_.spares);
  TALLY_CHECK(bounds_.frames + 1 <= kContents);
  TALLY_CHECK(bounds_.spares + bounds_.crashes + 1 < kFiles);
  return state;
}

void Steps::ForEach(const State& state, const Emit& emit) const {
  switch (state.mode) {
    case Mode::kDown:
      return StartRecovery(state, emit);
    case Mode::kCreating:
      return Create(state, emit);
    case Mode::kRecovering:
      return Recover(state, emit);
    case Mode::kRunning:
      Commit(state, emit);
      return Keep(state, emit);
  }
}

void Steps::Create(const State& state, const Emit& emit) const {
  State next = state;
  if (!Broken(BrokenRule::kManifestNameNotSynced)) SyncManifestDir(next);
  next.mode = Mode::kDown;
  emit(next, {"create: sync the directory of the first manifest"});
}

// --- recovery ---

void Steps::StartRecovery(const State& state, const Emit& emit) const {
  const Plan plan = PlanRecovery(state, rule_);
  if (!plan.refused.empty()) return;  // the audit has said so
  State next = state;
  if (plan.create) {
    RenameManifest(next, Manifest{}, !Broken(BrokenRule::kManifestNotSynced));
    next.mode = Mode::kCreating;
    return emit(next, {"create: write, sync and rename the first manifest"});
  }
  next.mode = Mode::kRecovering;
  Recovery& recovery = next.recovery;
  recovery.number = plan.next_number;
  TALLY_CHECK(recovery.number <= kFiles);
  recovery.last = plan.last;
  recovery.next_frame = plan.next_frame;
  recovery.next_lsn = plan.next_lsn;
  recovery.found = plan.found;
  recovery.next = plan.next;
  AddListed(recovery.next, recovery.number);
  recovery.step = kSyncFound;
  const Step step{"recover: plan, {} files stay listed", plan.next.count};
  if (Broken(BrokenRule::kServedBeforeApply)) {
    for (int lsn = 1; lsn <= kContents; ++lsn) {
      if (recovery.found[lsn] != 0) next.promised[lsn] = recovery.found[lsn];
    }
  }
  emit(next, step);
}

void Steps::Recover(const State& state, const Emit& emit) const {
  State next = state;
  Recovery& recovery = next.recovery;
  const int number = recovery.number;
  const int inode = state.names_visible[number];
  ++recovery.step;
  switch (state.recovery.step) {
    case kSyncFound:
      if (!Broken(BrokenRule::kFoundNotSynced)) SyncManifestDir(next);
      if (!Broken(BrokenRule::kDeletedBeforeManifest)) recovery.step = kCreateFile;
      return emit(next, {"recover: sync the directory of the manifest that was found"});
    case kEarlyDelete:
      return DeleteUnlisted(state, kCreateFile, emit);
    case kCreateFile:
      CreateFile(next, number);
      return emit(next, {"recover: create wal/{}", number});
    case kWriteHeader:
      WriteHeaderOf(next, number, false);
      return emit(next, {"recover: write the header of wal/{}", number});
    case kCopyTail:
      if (recovery.last != 0 && !Broken(BrokenRule::kTailNotCopied)) {
        if (Broken(BrokenRule::kTailCopyNotSynced)) SyncFile(next, inode);
        WriteFrame(next, inode, 1, recovery.last);
      }
      return emit(next, {"recover: copy frame {} into wal/{}", state.contents[recovery.last].frame,
                         number});
    case kSyncNewFile:
      if (!Broken(BrokenRule::kTailCopyNotSynced) && !Broken(BrokenRule::kHeaderNotSynced)) {
        SyncFile(next, inode);
      }
      return emit(next, {"recover: sync wal/{}", number});
    case kSyncNewName:
      if (!Broken(BrokenRule::kWalNameNotSynced)) SyncWalDir(next);
      return emit(next, {"recover: sync the directory wal"});
    case kRenameRecovered:
      if (state.manifest_count == kManifests) return;
      RenameManifest(next, recovery.next, !Broken(BrokenRule::kManifestNotSynced));
      return emit(next, {"recover: write, sync and rename a manifest that lists wal/{}", number});
    case kSyncRecovered:
      if (!Broken(BrokenRule::kManifestNameNotSynced)) SyncManifestDir(next);
      return emit(next, {"recover: sync the directory of the manifest"});
    default:
      return DeleteUnlisted(state, -1, emit);
  }
}

// One name a step. With `next_step` < 0 serving follows.
void Steps::DeleteUnlisted(const State& state, int next_step, const Emit& emit) const {
  for (int number = 1; number <= kFiles; ++number) {
    if (state.names_visible[number] == 0 ||
        state.recovery.next.Lists(static_cast<uint8_t>(number))) {
      continue;
    }
    State next = state;
    RemoveName(next, number);
    return emit(next, {"recover: remove wal/{}", number});
  }
  if (next_step < 0) return Serve(state, emit);
  State next = state;
  next.recovery.step = static_cast<uint8_t>(next_step);
  emit(next, {"recover: nothing more to remove"});
}

void Steps::Serve(State state, const Emit& emit) const {
  const Recovery recovery = state.recovery;
  state.mode = Mode::kRunning;
  state.recovery = Recovery{};
  for (int lsn = 1; lsn <= kContents; ++lsn) {
    if (recovery.found[lsn] != 0) state.promised[lsn] = recovery.found[lsn];
  }
  Committer& committer = state.committer;
  committer.active = recovery.number;
  const bool copied = recovery.last != 0 && !Broken(BrokenRule::kTailNotCopied);
  committer.offset = static_cast<uint8_t>(1 + (copied ? state.contents[recovery.last].blocks : 0));
  committer.next_frame = recovery.next_frame;
  committer.next_lsn = recovery.next_lsn;
  if (Broken(BrokenRule::kLsnReused) && committer.next_lsn > 1) --committer.next_lsn;
  emit(state,
       {"serve: rows up to LSN {} are read, and answered as duplicates", recovery.next_lsn - 1});
}

// --- the committer ---

void Steps::Commit(const State& state, const Emit& emit) const {
  const Committer& committer = state.committer;
  if (committer.poisoned != 0) {
    if (Broken(BrokenRule::kMarkAfterPoison)) MarkAfterPoison(state, emit);
    return;
  }
  if (committer.content == 0) {
    for (int blocks = 1; blocks <= 2 && state.frames_left > 0; ++blocks) {
      StartFrame(state, blocks, false, emit);
    }
    if (state.marks_left > 0) StartFrame(state, 1, true, emit);
    if (Broken(BrokenRule::kTwoOutstanding)) StartTwoFrames(state, emit);
    return RollOver(state, emit);
  }
  const Content& content = state.contents[committer.content];
  if (committer.synced != 0) return Acknowledge(state, "acknowledge frame {} (LSN {})", emit);
  if (committer.written < content.blocks) {
    State next = state;
    const int inode = ActiveInode(state);
    const uint8_t salt = state.inodes[inode].visible[0].salt;
    WriteBlock(next, inode, committer.offset + committer.written,
               {BlockKind::kBody, salt, committer.content});
    ++next.committer.written;
    return emit(next, {"write the second block of frame {}", content.frame});
  }
  SyncFrame(state, emit);
}

void Steps::StartFrame(const State& state, int blocks, bool mark, const Emit& emit) const {
  const Committer& committer = state.committer;
  if (committer.offset + blocks - 1 > kDataBlocks) return;
  State next = state;
  --(mark ? next.marks_left : next.frames_left);
  next.committer.content = AddContent(next, committer.next_frame, committer.next_lsn, blocks, mark);
  next.committer.written = 1;
  const int inode = ActiveInode(state);
  const uint8_t salt = state.inodes[inode].visible[0].salt;
  WriteBlock(next, inode, committer.offset, {BlockKind::kHead, salt, next.committer.content});
  if (Broken(BrokenRule::kEarlyDuplicate)) Promise(next, next.committer.content);
  Step step{mark ? "write mark frame {} to wal/{}"
                 : (blocks == 1 ? "write frame {} to wal/{}"
                                : "write the first block of frame {} to wal/{}"),
            committer.next_frame, committer.active};
  if (!ListedDurably(state, committer.active)) {
    step.violation = "I5: a frame is written to a file that is not durably listed";
  }
  emit(next, step);
}

void Steps::StartTwoFrames(const State& state, const Emit& emit) const {
  const Committer& committer = state.committer;
  if (committer.offset + 1 > kDataBlocks || state.frames_left < 2) return;
  State next = state;
  next.frames_left -= 2;
  const int inode = ActiveInode(state);
  next.committer.content = AddContent(next, committer.next_frame, committer.next_lsn, 1, false);
  next.committer.second =
      AddContent(next, committer.next_frame + 1, committer.next_lsn + 1, 1, false);
  next.committer.written = 1;
  WriteFrame(next, inode, committer.offset, next.committer.content);
  WriteFrame(next, inode, committer.offset + 1, next.committer.second);
  emit(next,
       {"write frame {}, and the next one, to wal/{}", committer.next_frame, committer.active});
}

void Steps::RollOver(const State& state, const Emit& emit) const {
  const Committer& committer = state.committer;
  // A frame of two blocks is always to be expected.
  if (committer.spare == 0 || committer.offset + 1 <= kDataBlocks) return;
  State next = state;
  next.committer.sealed = committer.active;
  next.committer.sealed_end = static_cast<uint8_t>(committer.next_frame - 1);
  next.committer.sealed_end_lsn = static_cast<uint8_t>(committer.next_lsn - 1);
  next.committer.active = committer.spare;
  next.committer.spare = 0;
  next.committer.offset = 1;
  emit(next, {"roll over from wal/{} to wal/{}", committer.active, committer.spare});
}

void Steps::SyncFrame(const State& state, const Emit& emit) const {
  const Committer& committer = state.committer;
  const int inode = ActiveInode(state);
  if (Broken(BrokenRule::kAckBeforeSync) &&
      state.promised[state.contents[committer.content].lsn] == 0) {
    State next = state;
    Promise(next, committer.content);
    return emit(next,
                {"acknowledge frame {}, not synced", state.contents[committer.content].frame});
  }
  State next = state;
  if (!Broken(BrokenRule::kSyncSkipped)) SyncFile(next, inode);
  next.committer.synced = 1;
  emit(next, {"sync wal/{}", committer.active});
  if (state.failures_left == 0) return;
  ForEachFailedSync(state, inode, [&](const State& failed) {
    State after = failed;
    --after.failures_left;
    if (Broken(BrokenRule::kSyncRetried)) {
      after.committer.synced = 1;  // nothing is dirty any more: the second call succeeds
      return emit(after, {"sync wal/{} fails; the second call succeeds", committer.active});
    }
    after.committer.content = 0;
    after.committer.second = 0;
    after.committer.written = 0;
    after.committer.poisoned = 1;
    emit(after, {"sync wal/{} fails; the log is poisoned", committer.active});
  });
}

void Steps::Acknowledge(const State& state, std::string_view format, const Emit& emit) const {
  State next = state;
  Committer& committer = next.committer;
  Step step{format, committer.next_frame, committer.next_lsn};
  for (const uint8_t content : {committer.content, committer.second}) {
    if (content == 0) continue;
    if (step.violation.empty()) step.violation = ReuseViolation(state, content);
    Promise(next, content);
    committer.offset += state.contents[content].blocks;
    ++committer.next_frame;
    if (state.contents[content].mark == 0) ++committer.next_lsn;
  }
  if (state.contents[committer.content].mark != 0) step.format = "mark frame {} is in place";
  committer.content = 0;
  committer.second = 0;
  committer.written = 0;
  committer.synced = 0;
  emit(next, step);
}

void Steps::MarkAfterPoison(const State& state, const Emit& emit) const {
  const Committer& committer = state.committer;
  const uint8_t failed = state.content_count;
  const int block = committer.offset + state.contents[failed].blocks;
  if (state.marks_left == 0 || block > kDataBlocks) return;
  State next = state;
  --next.marks_left;
  const uint8_t mark = AddContent(next, committer.next_frame + 1, committer.next_lsn + 1, 1, true);
  const int inode = ActiveInode(state);
  WriteFrame(next, inode, block, mark);
  SyncFile(next, inode);
  emit(next, {"write and sync mark frame {} behind the failed one", committer.next_frame + 1});
}

// --- the keeper of the files ---

void Steps::Keep(const State& state, const Emit& emit) const {
  if (state.keeper.work == KeeperWork::kNone) return StartKeeping(state, emit);
  if (state.keeper.step < kRename) return PrepareSpare(state, emit);
  PublishManifest(state, emit);
}

void Steps::StartKeeping(const State& state, const Emit& emit) const {
  const Committer& committer = state.committer;
  if (committer.spare == 0 && committer.sealed == 0 && state.spares_left > 0) {
    uint8_t number = state.Newest().next_number;
    for (int other = 1; other <= kFiles; ++other) {
      if (state.names_visible[other] != 0) number = std::max<uint8_t>(number, other + 1);
    }
    TALLY_CHECK(number <= kFiles);
    State next = state;
    --next.spares_left;
    next.keeper.work = KeeperWork::kSpare;
    next.keeper.step = kHeader;
    next.keeper.number = number;
    const Manifest& manifest = state.Newest();
    uint8_t source = state.keeper.free;
    if (Broken(BrokenRule::kRecycledWhileListed) && manifest.count > 1)
      source = manifest.files[0].number;
    if (source != 0) {
      RenameFile(next, source, number);
      next.keeper.free = 0;
      emit(next, {"recycle: rename wal/{} to wal/{}", source, number});
    } else {
      CreateFile(next, number);
      emit(next, {"prepare: create wal/{}", number});
    }
  }
  // Its rows are in a segment now: the oldest file, if it is full.
  const Manifest& manifest = state.Newest();
  if (manifest.count < 2 || state.keeper.free != 0 || manifest.files[0].number == committer.active)
    return;
  State next = state;
  next.keeper.work = KeeperWork::kDrop;
  next.keeper.step = kRename;
  next.keeper.number = manifest.files[0].number;
  RenameNextManifest(next, emit);
}

void Steps::PrepareSpare(const State& state, const Emit& emit) const {
  State next = state;
  const int number = state.keeper.number;
  ++next.keeper.step;
  switch (state.keeper.step) {
    case kHeader:
      WriteHeaderOf(next, number, Broken(BrokenRule::kSaltKept));
      return emit(next, {"prepare: write the header of wal/{}", number});
    case kSync:
      if (!Broken(BrokenRule::kHeaderNotSynced)) SyncFile(next, state.names_visible[number]);
      return emit(next, {"prepare: sync wal/{}", number});
    default:
      if (!Broken(BrokenRule::kWalNameNotSynced)) SyncWalDir(next);
      if (Broken(BrokenRule::kOfferedBeforeListed))
        next.committer.spare = static_cast<uint8_t>(number);
      return emit(next, {"prepare: sync the directory wal"});
  }
}

void Steps::PublishManifest(const State& state, const Emit& emit) const {
  if (state.keeper.step == kRename) return RenameNextManifest(state, emit);
  State next = state;
  if (!Broken(BrokenRule::kManifestNameNotSynced)) SyncManifestDir(next);
  next.keeper = Keeper{};
  if (state.keeper.work == KeeperWork::kSpare) {
    next.keeper.free = state.keeper.free;
    if (!Broken(BrokenRule::kOfferedBeforeListed)) next.committer.spare = state.keeper.number;
    return emit(next, {"sync the directory of the manifest, offer wal/{}", state.keeper.number});
  }
  next.keeper.free = state.keeper.number;
  emit(next, {"sync the directory of the manifest, wal/{} is free", state.keeper.number});
}

void Steps::RenameNextManifest(const State& state, const Emit& emit) const {
  if (state.manifest_count == kManifests) return;
  State next = state;
  Committer& committer = next.committer;
  const uint8_t number = state.keeper.number;
  Manifest manifest = state.Newest();
  for (int i = 0; i < manifest.count; ++i) {
    if (manifest.files[i].number != committer.sealed) continue;
    manifest.files[i].end = committer.sealed_end;
    manifest.files[i].end_lsn = committer.sealed_end_lsn;
    committer.sealed = 0;
    committer.sealed_end = 0;
    committer.sealed_end_lsn = 0;
  }
  const bool drop = state.keeper.work == KeeperWork::kDrop;
  if (drop || (Broken(BrokenRule::kRecycledWhileListed) &&
               state.names_visible[manifest.files[0].number] == 0)) {
    manifest.first_frame = static_cast<uint8_t>(manifest.files[0].end + 1);
    manifest.first_lsn = static_cast<uint8_t>(manifest.files[0].end_lsn + 1);
    std::copy(manifest.files.begin() + 1, manifest.files.end(), manifest.files.begin());
    manifest.files[--manifest.count] = Listed{};
  }
  if (!drop) AddListed(manifest, number);
  RenameManifest(next, manifest, !Broken(BrokenRule::kManifestNotSynced));
  next.keeper.step = kSyncManifest;
  emit(next, {drop ? "write, sync and rename a manifest without wal/{}"
                   : "write, sync and rename a manifest that lists wal/{}",
              number});
}

}  // namespace tallystick::wal_protocol
