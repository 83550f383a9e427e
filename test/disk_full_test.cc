// A disk that is full from the Nth call on that changes something, for every N: from then on no new
// block is to be had; what has its blocks can be written, and what is removed gives its own back.
//
// Ingest goes on as long as there is room in what was prepared, then answers no_space. Reads go on
// exactly. With room again everything goes on by itself, without a restart, and nothing was lost or
// counted twice. (faults_test.cc has single calls that fail, and all of one kind.)
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "testing/machine.h"
#include "testing/pass_through_fs.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

uint64_t disks_filled = 0;
uint64_t refused = 0;

// Passes everything through; before call number `at` of those that change something, `full` runs.
class FullAtFs final : public PassThroughFs {
 public:
  FullAtFs(FileSystem& inner, uint64_t at, std::function<void()> full)
      : PassThroughFs(inner), at_(at), full_(std::move(full)) {}

  bool is_full() const { return calls_ > at_; }

  using PassThroughFs::Open;
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                     OpenFlags flags) override {
    if (mode == OpenMode::kCreateNew) Count();
    auto file = PassThroughFs::Open(path, mode, flags);
    if (!file.ok()) return file.status();
    return std::make_unique<CountingFile>(*this, *std::move(file));
  }
  Status CreateDir(const std::string& path) override { return Count().CreateDir(path); }
  Status Remove(const std::string& path) override { return Count().Remove(path); }
  Status Rename(const std::string& from, const std::string& to) override {
    return Count().Rename(from, to);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return Count().Link(from, to);
  }
  Status SyncDir(const std::string& path) override { return Count().SyncDir(path); }

 private:
  class CountingFile final : public PassThroughFile {
   public:
    CountingFile(FullAtFs& fs, std::unique_ptr<File> inner)
        : PassThroughFile(std::move(inner)), fs_(fs) {}
    Result<size_t> WriteAt(uint64_t offset, ByteSpan data) override {
      fs_.Count();
      return PassThroughFile::WriteAt(offset, data);
    }
    Status Sync() override {
      fs_.Count();
      return PassThroughFile::Sync();
    }
    Status Truncate(uint64_t bytes) override {
      fs_.Count();
      return PassThroughFile::Truncate(bytes);
    }

   private:
    FullAtFs& fs_;
  };

  FileSystem& Count() {
    if (calls_++ == at_) full_();
    return inner();
  }

  const uint64_t at_;
  const std::function<void()> full_;
  uint64_t calls_ = 0;
};

// What the engine does on the disk while it fills up.
struct Work {
  std::string name;
  std::string scenario;  // of SmallScenarios()
  std::function<void(OpenOptions&)> options;
};

