#include "testing/wal_protocol.h"

#include <algorithm>
#include <array>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <utility>

#include "testing/model_explorer.h"
#include "testing/wal_protocol_disk.h"
#include "testing/wal_protocol_steps.h"

namespace tallystick {
namespace wal_protocol {
namespace {

class Auditor {
 public:
  explicit Auditor(BrokenRule rule) : rule_(rule) {}

  // The first invariant that a recovery of this directory would break; empty: none.
  std::string Recoverable(const State& state) {
    const Plan plan = PlanRecovery(state, rule_);
    ++recoveries_;
    if (!plan.refused.empty()) return "I2: recovery refuses: " + std::string(plan.refused);
    return Lost(state, plan) ? "I1, I4: what was acknowledged or served is lost" : "";
  }

  // Damages what has a successor, a block at a time.
  std::string Rotten(const State& state) {
    State rotten = state;
    Manifest& newest = rotten.manifests[rotten.manifest_count - 1];
    if (newest.exists != 0) {
      newest.damaged = 1;
      if (PassedOver(rotten)) return "I6: a damaged newest manifest is passed over";
      newest.damaged = 0;
    }
    const Plan whole = PlanRecovery(state, rule_);
    if (whole.last == 0) return "";
    const Manifest& manifest = state.Newest();
    for (int i = 0; i < manifest.count; ++i) {
      const int inode = state.names_visible[manifest.files[i].number];
      for (int block = 1; block <= kDataBlocks; ++block) {
        const auto frame = FrameAt(state, inode, block);
        if (!frame.has_value() ||
            state.contents[*frame].frame >= state.contents[whole.last].frame) {
          continue;
        }
        const Block good = state.inodes[inode].visible[block];
        for (const Block bad : {Block{}, Block{BlockKind::kTorn, good.salt, 0}}) {
          rotten.inodes[inode].visible[block] = bad;
          if (PassedOver(rotten)) return "I6: a rotten frame is passed over";
        }
        rotten.inodes[inode].visible[block] = good;
      }
    }
    return "";
  }

  uint64_t recoveries() const { return recoveries_; }

 private:
  static bool Lost(const State& state, const Plan& plan) {
    for (int lsn = 1; lsn <= kContents; ++lsn) {
      if (state.promised[lsn] != 0 && plan.found[lsn] != state.promised[lsn]) return true;
    }
    return false;
  }
  bool PassedOver(const State& state) {
    const Plan plan = PlanRecovery(state, rule_);
    ++recoveries_;
    return plan.refused.empty() && Lost(state, plan);
  }

  const BrokenRule rule_;
  uint64_t recoveries_ = 0;
};

// The model as model_explorer.h wants it.
class Model {
 public:
  using State = wal_protocol::State;

  Model(BrokenRule rule, const WalProtocolBounds& bounds) : steps_(rule, bounds), auditor_(rule) {}

  State Initial() const { return steps_.Initial(); }

  // Crashes included.
  void ForEachSuccessor(const State& state, const Emit& emit) const {
    steps_.ForEach(state, emit);
    if (state.crashes_left == 0) return;
    if (state.mode != Mode::kDown) {
      State killed = state;
      Kill(killed);
      TakeCrash(killed);
      emit(killed, {"KILL"});
    }
    int code = 0;
    ForEachPowerCut(state, [&](const State& left) {
      State after = left;
      TakeCrash(after);
      emit(after, {"POWER CUT (survivors {})", code++});
    });
  }

  // The state as the next process would find it, killed or after any power cut. What the process is
  // about to do makes no difference to that.
  std::string Audit(const State& state, std::string* last) {
    if (!audited_.insert(XXH3_64bits(&state, offsetof(State, mode))).second) return "";
    *last = "KILL";
    std::string violation = auditor_.Recoverable(state);
    if (!violation.empty()) return violation;
    *last = "one block rots, KILL";
    violation = auditor_.Rotten(state);
    int code = 0;
    if (!violation.empty()) return violation;
    ForEachPowerCut(state, [&](const State& left) {
      if (violation.empty()) {
        violation = auditor_.Recoverable(left);
        *last = "POWER CUT (survivors " + std::to_string(code) + ")";
      }
      ++code;
    });
    return violation;
  }

  uint64_t recoveries() const { return auditor_.recoveries(); }

 private:
  // After the last crash one frame is enough: every state is audited against one more crash anyway.
  static void TakeCrash(State& state) {
    if (--state.crashes_left > 0) return;
    state.frames_left = std::min<uint8_t>(state.frames_left, 1);
    state.marks_left = 0;
    state.failures_left = 0;
    state.spares_left = 0;
  }

  const Steps steps_;
  Auditor auditor_;
  boost::unordered_flat_set<uint64_t> audited_;
};

}  // namespace
}  // namespace wal_protocol

WalProtocolResult ExploreWalProtocol(BrokenRule rule, const WalProtocolBounds& bounds) {
  wal_protocol::Model model(rule, bounds);
  WalProtocolResult result = ModelExplorer(model).Run();
  result.recoveries = model.recoveries();
  return result;
}

namespace {

constexpr std::pair<BrokenRule, std::string_view> kNames[] = {
    {BrokenRule::kAckBeforeSync, "ack_before_sync"},
    {BrokenRule::kSyncSkipped, "sync_skipped"},
    {BrokenRule::kEarlyDuplicate, "early_duplicate"},
    {BrokenRule::kSyncRetried, "sync_retried"},
    {BrokenRule::kMarkAfterPoison, "mark_after_poison"},
    {BrokenRule::kTwoOutstanding, "two_outstanding"},
    {BrokenRule::kWalNameNotSynced, "wal_name_not_synced"},
    {BrokenRule::kHeaderNotSynced, "header_not_synced"},
    {BrokenRule::kOfferedBeforeListed, "offered_before_listed"},
    {BrokenRule::kManifestNotSynced, "manifest_not_synced"},
    {BrokenRule::kManifestNameNotSynced, "manifest_name_not_synced"},
    {BrokenRule::kFoundNotSynced, "found_not_synced"},
    {BrokenRule::kTailNotCopied, "tail_not_copied"},
    {BrokenRule::kTailCopyNotSynced, "tail_copy_not_synced"},
    {BrokenRule::kDeletedBeforeManifest, "deleted_before_manifest"},
    {BrokenRule::kServedBeforeApply, "served_before_apply"},
    {BrokenRule::kSaltKept, "salt_kept"},
    {BrokenRule::kRecycledWhileListed, "recycled_while_listed"},
    {BrokenRule::kMidLogTruncated, "mid_log_truncated"},
    {BrokenRule::kOlderManifestTaken, "older_manifest_taken"},
    {BrokenRule::kLsnReused, "lsn_reused"},
};

constexpr auto kRules = RulesOf(kNames);

}  // namespace

std::span<const BrokenRule> AllBrokenRules() { return kRules; }

std::string_view BrokenRuleName(BrokenRule rule) { return NameOfRule(kNames, rule); }

}  // namespace tallystick
