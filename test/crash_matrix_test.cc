// The crash matrix: small scenarios, crashed at every file operation, killed and power-cut; the
// recovery from that crashed at every one of its operations too; and after each recovery everything
// is compared with what was ever said, sent again, and compared once more after a power cut.
//
// A failing case prints the command that runs it alone.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "testing/machine.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/trace_fs.h"
#include "testing/tried.h"
#include "testing/wal_protocol.h"

namespace tallystick {
namespace {

constexpr uint64_t kMachineSeed = 20'261'124;

uint64_t recoveries_tried = 0;
uint64_t scenarios_tried = 0;

// One path through the matrix. Operations count from 1; 0: no crash there.
struct Path {
  uint64_t first_operation = 0;
  CrashKind first_kind = CrashKind::kKill;
  uint64_t first_seed = 0;
  uint64_t second_operation = 0;  // of the recovery
  CrashKind second_kind = CrashKind::kKill;
  uint64_t second_seed = 0;

  std::string Text() const {
    return fmt::format("{}:{}:{}:{}:{}:{}", first_operation, static_cast<int>(first_kind),
                       first_seed, second_operation, static_cast<int>(second_kind), second_seed);
  }
  static Path Parse(const std::string& text) {
    Path path;
    uint64_t part[6] = {};
    if (std::sscanf(text.c_str(), "%lu:%lu:%lu:%lu:%lu:%lu", &part[0], &part[1], &part[2], &part[3],
                    &part[4], &part[5]) != 6) {
      ADD_FAILURE() << "TALLY_CASE does not parse: " << text;
    }
    path.first_operation = part[0];
    path.first_kind = static_cast<CrashKind>(part[1]);
    path.first_seed = part[2];
    path.second_operation = part[3];
    path.second_kind = static_cast<CrashKind>(part[4]);
    path.second_seed = part[5];
    return path;
  }
};

// A machine that crashed, and what was said until then.
struct Wreck {
  Machine machine;
  ReferenceModel model;
};

class Matrix {
 public:
  explicit Matrix(const Scenario& scenario) : scenario_(scenario) {}

  void RunAll(uint64_t seeds, uint64_t stride) {
    const uint64_t operations = OperationsOfScenario();
    ASSERT_GT(operations, 20u);
    for (uint64_t first = 1; first <= operations && failures_ < 3; ++first) {
      for (uint64_t seed = 0; seed < seeds; ++seed) {
        Wreck wreck = CrashScenario(first, first * 31 + seed);
        for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerCut}) {
          // A kill leaves one directory only; the seed still orders listings and tasks.
          FromFirstCrash(
              wreck,
              {.first_operation = first, .first_kind = kind, .first_seed = first * 31 + seed},
              stride);
        }
      }
    }
    EXPECT_GT(double_crashes_, operations) << "recoveries were hardly crashed";
  }

  void RunOne(const Path& path) {
    Wreck wreck = CrashScenario(path.first_operation, path.first_seed);
    Restart(wreck, path.first_kind, path.first_seed);
    if (path.second_operation > 0) CrashRecovery(wreck, path);
    Recover(wreck, path);
  }

 private:
  void Fail(const Path& path, const std::string& wrong) {
    ++failures_;
    ADD_FAILURE() << scenario_.name << ", operation " << path.first_operation << " (kind "
                  << static_cast<int>(path.first_kind) << ", seed " << path.first_seed
                  << "), operation " << path.second_operation << " of the recovery: " << wrong
                  << "\nrerun: TALLY_CASE=" << path.Text()
                  << " crash_matrix_test --gtest_filter='*/" << scenario_.name << "'";
  }

  // Runs the scenario until it ends or the machine crashes.
  std::string RunScenario(Wreck& wreck) {
    if (Status status = wreck.machine.Open(); !status.ok()) {
      return wreck.machine.crashed() ? "" : "open: " + status.ToString();
    }
    for (const ScenarioStep& step : scenario_.steps) {
      if (auto wrong = wreck.machine.Run(step, wreck.model); !wrong.empty()) return wrong;
      if (wreck.machine.crashed()) return "";
    }
    return "";
  }

