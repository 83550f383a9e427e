// For tests: a machine whose disk can be made to fail, and the model that its answers are held
// against.
//
// Thread rule: one thread.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "testing/fault_fs.h"
#include "testing/machine.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"

namespace tallystick {

class Rig {
 public:
  static constexpr char kSegments[] = "data/segments";

  explicit Rig(const OpenOptions& options = SmallOptions(true), uint64_t seed = 7)
      : machine(seed, options) {
    Attach();
  }
  ~Rig() { machine.Halt(); }
  Rig(const Rig&) = delete;

  void Attach() {
    faults = std::make_unique<FaultFs>(machine.fs());
    faults->SetOnFailedSync([this](const std::string& path) { machine.fs().LoseDirty(path); });
    machine.SetFileSystem(faults.get());
  }

  void Open() { ASSERT_EQ(machine.Open().ToString(), "ok"); }
  void Reopen() {
    ASSERT_TRUE(machine.Close().ok());
    Open();
  }
  // Each event as a request; refusals are the test's to expect.
  void Ingest(int first, int last, int blocks = 1) {
    for (int id = first; id < last; ++id) {
      const std::vector<Event> event = {SmallEvent(id, 0, blocks)};
      model.Sent(event);
      auto answer = machine.IngestInTheEnd(event);
      ASSERT_TRUE(answer.ok()) << answer.status().ToString();
      ASSERT_EQ(model.Answered(event, *answer), "");
    }
  }
  void Pass(int64_t seconds) {
    machine.clock().Advance(seconds * 1'000'000);
    machine.RunUntilIdle();
  }
  DbStatus status() { return machine.db().GetStatus(); }

  // Everything is there, once, and every path says the same.
  void ExpectWhole() {
    for (int i = 0; i < 10 && status().sidecars_unknown > 0; ++i) Pass(60);
    ASSERT_EQ(model.Learn(machine.db()), "");
    ASSERT_EQ(model.CheckQueries(machine.db(), model.learned(), ++checks), "");
    for (const Event& event : model.Everything()) {
      const std::vector<Event> again = {event};
      auto answer = machine.IngestInTheEnd(again);
      ASSERT_TRUE(answer.ok()) << answer.status().ToString();
      ASSERT_EQ(model.CheckResent(again, *answer), "");
    }
    auto verified = machine.db().Verify({});
    ASSERT_TRUE(verified.ok()) << verified.status().ToString();
    EXPECT_TRUE(verified->faults.empty()) << verified->faults.front();
    EXPECT_EQ(machine.fs().retried_syncs(), 0u);
  }

  std::vector<std::string> Files(const std::string& suffix) {
    auto names = machine.fs().List(kSegments);
    std::vector<std::string> files;
    for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
      if (name.ends_with(suffix) && name.front() == '0') files.push_back(JoinPath(kSegments, name));
    }
    std::ranges::sort(files);
    return files;
  }

  // The file with these bytes, durable. REQUIRES: closed or halted.
  void Put(const std::string& path, const Bytes& bytes) {
    SimFs& fs = machine.fs();
    IgnoreError(fs.Remove(path), "it is put there anew");
    auto file = fs.Open(path, OpenMode::kCreateNew);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteFully(**file, 0, bytes).ok());
    ASSERT_TRUE((*file)->Sync().ok());
    ASSERT_TRUE(fs.SyncDir(kSegments).ok());
  }
  Bytes Content(const std::string& path) { return *machine.fs().Content(path); }

  Machine machine;
  std::unique_ptr<FaultFs> faults;
  ReferenceModel model;

  static inline uint64_t checks = 0;  // of ExpectWhole, in all
};

}  // namespace tallystick
