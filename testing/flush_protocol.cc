#include "testing/flush_protocol.h"

#include <algorithm>
#include <array>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <string>
#include <utility>

#include "testing/flush_protocol_disk.h"
#include "testing/flush_protocol_steps.h"
#include "testing/model_explorer.h"

namespace tallystick {
namespace flush_protocol {
namespace {

// The model as model_explorer.h wants it.
class Model {
 public:
  using State = flush_protocol::State;

  Model(BrokenFlushRule rule, const FlushProtocolBounds& bounds)
      : rule_(rule), bounds_(bounds), steps_(rule, bounds) {}

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

  std::string Audit(const State& state, std::string* last) {
    *last = "this state";
    std::string violation = InUse(state);
    if (!violation.empty()) return violation;
    if (state.mode == Mode::kRecovering) {
      *last = "KILL";
      const Plan plan = PlanRecovery(state, rule_);
      if (plan.refused.empty() && plan.found != state.process.rows) {
        return "F5: the next recovery finds other rows";
      }
    }
    // What the process is about to do makes no difference to the next one.
    if (!audited_.insert(XXH3_64bits(&state, offsetof(State, mode))).second) return "";
    return AuditDirectory(state, last);
  }

  uint64_t recoveries() const { return recoveries_; }

 private:
  // After the last crash nothing else goes wrong: every state is audited against one more anyway.
  static void TakeCrash(State& state) {
    if (--state.crashes_left > 0) return;
    state.failures_left = 0;
    state.spares_left = 0;
  }

  // The database as it is now, for who reads it.
  static std::string InUse(const State& state) {
    if (state.mode != Mode::kRunning && state.mode != Mode::kClosing) return "";
    const Process& process = state.process;
    int last = 0;
    for (int i = 0; i < process.run_count; ++i) {
      const ListedRun& run = process.runs[i];
      if (run.first != last + 1) return "F4: the segments do not tile";
      last = run.last;
    }
    for (int i = 0; i < process.sealed_count; ++i) {
      if (process.sealed[i].last <= last) return "F4: a row is in a segment and in memory";
      last = process.sealed[i].last;
    }
    return last > process.visible ? "F4: segments and memtables reach above the visible LSN" : "";
  }

  // The directory as the next process would find it, killed or after any power cut.
  std::string AuditDirectory(const State& state, std::string* last) {
    *last = "KILL";
    std::string violation = Recoverable(state);
    if (!violation.empty()) return violation;
    *last = "something rots, KILL";
    violation = Rotten(state);
    if (!violation.empty()) return violation;
    int code = 0;
    ForEachPowerCut(state, [&](const State& left) {
      if (violation.empty()) {
        violation = Recoverable(left);
        *last = "POWER CUT (survivors " + std::to_string(code) + ")";
      }
      ++code;
    });
    return violation;
  }

  static bool Lost(const State& state, const Plan& plan) {
    for (int lsn = 1; lsn <= kLsns; ++lsn) {
      if (state.promised[lsn] != 0 && plan.found[lsn] != state.promised[lsn]) return true;
    }
    return false;
  }

  static bool StoredTwice(const Plan& plan) {
    for (int lsn = 1; lsn <= kLsns; ++lsn) {
      if (plan.found[lsn] != 0 && std::ranges::count(plan.found, plan.found[lsn]) > 1) return true;
    }
    return false;
  }

  std::string Recoverable(const State& state) {
    const Plan plan = PlanRecovery(state, rule_);
    ++recoveries_;
    if (!plan.refused.empty()) return "F3: recovery refuses: " + std::string(plan.refused);
    if (Lost(state, plan)) return "F1: what was acknowledged or served is lost";
    if (StoredTwice(plan)) return "F2: an event is stored twice";
    for (int i = 0; i < plan.next.run_count && !bounds_.safety_only; ++i) {
      const uint8_t number = plan.next.runs[i].number;
      if ((state.promised_sidecars & Bit(number)) != 0 &&
          state.segments[number].keys_file.visible != kWhole) {
        return "F7: an installed sidecar is gone";
      }
    }
    return "";
  }

