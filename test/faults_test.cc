// Failing calls: in every scenario the 1st, 2nd, 3rd ... call of each kind fails with each error,
// once or from then on. The promises hold: what was said stays, nothing counts twice, a failed log
// file is left alone, and the next start, on a disk that works again, finds everything.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "testing/fault_fs.h"
#include "testing/machine.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/trace_fs.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

uint64_t faults_tried = 0;

struct Kind {
  FaultOp op;
  std::vector<int> errors;
};

const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds = {
      {FaultOp::kOpen, {EIO, EMFILE}},
      {FaultOp::kCreate, {EIO, ENOSPC, EMFILE, EROFS, EINVAL}},
      {FaultOp::kRead, {EIO}},
      {FaultOp::kShortRead, {EIO}},
      {FaultOp::kWrite, {EIO, ENOSPC, EDQUOT}},
      {FaultOp::kShortWrite, {EIO}},
      {FaultOp::kSync, {EIO, ENOSPC, EDQUOT}},
      {FaultOp::kTruncate, {EIO}},
      {FaultOp::kMkdir, {EIO, ENOSPC, EROFS}},
      {FaultOp::kRemove, {EIO}},
      {FaultOp::kRename, {EIO, ENOSPC, EDQUOT}},
      {FaultOp::kSyncDir, {EIO, ENOSPC, EDQUOT}},
      {FaultOp::kList, {EIO, EMFILE}},
      {FaultOp::kExists, {EIO}},
      {FaultOp::kLock, {EIO, EMFILE}},
  };
  return kinds;
}

bool ReadsOnly(FaultOp op) {
  return op == FaultOp::kRead || op == FaultOp::kShortRead || op == FaultOp::kList ||
         op == FaultOp::kExists;
}

// Short calls are not errors: the engine must go on as if nothing had been.
bool IsHarmless(FaultOp op) { return op == FaultOp::kShortRead || op == FaultOp::kShortWrite; }

// A machine whose calls can be made to fail, and are written down.
struct Rig {
  explicit Rig(const Scenario& scenario) : machine(77, scenario.options) { Attach(); }
  explicit Rig(Machine&& forked) : machine(std::move(forked)) { Attach(); }

  void Attach() {
    faults = std::make_unique<FaultFs>(machine.fs());
    faults->SetOnFailedSync([this](const std::string& path) { machine.fs().LoseDirty(path); });
    trace = std::make_unique<TraceFs>(*faults, "data");
    machine.SetFileSystem(trace.get());
  }
  ~Rig() { machine.Halt(); }
  Rig(const Rig&) = delete;

  // The disk works again, in the next process.
  void RestartOnGoodDisk(CrashKind kind, uint64_t seed) {
    machine.Halt();
    faults->Set(std::nullopt);
    machine.Restart(kind, seed);
  }

  Machine machine;
  std::unique_ptr<FaultFs> faults;
  std::unique_ptr<TraceFs> trace;
  ReferenceModel model;
};

std::map<std::string, Bytes> Snapshot(Machine& machine) {
  std::map<std::string, Bytes> all;
  for (const std::string& path : machine.fs().AllFiles()) {
    if (!path.ends_with("/LOCK")) all[path] = *machine.fs().Content(path);
  }
  return all;
}

// After a failed write or sync of a log file nothing more may go to it, no second sync, no mark.
std::string TouchedAfterFailure(const TraceFs& trace) {
  std::set<std::string> failed;
  for (const std::string& line : trace.lines()) {
    const bool write = line.starts_with("write wal/"), sync = line.starts_with("sync wal/");
    if (line.starts_with("create ")) failed.erase(line.substr(7, line.find(' ', 7) - 7));
    if (!write && !sync) continue;
    const size_t begin = line.find(' ') + 1;
    const std::string path = line.substr(begin, line.find(' ', begin) - begin);
    if (path.ends_with(".torn")) continue;
    if (failed.contains(path)) return "after a failure: " + line;
    if (line.find(" !") != std::string::npos) failed.insert(path);
  }
  return "";
}