const std::vector<Work>& AllWork() {
  static const std::vector<Work> all = {
      {"ingest", "smallest_synced", [](OpenOptions&) {}},
      {"rolling_logs", "roll_overs_direct", [](OpenOptions&) {}},
      {"flushes", "flushes_direct",
       [](OpenOptions& options) { options.memtables_max = options.key_tables_max = 2; }},
      {"flushes_at_the_close", "flushes_synced", [](OpenOptions&) {}},
      {"flushes_of_old_rows", "doubles_synced",
       [](OpenOptions& options) { options.memtable_age_ms_max = 20; }},
      {"merges", "compactions_direct", [](OpenOptions&) {}},
      {"scrubbed", "flushes_direct",
       [](OpenOptions& options) { options.scrub_bytes_per_second = 1'000'000'000; }},
  };
  return all;
}

void PrintTo(const Work& work, std::ostream* out) { *out << work.name; }

class Life {
 public:
  Life(const Work& work, uint64_t at)
      : scenario_(ScenarioOf(work)),
        at_(at),
        machine_(11, scenario_.options),
        fs_(machine_.fs(), at, [this] { machine_.fs().SetCapacity(machine_.fs().UsedBytes()); }) {
    machine_.SetFileSystem(&fs_);
  }
  ~Life() { machine_.Halt(); }

  bool is_full() const { return fs_.is_full(); }

  // What is wrong; empty: nothing.
  std::string Run() {
    std::string wrong = Steps();
    if (!is_full() || !wrong.empty()) return wrong;
    if (machine_.is_open()) wrong = FillUp();
    if (wrong.empty() && machine_.is_open()) wrong = ReadAll("while full");
    machine_.fs().SetCapacity(std::nullopt);
    if (wrong.empty()) wrong = Heal();
    if (wrong.empty()) wrong = SendAgain();
    if (wrong.empty()) wrong = Verify();
    if (wrong.empty()) wrong = Restart();
    return wrong;
  }

 private:
  static Scenario ScenarioOf(const Work& work) {
    const auto all = SmallScenarios();
    Scenario scenario = *std::ranges::find(all, work.scenario, &Scenario::name);
    work.options(scenario.options);
    return scenario;
  }

  std::string Steps() {
    if (Status status = machine_.Open(); !status.ok()) return IfNoSpace("open", status);
    for (const ScenarioStep& step : scenario_.steps) {
      const std::string wrong = machine_.Run(step, model_, is_full());
      const bool became_full = is_full() && wrong.starts_with("refused: no_space");
      if (!wrong.empty() && !became_full) return wrong;
      if (!machine_.is_open()) return "a restart on a full disk was refused";
      if (is_full()) {
        machine_.RunUntilIdle();
        if (std::string wrong = CheckReason(machine_.db().Ready()); !wrong.empty()) return wrong;
      }
    }
    return "";
  }

  // A database that cannot be made, for want of room, is none.
  std::string IfNoSpace(const std::string& what, const Status& status) const {
    if (is_full() && status.code() == StatusCode::kNoSpace) return "";
    return what + ": " + status.ToString();
  }

  std::string CheckReason(const Status& status) {
    if (status.ok() || status.reason() == "no_space") return "";
    // A sidecar that was found missing at a start, and finds no room.
    const DbStatus db = machine_.db().GetStatus();
    if (status.reason() == "dedupe_rebuilding" && db.sidecars_unknown > 0) return "";
    return "refused with " + status.ToString();
  }

  // Until what was prepared is used up.
  std::string FillUp() {
    Status status;
    for (int id = 1000; id < 1200 && status.ok(); ++id) {
      const std::vector<Event> event = {SmallEvent(id, 0, 1)};
      model_.Sent(event);
      auto answer = machine_.Ingest(event);
      status = answer.status();
      if (!answer.ok()) break;
      if (auto wrong = model_.Answered(event, *answer); !wrong.empty()) return wrong;
      machine_.RunUntilIdle();
    }
    if (status.ok()) return "a full disk takes events without end";
    ++refused;
    machine_.RunUntilIdle();
    if (machine_.db().Ready().ok()) return "ready on a full disk that refuses events";
    return CheckReason(machine_.db().Ready());
  }

  std::string ReadAll(const std::string& when) {
    std::string wrong = model_.Learn(machine_.db());
    if (wrong.empty()) wrong = model_.CheckQueries(machine_.db(), model_.learned(), at_);
    return wrong.empty() ? "" : when + ": " + wrong;
  }

  // Without a restart, unless it never came to be a database.
  std::string Heal() {
    if (!machine_.is_open()) {
      if (Status status = machine_.Open(); !status.ok()) return "afterwards: " + status.ToString();
    }
    for (int i = 0; i < 20; ++i) {
      machine_.clock().Advance(5'000'000);
      machine_.RunUntilIdle();
      const DbStatus status = machine_.db().GetStatus();
      if (status.ingest.ok() && status.flush.ok() && status.sidecars_unknown == 0) break;
    }
    const DbStatus status = machine_.db().GetStatus();
    if (!status.ingest.ok()) return "it does not heal: " + status.ingest.ToString();
    if (!status.flush.ok()) return "flushes do not heal: " + status.flush.ToString();
    if (status.sidecars_unknown > 0) return "a sidecar is not made";
    if (status.rollups != status.segments) return "a rollup is not made";
    if (status.wal_poisoned) return "the log is poisoned";
    return ReadAll("with room again");
  }

  std::string SendAgain() {
    for (const Event& event : model_.Everything()) {
      const std::vector<Event> one = {event};
      auto answer = machine_.IngestInTheEnd(one);
      if (!answer.ok()) return "sent again: " + answer.status().ToString();
      if (auto wrong = model_.CheckResent(one, *answer); !wrong.empty()) return wrong;
    }
    return "";
  }

  std::string Verify() {
    const auto verified = machine_.db().Verify({});
    if (!verified.ok()) return "verify: " + verified.status().ToString();
    if (!verified->faults.empty()) return "verify: " + verified->faults.front();
    const auto scrubbed = machine_.db().Scrub({});
    if (!scrubbed.ok()) return "scrub: " + scrubbed.status().ToString();
    for (const ScrubFinding& finding : scrubbed->findings) {
      const bool sibling = finding.file.ends_with(".idx") || finding.file.ends_with(".sum");
      // There was no room for it.
      if (!sibling || finding.what != "is missing") return finding.file + ": " + finding.what;
    }
    return "";
  }

  std::string Restart() {
    if (std::string wrong = ReadAll("before the restart"); !wrong.empty()) return wrong;
    machine_.Halt();
    machine_.Restart(CrashKind::kPowerCut, at_);
    if (Status status = machine_.Open(); !status.ok()) return "restart: " + status.ToString();
    return ReadAll("after the restart");
  }

  const Scenario scenario_;
  const uint64_t at_;
  Machine machine_;
  FullAtFs fs_;
  ReferenceModel model_;
};

class DiskFullTest : public testing::TestWithParam<Work> {};

TEST_P(DiskFullTest, AtEveryCall) {
  const uint64_t stride = ChosenEffort() == Effort::kQuick ? 7 : 1;
  uint64_t filled = 0;
  for (uint64_t at = 0; !HasFailure(); at += stride, ++filled) {
    Life life(GetParam(), at);
    const std::string wrong = life.Run();
    EXPECT_EQ(wrong, "") << "full from call " << at << " on\nrerun: disk_full_test "
                         << "--gtest_filter='*" << GetParam().name << "'";
    if (!life.is_full()) break;
  }
  disks_filled += filled;
  EXPECT_GT(filled, 10u / stride);
}

// The memtables are full before the first flush meets the full disk: refused for want of memory
// first, and then with the reason, as soon as there is one.
TEST(MemoryFullTest, SaysThatThereIsNoSpace) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    OpenOptions options = SmallOptions(true);
    options.memtables_max = 1;
    Machine machine(seed, options);
    ASSERT_TRUE(machine.Open().ok());
    machine.RunUntilIdle();
    machine.fs().SetCapacity(machine.fs().UsedBytes());
    for (int id = 0; id < 60; ++id) {
      IgnoreError(machine.Ingest({SmallEvent(id, 0, 1)}).status(), "refused in the end");
    }
    machine.RunUntilIdle();
    EXPECT_EQ(machine.db().Ready().reason(), "no_space") << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Work, DiskFullTest, testing::ValuesIn(AllWork()),
                         [](const auto& info) { return info.param.name; });

class Totals : public testing::Environment {
 public:
  void TearDown() override {
    ReportTried(fmt::format("disk_full disks={} refused={}", disks_filled, refused));
  }
};
[[maybe_unused]] const auto* const kTotals = testing::AddGlobalTestEnvironment(new Totals);

}  // namespace
}  // namespace tallystick