  uint64_t OperationsOfScenario() {
    Wreck wreck{Machine(kMachineSeed, scenario_.options), {}};
    std::string wrong = RunScenario(wreck);
    if (wrong.empty()) wrong = wreck.model.Learn(wreck.machine.db());
    EXPECT_EQ(wrong, "") << scenario_.name << " without any crash";
    const uint64_t operations = wreck.machine.operations();
    wreck.machine.Halt();
    return operations;
  }

  Wreck CrashScenario(uint64_t operation, uint64_t draw) {
    Wreck wreck{Machine(kMachineSeed, scenario_.options), {}};
    wreck.machine.CrashAfter(operation, draw);
    const std::string wrong = RunScenario(wreck);
    if (!wrong.empty()) Fail({.first_operation = operation}, "before the crash: " + wrong);
    wreck.machine.Halt();
    return wreck;
  }

  static void Restart(Wreck& wreck, CrashKind kind, uint64_t seed) {
    wreck.machine.Restart(kind, seed);
  }

  void FromFirstCrash(const Wreck& crashed, Path path, uint64_t stride) {
    Wreck found{crashed.machine.Fork(), crashed.model};
    Restart(found, path.first_kind, path.first_seed);
    Wreck whole{found.machine.Fork(), found.model};
    const uint64_t operations = Recover(whole, path);
    // A different phase at each crash point, so that a stride reaches every pair of operations
    // somewhere.
    for (uint64_t second = 1 + path.first_seed % stride; second <= operations; second += stride) {
      for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerCut}) {
        path.second_operation = second;
        path.second_kind = kind;
        path.second_seed = path.first_seed * 131 + second;
        Wreck again{found.machine.Fork(), found.model};
        CrashRecovery(again, path);
        Recover(again, path);
        ++double_crashes_;
        if (failures_ >= 3) return;
      }
    }
  }

  void CrashRecovery(Wreck& wreck, const Path& path) {
    wreck.machine.CrashAfter(path.second_operation, path.second_seed);
    const Status status = wreck.machine.Open();
    if (status.ok()) wreck.machine.RunUntilIdle();  // what was replayed is flushed
    ++recoveries_tried;
    if (!status.ok() && !wreck.machine.crashed())
      Fail(path, "recovery refuses: " + status.ToString());
    wreck.machine.Halt();
    Restart(wreck, path.second_kind, path.second_seed);
  }

  // Recovers, compares, sends everything again; cuts the power before anything new was written, and
  // after. Gives the number of operations of the first recovery.
  uint64_t Recover(Wreck& wreck, const Path& path) {
    uint64_t operations = 0;
    std::string wrong = OpenAndCompare(wreck, path.first_seed, &operations);
    if (wrong.empty()) {
      Cut(wreck, path.second_seed + 1);
      wrong = OpenAndCompare(wreck, path.second_seed);
    }
    if (wrong.empty()) wrong = ResendAndCompare(wreck);
    if (wrong.empty()) {
      Cut(wreck, path.second_seed + 2);
      wrong = OpenAndCompare(wreck, path.second_seed + 1);
    }
    wreck.machine.Halt();
    if (!wrong.empty()) Fail(path, wrong);
    return operations;
  }

  static void Cut(Wreck& wreck, uint64_t seed) {
    wreck.machine.Halt();
    Restart(wreck, CrashKind::kPowerCut, seed);
  }

  // `operations`: of the start itself, and of what it has to do in the background.
  static std::string OpenAndCompare(Wreck& wreck, uint64_t seed, uint64_t* operations = nullptr) {
    ++recoveries_tried;
    const uint64_t before = wreck.machine.operations();
    if (Status status = wreck.machine.Open(); !status.ok())
      return "recovery refuses: " + status.ToString();
    if (operations != nullptr) {
      wreck.machine.RunUntilIdle();
      *operations = wreck.machine.operations() - before;
    }
    const Db& db = wreck.machine.db();
    if (auto wrong = wreck.model.Learn(db); !wrong.empty()) return wrong;
    return wreck.model.CheckQueries(db, {seed % (wreck.model.learned().value + 1)}, seed);
  }

  std::string ResendAndCompare(Wreck& wreck) {
    const std::vector<Event> everything = wreck.model.Everything();
    const Lsn before = wreck.machine.db().VisibleLsn();
    constexpr size_t kAtOnce = 4;  // of the largest events
    for (size_t at = 0; at < everything.size(); at += kAtOnce) {
      const auto begin = everything.begin() + static_cast<ptrdiff_t>(at);
      const std::vector<Event> some(begin, begin + std::min(kAtOnce, everything.size() - at));
      auto answer = wreck.machine.IngestInTheEnd(some);
      if (!answer.ok()) return "resending: " + answer.status().ToString();
      if (auto wrong = wreck.model.CheckResent(some, *answer); !wrong.empty()) return wrong;
    }
    if (wreck.machine.db().VisibleLsn() != before) return "resending stored something";
    // And what was on its way, and something new: the log must go on.
    const std::vector<Event> more = {SmallEvent(0), SmallEvent(1), SmallEvent(99)};
    wreck.model.Sent(more);
    auto answer = wreck.machine.IngestInTheEnd(more);
    if (!answer.ok()) return "going on: " + answer.status().ToString();
    return wreck.model.Answered(more, *answer);
  }

  const Scenario& scenario_;
  uint64_t double_crashes_ = 0;
  int failures_ = 0;
};