class FaultsTest : public testing::TestWithParam<Scenario> {
 protected:
  static bool IsRefusal(const Status& status) {
    return status.code() == StatusCode::kIoError || status.code() == StatusCode::kNoSpace ||
           status.code() == StatusCode::kUnavailable;
  }

  // Runs the scenario with the fault. True: it was hit.
  bool RunWithFault(const Fault& fault, CrashKind end) {
    Rig rig(GetParam());
    rig.faults->Set(fault);
    std::string wrong = RunSteps(rig, fault);
    const bool fired = rig.faults->fired() > 0;
    if (wrong.empty() && rig.machine.is_open()) {
      rig.faults->Set(std::nullopt);
      rig.machine.RunUntilIdle();
      // Reads go on, whatever happened to the log.
      wrong = rig.model.Learn(rig.machine.db());
      if (wrong.empty())
        wrong = rig.model.CheckQueries(rig.machine.db(), rig.model.learned(), fault.at);
    }
    if (wrong.empty()) wrong = TouchedAfterFailure(*rig.trace);
    if (wrong.empty() && rig.machine.fs().retried_syncs() > 0)
      wrong = "a failed sync was tried again";
    if (wrong.empty()) wrong = Afterwards(rig, end, fault.at);
    if (!wrong.empty()) Fail(fault, wrong);
    faults_tried += fired ? 1 : 0;
    return fired && failures_ < 3;
  }

  std::string RunSteps(Rig& rig, const Fault& fault) {
    if (Status status = rig.machine.Open(); !status.ok()) {
      return IsRefusal(status) && !IsHarmless(fault.op) ? "" : "open: " + status.ToString();
    }
    for (const ScenarioStep& step : GetParam().steps) {
      if (!rig.machine.is_open()) return "";  // a reopening was refused
      const bool refusals = !IsHarmless(fault.op);
      if (auto wrong = rig.machine.Run(step, rig.model, refusals); !wrong.empty()) return wrong;
    }
    return "";
  }

  std::string Afterwards(Rig& rig, CrashKind end, uint64_t seed) {
    for (int life = 0; life < 2; ++life) {
      rig.RestartOnGoodDisk(life == 0 ? end : CrashKind::kPowerCut, seed + life);
      if (Status status = rig.machine.Open(); !status.ok())
        return "afterwards: " + status.ToString();
      if (auto wrong = rig.model.Learn(rig.machine.db()); !wrong.empty())
        return "afterwards: " + wrong;
    }
    const auto everything = rig.model.Everything();
    for (size_t at = 0; at < everything.size(); at += 4) {
      const std::vector<Event> some(
          everything.begin() + static_cast<ptrdiff_t>(at),
          everything.begin() + static_cast<ptrdiff_t>(std::min(at + 4, everything.size())));
      auto answer = rig.machine.IngestInTheEnd(some);
      if (!answer.ok()) return "resending: " + answer.status().ToString();
      if (auto wrong = rig.model.CheckResent(some, *answer); !wrong.empty()) return wrong;
    }
    return "";
  }

  void Fail(const Fault& fault, const std::string& wrong) {
    ++failures_;
    ADD_FAILURE() << GetParam().name << ": " << FaultOpName(fault.op) << " call " << fault.at
                  << " fails with " << fault.error << (fault.for_ever ? " for ever" : "") << ": "
                  << wrong << "\nrerun: faults_test --gtest_filter='*" << GetParam().name << "'";
  }

  int failures_ = 0;
};

TEST_P(FaultsTest, EveryCallFailsInTurn) {
  for (const Kind& kind : Kinds()) {
    for (const int error : kind.errors) {
      for (const bool for_ever : {false, true}) {
        const bool one = IsHarmless(kind.op) || ChosenEffort() == Effort::kQuick;
        if (one && error != kind.errors.front()) continue;
        for (const CrashKind end : {CrashKind::kKill, CrashKind::kPowerCut}) {
          if (ChosenEffort() == Effort::kQuick && end == CrashKind::kKill) continue;
          ForEachFault({kind.op, 0, for_ever, error},
                       [&](const Fault& fault) { return RunWithFault(fault, end); });
        }
      }
    }
  }
  EXPECT_GT(faults_tried, 0u);
}

