// The simulation: a machine under a seed, with clients that send, resend, contradict and correct at
// the same time, reads at past LSNs, clocks that jump, disks that fill up and fail, crashes and
// restarts. All answers are held against the reference model.
//
// A failing seed prints the command that runs it alone.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "testing/fault_fs.h"
#include "testing/machine.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/sim_env.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

struct Counts {
  uint64_t seeds = 0, requests = 0, rows = 0, reads = 0, crashes = 0, faults = 0, restarts = 0;
  uint64_t flushes = 0, sidecars_damaged = 0, rolled_up = 0, times_settled = 0, scrubs = 0;
  uint64_t compactions = 0;
};
Counts counts;

constexpr char kSegments[] = "data/segments";

class Simulation {
 public:
  explicit Simulation(uint64_t seed)
      : random_(seed), machine_(seed, RandomOptions()), faults_(machine_.fs()) {
    faults_.SetOnFailedSync([this](const std::string& path) { machine_.fs().LoseDirty(path); });
    machine_.SetFileSystem(&faults_);
  }
  ~Simulation() {
    machine_.Halt();
    counts.compactions += machine_.compactions();
  }

  // What is wrong; empty: nothing.
  std::string Run() {
    Start();
    const uint64_t actions = 30 + random_.Below(90);
    for (uint64_t i = 0; i < actions && wrong_.empty(); ++i) Act();
    if (wrong_.empty()) Finish();
    counts.rows += model_.rows_known();
    counts.rolled_up += model_.rolled_up();
    return wrong_;
  }