class CrashMatrixTest : public testing::TestWithParam<Scenario> {};

TEST_P(CrashMatrixTest, NothingSaidIsLostAndNothingCountsTwice) {
  Matrix matrix(GetParam());
  if (const char* one = std::getenv("TALLY_CASE")) return matrix.RunOne(Path::Parse(one));
  const bool smallest = GetParam().name.starts_with("smallest");
  const bool longer = GetParam().name.starts_with("flushes");
  const bool longest = GetParam().name.starts_with("compactions");
  switch (ChosenEffort()) {
    case Effort::kQuick:
      matrix.RunAll(1, GetParam().name == "smallest_synced" ? 3
                                                            : (longest  ? 797
                                                               : longer ? 211
                                                                        : 53));
      break;
    case Effort::kNormal:
      matrix.RunAll(smallest ? 3 : 1, smallest ? 2 : (longest ? 211 : longer ? 31 : 13));
      break;
    case Effort::kSoak:
      matrix.RunAll(2, 1);
      break;
  }
  ++scenarios_tried;
}

INSTANTIATE_TEST_SUITE_P(Scenarios, CrashMatrixTest, testing::ValuesIn(SmallScenarios()),
                         [](const auto& info) { return info.param.name; });

// Without any crash: each life of each scenario, in the order of its file operations.
TEST_P(CrashMatrixTest, EachLifeIsAPathOfTheProtocolModel) {
  Machine machine(kMachineSeed, GetParam().options);
  TraceFs trace(machine.fs(), "data");
  machine.SetFileSystem(&trace);
  ReferenceModel model;
  ASSERT_TRUE(machine.Open().ok());
  for (const ScenarioStep& step : GetParam().steps) ASSERT_EQ(machine.Run(step, model), "");
  ASSERT_TRUE(machine.Close().ok());
  std::vector<std::string> life;
  uint64_t lives = 0;
  auto check = [&] {
    std::string why;
    EXPECT_TRUE(TraceIsPathOfModel(life, &why)) << why << "\n" << trace.Text();
    lives += life.empty() ? 0 : 1;
    life.clear();
  };
  for (const std::string& line : trace.lines()) {
    if (line.starts_with("lock ")) check();
    life.push_back(line);
  }
  check();
  EXPECT_GE(lives, 1u);
}

class Totals : public testing::Environment {
 public:
  void TearDown() override {
    EXPECT_GT(recoveries_tried, 0u);
    ReportTried(
        fmt::format("crash_matrix recoveries={} scenarios={}", recoveries_tried, scenarios_tried));
  }
};
[[maybe_unused]] const auto* const kTotals = testing::AddGlobalTestEnvironment(new Totals);

}  // namespace
}  // namespace tallystick