// The database exists; each call of the next start fails in turn.
TEST_P(FaultsTest, RecoveryRefusesOrIsWhole) {
  Rig first(GetParam());
  ASSERT_TRUE(first.machine.Open().ok());
  for (const ScenarioStep& step : GetParam().steps)
    ASSERT_EQ(first.machine.Run(step, first.model), "");
  ASSERT_EQ(first.model.Learn(first.machine.db()), "");
  first.RestartOnGoodDisk(CrashKind::kKill, 3);
  const auto before = Snapshot(first.machine);
  for (const Kind& kind : Kinds()) {
    for (const int error : kind.errors) {
      if (ChosenEffort() == Effort::kQuick && error != kind.errors.front()) continue;
      for (const bool for_ever : {false, true}) {
        ForEachFault({kind.op, 0, for_ever, error}, [&](const Fault& fault) {
          Rig rig(first.machine.Fork());
          rig.model = first.model;
          rig.faults->Set(fault);
          const Status status = rig.machine.Open();
          const bool fired = rig.faults->fired() > 0;
          std::string wrong;
          if (status.ok()) {
            rig.faults->Set(std::nullopt);  // what a read does on a failing disk: another test
            wrong = rig.model.Learn(rig.machine.db());
          } else if (!IsRefusal(status) || IsHarmless(kind.op)) {
            wrong = "refused with " + status.ToString();
          } else if (ReadsOnly(kind.op) && Snapshot(rig.machine) != before) {
            wrong = "refused while reading, and files have changed";
          }
          if (wrong.empty()) wrong = Afterwards(rig, CrashKind::kPowerCut, fault.at);
          if (!wrong.empty()) Fail(fault, "in recovery: " + wrong);
          faults_tried += fired ? 1 : 0;
          return fired && failures_ < 3;
        });
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Scenarios, FaultsTest, testing::ValuesIn(SmallScenarios()),
                         [](const auto& info) { return info.param.name; });

// --- single stories ---

Scenario RollOvers() {
  for (const Scenario& scenario : SmallScenarios()) {
    if (scenario.name == "roll_overs_synced") return scenario;
  }
  return {};
}

TEST(PoisonedLogTest, RefusesIngestSaysWhyAndServesReads) {
  for (const FaultOp op : {FaultOp::kWrite, FaultOp::kSync}) {
    Rig rig(RollOvers());
    ASSERT_TRUE(rig.machine.Open().ok());
    ASSERT_EQ(rig.machine.Run({ScenarioStep::Kind::kIngest, {{SmallEvent(0)}}}, rig.model), "");
    rig.machine.RunUntilIdle();
    rig.faults->Set(Fault{op, 0, false, EIO});
    auto failed = rig.machine.Ingest({SmallEvent(1)});
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.status().reason(), "log_poisoned");
    const size_t lines = rig.trace->lines().size();
    // The disk works again, and still: not before a restart.
    EXPECT_EQ(rig.machine.Ingest({SmallEvent(2)}).status().reason(), "log_poisoned");
    EXPECT_EQ(rig.machine.db().Ready().reason(), "log_poisoned");
    EXPECT_TRUE(rig.machine.db().GetStatus().wal_poisoned);
    rig.machine.RunUntilIdle();
    EXPECT_EQ(rig.model.Learn(rig.machine.db()), "");
    EXPECT_EQ(rig.model.learned(), Lsn{1});
    EXPECT_FALSE(rig.machine.Close().ok());
    EXPECT_EQ(rig.trace->lines().size(), lines) << rig.trace->Text();
    // After a restart everything can be sent again.
    ASSERT_TRUE(rig.machine.Open().ok());
    rig.model.Sent(std::vector<Event>{SmallEvent(1), SmallEvent(2)});
    auto again = rig.machine.Ingest({SmallEvent(0), SmallEvent(1), SmallEvent(2)});
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->duplicates + again->accepted, 3u);
    EXPECT_EQ(again->outcomes[0].kind, OutcomeKind::kDuplicate);
    ++faults_tried;
  }
}

TEST(NoSpaceTest, HealsWithoutARestart) {
  Rig rig(RollOvers());
  ASSERT_TRUE(rig.machine.Open().ok());
  rig.machine.RunUntilIdle();
  // What is allocated takes writes; nothing new can be made.
  rig.faults->Set(Fault{FaultOp::kCreate, 0, true, ENOSPC});
  int id = 0;
  Status refused;
  for (; id < 40; ++id) {
    rig.model.Sent(std::vector<Event>{SmallEvent(id)});
    auto answer = rig.machine.Ingest({SmallEvent(id)});
    if (!answer.ok()) {
      refused = answer.status();
      break;
    }
    ASSERT_EQ(rig.model.Answered(std::vector<Event>{SmallEvent(id)}, *answer), "");
  }
  EXPECT_EQ(refused.reason(), "no_space") << "prepared files take frames, then no more";
  EXPECT_GT(id, 6);
  EXPECT_EQ(rig.machine.db().Ready().reason(), "no_space");
  EXPECT_FALSE(rig.machine.db().GetStatus().wal_poisoned);
  EXPECT_EQ(rig.model.Learn(rig.machine.db()), "");

  rig.faults->Set(std::nullopt);
  rig.machine.clock().Advance(2'000'000);
  rig.machine.RunUntilIdle();
  EXPECT_TRUE(rig.machine.db().Ready().ok()) << rig.machine.db().Ready().ToString();
  auto answer = rig.machine.Ingest({SmallEvent(id)});
  ASSERT_TRUE(answer.ok()) << answer.status().ToString();
  EXPECT_EQ(answer->accepted, 1u);
  EXPECT_EQ(rig.machine.fs().retried_syncs(), 0u);
  ++faults_tried;
}

TEST(NoSpaceTest, AtStartItServesReadsAndHeals) {
  Rig rig(RollOvers());
  ASSERT_TRUE(rig.machine.Open().ok());
  ASSERT_EQ(rig.machine.Run({ScenarioStep::Kind::kIngest, {{SmallEvent(0)}}}, rig.model), "");
  rig.RestartOnGoodDisk(CrashKind::kKill, 1);
  rig.faults->Set(Fault{FaultOp::kCreate, 0, true, ENOSPC});
  ASSERT_TRUE(rig.machine.Open().ok());
  EXPECT_EQ(rig.model.Learn(rig.machine.db()), "");
  rig.machine.RunUntilIdle();
  EXPECT_EQ(rig.machine.db().Ready().reason(), "no_space");
  EXPECT_TRUE(rig.machine.db().GetStatus().read_only);
  rig.faults->Set(std::nullopt);
  rig.machine.clock().Advance(2'000'000);
  rig.machine.RunUntilIdle();
  EXPECT_TRUE(rig.machine.Ingest({SmallEvent(1)}).ok());
  ++faults_tried;
}

TEST(DirectIoTest, RefusedItFallsBack) {
  for (Scenario scenario : SmallScenarios()) {
    if (!scenario.options.wal_direct_io) continue;
    Rig rig(scenario);
    rig.machine.fs().SetDirectRefused(true);
    ASSERT_TRUE(rig.machine.Open().ok());
    for (const ScenarioStep& step : scenario.steps) ASSERT_EQ(rig.machine.Run(step, rig.model), "");
    rig.RestartOnGoodDisk(CrashKind::kPowerCut, 9);
    ASSERT_TRUE(rig.machine.Open().ok());
    EXPECT_EQ(rig.model.Learn(rig.machine.db()), "") << scenario.name;
    ++faults_tried;
  }
}

class Totals : public testing::Environment {
 public:
  void TearDown() override {
    EXPECT_GT(faults_tried, 0u);
    ReportTried(fmt::format("faults tried={}", faults_tried));
  }
};
[[maybe_unused]] const auto* const kTotals = testing::AddGlobalTestEnvironment(new Totals);

}  // namespace
}  // namespace tallystick