  bool PassedOver(const State& state) {
    const Plan plan = PlanRecovery(state, rule_);
    ++recoveries_;
    return plan.refused.empty() && Lost(state, plan);
  }

  std::string Rotten(const State& state) {
    State rotten = state;
    rotten.manifests[rotten.manifest_count - 1].damaged = 1;
    if (PassedOver(rotten)) return "F6: a damaged newest manifest is passed over";
    rotten = state;
    const Plan whole = PlanRecovery(state, rule_);
    bool proof = false;
    for (uint8_t number = 1; number <= kSegments; ++number) {
      const Segment& segment = state.segments[number];
      proof = proof || (segment.rows_file.visible == kWhole && segment.last == whole.last);
    }
    if (!proof || whole.last_log == 0) return "";
    for (Log& log : rotten.logs) log.rows[whole.last] = 0;
    return PassedOver(rotten) ? "F6: the log has lost its end, and is believed" : "";
  }

  const BrokenFlushRule rule_;
  const FlushProtocolBounds bounds_;
  const Steps steps_;
  boost::unordered_flat_set<uint64_t> audited_;
  uint64_t recoveries_ = 0;
};

}  // namespace
}  // namespace flush_protocol

ModelResult ExploreFlushProtocol(BrokenFlushRule rule, const FlushProtocolBounds& bounds) {
  flush_protocol::Model model(rule, bounds);
  ModelResult result = ModelExplorer(model).Run();
  result.recoveries = model.recoveries();
  return result;
}

namespace {

using Rule = BrokenFlushRule;

constexpr std::pair<Rule, std::string_view> kNames[] = {
    {Rule::kSegmentNotSynced, "segment_not_synced"},
    {Rule::kSegmentNameNotSynced, "segment_name_not_synced"},
    {Rule::kManifestNameNotSynced, "manifest_name_not_synced"},
    {Rule::kLogFreedEarly, "log_freed_early"},
    {Rule::kSegmentRemovedInDoubt, "segment_removed_in_doubt"},
    {Rule::kMemtableKept, "memtable_kept"},
    {Rule::kLogDroppedUnflushed, "log_dropped_unflushed"},
    {Rule::kFlushedBeforeRecovered, "flushed_before_recovered"},
    {Rule::kLastRowNotCopied, "last_row_not_copied"},
    {Rule::kOrphansDeletedEarly, "orphans_deleted_early"},
    {Rule::kOlderManifestTaken, "older_manifest_taken"},
    {Rule::kLostLogPassedOver, "lost_log_passed_over"},
    {Rule::kKeysUnknownNotCompared, "keys_unknown_not_compared"},
    {Rule::kDroppedNotSaid, "dropped_not_said"},
    {Rule::kKeysDroppedOutOfOrder, "keys_dropped_out_of_order"},
    {Rule::kKeysDroppedEarly, "keys_dropped_early"},
    {Rule::kProbeErrorIsNew, "probe_error_is_new"},
    {Rule::kCorruptIsEmpty, "corrupt_is_empty"},
    {Rule::kMissingIsEmpty, "missing_is_empty"},
    {Rule::kSidecarNotSynced, "sidecar_not_synced"},
    {Rule::kSidecarNameNotSynced, "sidecar_name_not_synced"},
    {Rule::kRebuiltNotSynced, "rebuilt_not_synced"},
    {Rule::kRebuiltNameNotSynced, "rebuilt_name_not_synced"},
};

constexpr auto kRules = RulesOf(kNames);

}  // namespace

std::span<const BrokenFlushRule> AllBrokenFlushRules() { return kRules; }

std::string_view BrokenFlushRuleName(BrokenFlushRule rule) { return NameOfRule(kNames, rule); }

}  // namespace tallystick