 private:
  OpenOptions RandomOptions() {
    OpenOptions options = SmallOptions(random_.OneIn(2));
    options.wal_file_bytes = (7 + random_.Below(12)) * 4096;
    options.commit_gap_us = static_cast<uint32_t>(random_.Below(3) * 400);
    options.mark_idle_ms = static_cast<uint32_t>(1 + random_.Below(20));
    options.group_bytes_max = static_cast<uint32_t>(1024 + random_.Below(20'000));
    options.commit_wake_bytes = static_cast<uint32_t>(random_.Below(4096));
    options.memtables_max = static_cast<uint32_t>(1 + random_.Below(4));
    options.key_tables_max = options.memtables_max + static_cast<uint32_t>(random_.Below(6));
    options.segment_group_rows = static_cast<uint32_t>(1 + random_.Below(9));
    options.rollup_rows_per_line_min = static_cast<uint32_t>(1 + random_.Below(3));
    if (random_.OneIn(3)) options.flush_on_close_ms_max = 0;
    if (random_.OneIn(3)) options.memtable_age_ms_max = 20 + random_.Below(200);
    if (random_.OneIn(4)) options.dedupe_memory_bytes_max = 0;  // no filter is loaded
    options.compaction_fan_in = random_.OneIn(8) ? 0 : static_cast<uint32_t>(2 + random_.Below(3));
    if (random_.OneIn(3)) options.compaction_rows_max = 20 + random_.Below(200);
    if (random_.OneIn(2)) options.scrub_bytes_per_second = 20'000 + random_.Below(1'000'000);
    // Longer than a pass: else no machine ever comes to rest.
    options.scrub_interval_s = 200 + random_.Below(2000);
    return options;
  }

  void Note(const std::string& wrong) {
    if (wrong_.empty()) wrong_ = wrong;
  }

  void Act() {
    switch (random_.Below(25)) {
      case 0:
        return CrashSoon();
      case 1:
        return CrashNow();
      case 2:
        return ReopenInOrder();
      case 3:
      case 4:
        return SetFault();
      case 5:
        faults_.Set(std::nullopt);
        return;
      case 6:
        // Backwards too, and far.
        machine_.clock().JumpWall((static_cast<int64_t>(random_.Below(2'000)) - 1'000) *
                                  60'000'000);
        return;
      case 7:
        machine_.clock().Advance(static_cast<int64_t>(random_.Below(1'000'000)));
        return;
      case 8:
      case 9:
      case 10:
        return Read();
      case 11:
        machine_.RunUntilIdle();
        return AfterSteps();
      case 12:
        return ReadAsOfATime();
      default:
        for (uint64_t i = 1 + random_.Below(3); i > 0 && machine_.is_open(); --i) Send();
        return RunSome();
    }
  }

  Event RandomEvent() {
    const bool known = next_id_ > 0 && random_.OneIn(3);
    const int id = known ? static_cast<int>(random_.Below(next_id_)) : static_cast<int>(next_id_++);
    const int variant = random_.OneIn(5) ? static_cast<int>(random_.Below(3)) : 0;
    // An id's size goes with the id, so that a resend is the same event.
    return SmallEvent(id, variant, id % 7 == 3 ? 1 : 0);
  }

  void Send() {
    auto request = std::make_shared<std::vector<Event>>();
    for (uint64_t i = 1 + random_.Below(random_.OneIn(4) ? 12 : 4); i > 0; --i) {
      request->push_back(RandomEvent());
    }
    ++counts.requests;
    model_.Sent(*request);
    auto answered = [this, request](Result<IngestResult> result) {
      if (machine_.crashed() || !result.ok()) return;  // unheard, or "maybe"
      Note(model_.Answered(*request, *result));
    };
    machine_.db().IngestAsync(machine_.MakeBatch(*request), std::move(answered),
                              {.originals = true});
  }

  void RunSome() {
    for (uint64_t i = random_.Below(8); i > 0 && machine_.is_open(); --i)
      machine_.executor().RunOne();
    AfterSteps();
  }

  void AfterSteps() {
    if (machine_.crashed()) Restart();
  }

  // A scrub beside everything else may find what was damaged on purpose, and calls that fail;
  // nothing else is ever wrong.
  void CheckScrub() {
    const ScrubStatus scrub = machine_.db().GetStatus().scrub;
    for (const ScrubFinding& finding : scrub.findings) {
      const bool sibling = finding.file.ends_with(".idx") || finding.file.ends_with(".sum");
      const bool damage = finding.offset.has_value() || finding.what.starts_with("is ");
      if (damage && !(sibling && damaged_)) {
        Note(fmt::format("scrub, false alarm: {}: {}", finding.file, finding.what));
      }
    }
    counts.scrubs += scrub.passes;
  }

  void Read() {
    if (!machine_.is_open()) return;
    CheckScrub();
    faults_.Set(std::nullopt);  // what a read does on a failing disk: fault tests
    ++counts.reads;
    std::string wrong;
    if (random_.OneIn(2) || model_.learned() < model_.said()) wrong = model_.Learn(machine_.db());
    const Lsn lsn{random_.Below(model_.learned().value + 1)};
    const uint64_t seed = random_.Next64();
    if (wrong.empty()) wrong = model_.CheckQueries(machine_.db(), lsn, seed);
    if (machine_.crashed()) return Restart();  // in the middle of a read
    Note(wrong);
  }

  // Where the log takes a mark, the time has its LSN for ever, whatever is committed, crashes, or
  // happens to the clock.
  void ReadAsOfATime() {
    if (!machine_.is_open()) return;
    const int64_t now_us = machine_.clock().WallMicros();
    const int64_t at_us =
        now_us - static_cast<int64_t>(random_.OneIn(2) ? 0 : random_.Below(5'000'000));
    const auto lsn = machine_.LsnAt(at_us);
    if (machine_.crashed()) return Restart();
    if (!lsn.ok()) return;
    faults_.Set(std::nullopt);
    ++counts.times_settled;
    settled_[at_us] = *lsn;
    CheckSettledTimes();
  }

  void CheckSettledTimes() {
    if (settled_.empty() || machine_.db().GetStatus().read_only) return;
    for (const auto& [at_us, lsn] : settled_) {
      const auto again = machine_.LsnAt(at_us);
      if (machine_.crashed()) return Restart();
      if (!again.ok()) return Note("as of a settled time: " + again.status().ToString());
      if (*again != lsn) {
        return Note(
            fmt::format("as of {} us was LSN {}, and is now {}", at_us, lsn.value, again->value));
      }
    }
  }

  void SetFault() {
    static constexpr FaultOp kOps[] = {FaultOp::kWrite,  FaultOp::kSync,   FaultOp::kSyncDir,
                                       FaultOp::kRename, FaultOp::kCreate, FaultOp::kShortWrite,
                                       FaultOp::kRemove, FaultOp::kRead,   FaultOp::kShortRead,
                                       FaultOp::kOpen,   FaultOp::kList,   FaultOp::kTruncate};
    static constexpr int kErrors[] = {EIO, ENOSPC, EDQUOT, EMFILE};
    ++counts.faults;
    faults_.Set(Fault{kOps[random_.Below(std::size(kOps))], random_.Below(6), random_.OneIn(4),
                      kErrors[random_.Below(std::size(kErrors))]});
  }

  void CrashSoon() {
    machine_.CrashAfter(1 + random_.Below(25));
    for (uint64_t i = random_.Below(4); i > 0 && machine_.is_open(); --i) Send();
    RunSome();
  }

  void CrashNow() {
    machine_.Halt();
    Restart();
  }

  void ReopenInOrder() {
    if (!machine_.is_open()) return Restart();
    CheckScrub();
    IgnoreError(machine_.Close(), "a poisoned log says so at its close");
    if (machine_.crashed()) return Restart();
    Start();
  }

  void Restart() {
    ++counts.crashes;
    machine_.Halt();
    machine_.Restart(random_.OneIn(2) ? CrashKind::kKill : CrashKind::kPowerCut, random_.Next64());
    if (random_.OneIn(3)) {
      machine_.clock().JumpWall((static_cast<int64_t>(random_.Below(200)) - 100) * 3'600'000'000);
    }
    if (random_.OneIn(3)) DamageSidecars();
    if (random_.OneIn(3)) machine_.CrashAfter(1 + random_.Below(30));
    Start();
  }

  // Between two lives: sidecars and rollups deleted, cut, garbled, or put in another's place.
  void DamageSidecars() {
    SimFs& fs = machine_.fs();
    faults_.Set(std::nullopt);
    auto names = fs.List(kSegments);
    if (!names.ok()) return;
    std::erase_if(*names, [](const std::string& name) {
      return !name.ends_with(".idx") && !name.ends_with(".sum");
    });
    std::ranges::sort(*names);
    if (names->empty()) return;
    for (const std::string& name : *names) {
      if (!random_.OneIn(2)) continue;
      ++counts.sidecars_damaged;
      damaged_ = true;
      Damage(JoinPath(kSegments, name),
             JoinPath(kSegments, (*names)[random_.Below(names->size())]));
    }
  }

  void Damage(const std::string& path, const std::string& other) {
    SimFs& fs = machine_.fs();
    auto content = ReadWholeFile(fs, random_.OneIn(4) ? other : path, 1 << 20);
    if (!content.ok() || content->empty()) return;
    Bytes& bytes = *content;
    if (random_.OneIn(3)) bytes.resize(random_.Below(bytes.size()));
    for (uint64_t i = random_.Below(3); i > 0 && !bytes.empty(); --i) {
      bytes[random_.Below(bytes.size())] ^= std::byte{0x40};
    }
    IgnoreError(fs.Remove(path), "damaged on purpose");
    if (random_.OneIn(3)) return;
    auto file = fs.Open(path, OpenMode::kCreateNew);
    if (!file.ok()) return;
    IgnoreError(WriteFully(**file, 0, bytes), "damaged on purpose");
    IgnoreError((*file)->Sync(), "damaged on purpose");
    IgnoreError(fs.SyncDir(kSegments), "damaged on purpose");
  }

  // Until everything was scrubbed, and the sidecars are rebuilt; the pauses between attempts are
  // long.
  void Settle() {
    for (int i = 0; i < 100; ++i) {
      machine_.RunUntilIdle();
      const DbStatus status = machine_.db().GetStatus();
      if (status.sidecars_unknown == 0 && status.scrub.passes > 0) return;
      machine_.clock().Advance(5'000'000);
    }
    Note("a sidecar is not rebuilt, or nothing is scrubbed, on a whole disk");
  }

  // A start may crash, or be refused by a failing disk; then the disk is mended.
  void Start() {
    for (int tries = 0; tries < 20 && wrong_.empty(); ++tries) {
      ++counts.restarts;
      const Status status = machine_.Open();
      std::string wrong;
      if (status.ok() && !machine_.crashed() && random_.OneIn(2)) {
        wrong = model_.Learn(machine_.db());
      }
      if (status.ok() && !machine_.crashed()) return Note(wrong);
      if (!machine_.crashed() && faults_.fired() == 0)
        return Note("a start is refused: " + status.ToString());
      if (status.code() == StatusCode::kCorruption)
        return Note("false alarm: " + status.ToString());
      machine_.Halt();
      faults_.Set(std::nullopt);
      machine_.Restart(random_.OneIn(2) ? CrashKind::kKill : CrashKind::kPowerCut,
                       random_.Next64());
    }
  }

  // The disk is whole again; everything ever said must be there, once.
  void Finish() {
    machine_.Halt();
    faults_.Set(std::nullopt);
    machine_.Restart(CrashKind::kPowerCut, random_.Next64());
    Start();
    if (wrong_.empty()) Settle();
    if (wrong_.empty()) Note(model_.Learn(machine_.db()));
    for (int i = 0; i < 8 && wrong_.empty(); ++i) {
      Note(model_.CheckQueries(machine_.db(), {random_.Below(model_.learned().value + 1)},
                               random_.Next64()));
    }
    if (wrong_.empty()) Resend();
    if (!wrong_.empty()) return;
    CheckSettledTimes();
    CheckScrub();
    counts.flushes += machine_.db().GetStatus().segments;
    auto verified = machine_.db().Verify({});
    if (!verified.ok()) return Note("verify: " + verified.status().ToString());
    if (!verified->faults.empty()) return Note("verify: " + verified->faults.front());
    if (verified->rows != model_.rows_known()) Note("verify counts other rows");
    if (machine_.fs().retried_syncs() > 0) Note("a failed sync was tried again");
  }

  void Resend() {
    const std::vector<Event> everything = model_.Everything();
    for (size_t at = 0; at < everything.size() && wrong_.empty(); at += 4) {
      const std::vector<Event> some(
          everything.begin() + static_cast<ptrdiff_t>(at),
          everything.begin() + static_cast<ptrdiff_t>(std::min(at + 4, everything.size())));
      auto answer = machine_.IngestInTheEnd(some);
      Note(answer.ok() ? model_.CheckResent(some, *answer)
                       : "resending: " + answer.status().ToString());
    }
  }

  SeededRandom random_;
  Machine machine_;
  FaultFs faults_;
  ReferenceModel model_;
  uint64_t next_id_ = 0;
  bool damaged_ = false;            // a sidecar or a rollup, at some time
  std::map<int64_t, Lsn> settled_;  // times that were said to have this LSN
  std::string wrong_;
};

TEST(SimulationTest, RandomLivesKeepEveryPromise) {
  const uint64_t one = NumberFromEnvironment("TALLY_SEED", 0);
  const uint64_t first = one != 0 ? one : NumberFromEnvironment("TALLY_FIRST_SEED", 1);
  uint64_t seeds = 2'500;
  if (ChosenEffort() == Effort::kSoak) seeds = 25'000;
  if (ChosenEffort() == Effort::kQuick) seeds = 600;
  if (one != 0) seeds = 1;
  int failures = 0;
  for (uint64_t seed = first; seed < first + seeds && failures < 3; ++seed) {
    ++counts.seeds;
    const std::string wrong = Simulation(seed).Run();
    if (wrong.empty()) continue;
    ++failures;
    ADD_FAILURE() << "seed " << seed << ": " << wrong << "\nrerun: TALLY_SEED=" << seed
                  << " simulation_test";
  }
  ReportTried(
      fmt::format("simulation seeds={} requests={} rows={} reads={} faults={} crashes={} starts={} "
                  "segments_at_the_end={} compactions={} sidecars_damaged={} rolled_up={} "
                  "times_settled={} scrubs={}",
                  counts.seeds, counts.requests, counts.rows, counts.reads, counts.faults,
                  counts.crashes, counts.restarts, counts.flushes, counts.compactions,
                  counts.sidecars_damaged, counts.rolled_up, counts.times_settled, counts.scrubs));
  EXPECT_GT(counts.rows, 0u);
  EXPECT_GT(counts.rolled_up, 0u);
  EXPECT_GT(counts.compactions, counts.seeds / 10);
  EXPECT_GT(counts.times_settled, 0u);
  EXPECT_GT(counts.scrubs, 0u);
}

TEST(SimulationTest, TheSameSeedIsTheSameLife) {
  counts = {};
  const std::string wrong = Simulation(42).Run();
  const Counts before = counts;
  counts = {};
  EXPECT_EQ(Simulation(42).Run(), wrong);
  EXPECT_EQ(counts.rows, before.rows);
  EXPECT_EQ(counts.restarts, before.restarts);
}

}  // namespace
}  // namespace tallystick
