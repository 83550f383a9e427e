// Damage to the files of a database at rest: bytes flipped, ranges zeroed or garbled, blocks
// swapped or doubled, files cut or missing. Each is refused, naming the file, with nothing changed;
// or the answers are provably the same.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/types.h"
#include "testing/fault_fs.h"
#include "testing/machine.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

uint64_t damages_tried = 0;
uint64_t damages_refused = 0;
uint64_t tails_lost = 0;

// A stopped database with several log files, and what it holds.
class BitRotTest : public testing::Test {
 protected:
  BitRotTest() {
    const Scenario scenario = Named("roll_overs_direct");
    Build(scenario, scenario.steps.size());
    EXPECT_GE(logs_.size(), 3u);
  }

  static Scenario Named(const std::string& name) {
    const auto all = SmallScenarios();
    return *std::ranges::find(all, name, &Scenario::name);
  }

  // Runs the first `steps` of the scenario, waits for the mark, and stops in order. Without flush
  // everything stays in the log.
  void Build(const Scenario& scenario, size_t steps, bool flush = false) {
    OpenOptions options = scenario.options;
    if (!flush) {
      options.flush_on_close_ms_max = 0;
      options.memtables_max = options.key_tables_max = 100;
    }
    machine_.emplace(5, options);
    FaultFs no_flush(machine_->fs());
    if (!flush) no_flush.Set(Fault{FaultOp::kCreate, 0, true, EIO, false, ".seg"});
    machine_->SetFileSystem(&no_flush);
    model_ = ReferenceModel();
    sent_ = ReferenceModel();
    files_.clear();
    logs_.clear();
    EXPECT_TRUE(machine_->Open().ok());
    for (size_t i = 0; i < steps; ++i) {
      EXPECT_EQ(machine_->Run(scenario.steps[i], model_), "");
      for (const auto& request : scenario.steps[i].requests) sent_.Sent(request);
    }
    machine_->RunUntilIdle();
    EXPECT_EQ(model_.Learn(machine_->db()), "");
    EXPECT_TRUE(machine_->Close().ok());
    machine_->Halt();
    machine_->SetFileSystem(nullptr);
    machine_->Restart(CrashKind::kKill, 1);
    for (const std::string& path : machine_->fs().AllFiles())
      files_[path] = *machine_->fs().Content(path);
    for (const auto& [path, content] : files_) {
      if (path.find("/manifest/") != std::string::npos) newest_manifest_ = path;
      if (path.find("/wal/") == std::string::npos) continue;
      logs_.push_back(path);
      if (content.at(kBlockBytes) != std::byte{0}) last_with_frames_ = path;
    }
  }

  // Files whose every byte counts.
  bool MustRefuse(const std::string& path) const {
    return path == newest_manifest_ || path.ends_with("/IDENTITY");
  }

  // Where the newest log loses everything from a block to its end, nothing is left that could tell:
  // it looks like a log that never went further.
  bool LosesWholeTail(const std::string& path, const Bytes& content) const {
    if (path != last_with_frames_) return false;
    const Bytes& good = files_.at(path);
    const auto [same, unused] =
        std::mismatch(good.begin(), good.end(), content.begin(), content.end());
    const size_t from = static_cast<size_t>(same - good.begin()) / kBlockBytes;
    if (from == 0) return false;
    for (size_t block = from; (block + 1) * kBlockBytes <= content.size(); ++block) {
      const size_t at = block * kBlockBytes;
      if (std::equal(good.begin() + static_cast<ptrdiff_t>(at),
                     good.begin() + static_cast<ptrdiff_t>(at + kBlockBytes),
                     content.begin() + static_cast<ptrdiff_t>(at)) &&
          good[at] != std::byte{0}) {
        return false;
      }
    }
    return true;
  }

  // Opens the database with this content in place of `path`'s (none: the file is gone).
  void Try(const std::string& path, const std::optional<Bytes>& content, const std::string& what) {
    if (failures_ > 5 || (content.has_value() && *content == files_.at(path))) return;
    ++damages_tried;
    Machine machine = machine_->Fork();
    if (content.has_value()) {
      machine.fs().SetContent(path, *content);
    } else {
      ASSERT_TRUE(machine.fs().Remove(path).ok());
    }
    const auto before = Snapshot(machine);
    const Status status = machine.Open();
    if (!status.ok()) {
      ++damages_refused;
      ExpectRightRefusal(path, what, status);
      machine.Halt();
      if (Snapshot(machine) != before) Fail(path, what, "refused, but files have changed");
      return;
    }
    ReferenceModel model = model_;
    std::string wrong = model.Learn(machine.db());
    if (wrong.empty()) wrong = model.CheckQueries(machine.db(), model.learned(), damages_tried);
    if (!wrong.empty() && content.has_value() && LosesWholeTail(path, *content)) {
      // Then the rows that are left must be a beginning of the history.
      ++tails_lost;
      ReferenceModel shorter = sent_;
      wrong = shorter.Learn(machine.db());
      if (!model_.Digest().starts_with(shorter.Digest())) wrong = "not a beginning of the history";
      machine.Halt();
      if (!wrong.empty()) Fail(path, what, wrong);
      return;
    }
    if (wrong.empty() && model.Digest() != model_.Digest()) wrong = "there are other rows";
    if (wrong.empty() && content.has_value() && MustRefuse(path))
      wrong = "the damage was not noticed";
    machine.Halt();
    if (!wrong.empty()) Fail(path, what, wrong);
  }

  // The same for a file of a segment, which a start reads only in part: what is wrong then shows
  // when it is read, with file and offset, or it is rebuilt; never as another total, and no event
  // counts again.
  void TrySegmentFile(const std::string& path, const std::optional<Bytes>& content,
                      const std::string& what) {
    if (failures_ > 5 || (content.has_value() && *content == files_.at(path))) return;
    ++damages_tried;
    Machine machine = machine_->Fork();
    if (content.has_value()) {
      machine.fs().SetContent(path, *content);
    } else {
      ASSERT_TRUE(machine.fs().Remove(path).ok());
    }
    const Status status = machine.Open();
    if (!status.ok()) {
      ++damages_refused;
      if (!path.ends_with(".seg")) return Fail(path, what, "refused for a sidecar or a rollup");
      return ExpectRightRefusal(path, what, status);
    }
    const DbStatus opened = machine.db().GetStatus();
    const bool noticed_at_open = opened.sidecars_hit < sidecars_ || opened.rollups < sidecars_;
    const auto verified = machine.db().Verify({});
    const std::string name = path.substr(path.rfind('/') + 1);
    if (verified.ok() && verified->faults.empty() && !noticed_at_open) {
      Fail(path, what, "verify finds nothing");
    } else if (verified.ok() && !verified->faults.empty() && !noticed_at_open &&
               verified->faults.front().find(name) == std::string::npos) {
      Fail(path, what, "another file is named: " + verified->faults.front());
    } else if (!verified.ok() && verified.status().message().find(name) == std::string::npos) {
      Fail(path, what, "another file is named: " + verified.status().ToString());
    }
    ReferenceModel model = model_;
    if (const std::string wrong = model.Learn(machine.db()); !wrong.empty()) {
      ++damages_refused;
      if (wrong.find(name) == std::string::npos || !path.ends_with(".seg")) Fail(path, what, wrong);
    }
    // A rollup that a query found damaged has been taken out already.
    const bool noticed = noticed_at_open || machine.db().GetStatus().rollups < sidecars_;
    if (!noticed) ExpectScrubFinds(machine, path, what);
    for (const Event& event : model_.Everything()) {
      auto answer = machine.IngestInTheEnd({event});
      if (answer.ok() && answer->accepted > 0) Fail(path, what, event.event_id + " counts again");
      if (!answer.ok() && answer.status().reason() != "dedupe_rebuilding") {
        Fail(path, what, answer.status().ToString());
      }
    }
    machine.Halt();
  }

  void ExpectScrubFinds(Machine& machine, const std::string& path, const std::string& what) {
    const auto scrub = machine.db().Scrub({});
    if (!scrub.ok()) return Fail(path, what, "scrub: " + scrub.status().ToString());
    if (scrub->findings.size() != 1) {
      Fail(path, what, fmt::format("scrub finds {} faults", scrub->findings.size()));
    } else if (scrub->findings[0].file != path || !scrub->findings[0].offset.has_value()) {
      Fail(path, what, "scrub: " + scrub->findings[0].file + ": " + scrub->findings[0].what);
    }
  }

  void ExpectRightRefusal(const std::string& path, const std::string& what, const Status& status) {
    if (status.code() != StatusCode::kCorruption) return Fail(path, what, status.ToString());
    // A missing manifest or IDENTITY is named by its folder or by the next best evidence.
    const std::string name = path.substr(path.find('/') + 1);
    const std::string folder = name.substr(0, name.find('/'));
    const bool named = status.message().find(name) != std::string::npos ||
                       (folder == "manifest" && status.message().find(folder) != std::string::npos);
    if (!named) Fail(path, what, "another file is named: " + status.ToString());
  }

  static std::map<std::string, Bytes> Snapshot(Machine& machine) {
    std::map<std::string, Bytes> all;
    for (const std::string& path : machine.fs().AllFiles()) {
      if (!path.ends_with("/LOCK")) all[path] = *machine.fs().Content(path);
    }
    return all;
  }

  void Fail(const std::string& path, const std::string& what, const std::string& wrong) {
    ++failures_;
    ADD_FAILURE() << path << ", " << what << ": " << wrong;
  }

  void FlipBytes(const std::string& path, size_t stride) {
    const Bytes& good = files_.at(path);
    for (size_t at = 0; at < good.size(); at += stride) {
      Bytes bad = good;
      // Another bit at each place; in turn one bit and all of them.
      bad[at] ^= at % 3 == 0 ? std::byte{0xff} : std::byte{1} << (at % 8);
      Try(path, bad, fmt::format("byte {} flipped", at));
    }
  }

  // Writes over [from, to) block by block, and over everything from `from` on.
  void DamageBlocks(const std::string& path) {
    const Bytes& good = files_.at(path);
    const size_t blocks = (good.size() + kBlockBytes - 1) / kBlockBytes;
    auto range = [&](size_t from, size_t to, const char* what,
                     const std::function<std::byte(size_t)>& byte) {
      Bytes bad = good;
      const size_t end = std::min(to * kBlockBytes, bad.size());
      for (size_t at = from * kBlockBytes; at < end; ++at) bad[at] = byte(at);
      Try(path, bad, fmt::format("blocks {} to {} {}", from, to, what));
    };
    for (size_t from = 0; from < blocks; ++from) {
      for (size_t to : {from + 1, from + 2, blocks}) {
        range(from, to, "zeroed", [](size_t) { return std::byte{0}; });
        range(from, to, "garbled",
              [](size_t at) { return static_cast<std::byte>(at * 2654435761u >> 13); });
      }
      for (size_t other = 0; other < blocks; ++other) Rearrange(path, from, other);
      Bytes cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(from * kBlockBytes));
      Try(path, cut, fmt::format("cut at block {}", from));
    }
  }

  void Rearrange(const std::string& path, size_t from, size_t other) {
    const Bytes& good = files_.at(path);
    const size_t last = std::max(from, other);
    if (from == other || (last + 1) * kBlockBytes > good.size()) return;
    auto at = [](Bytes& bytes, size_t block) {
      return bytes.begin() + static_cast<ptrdiff_t>(block * kBlockBytes);
    };
    Bytes doubled = good;
    std::copy_n(at(doubled, from), kBlockBytes, at(doubled, other));
    Try(path, doubled, fmt::format("block {} in the place of {}", from, other));
    if (from > other) return;
    Bytes swapped = good;
    std::swap_ranges(at(swapped, from), at(swapped, from + 1), at(swapped, other));
    Try(path, swapped, fmt::format("blocks {} and {} swapped", from, other));
  }

  std::optional<Machine> machine_;
  ReferenceModel model_;
  ReferenceModel sent_;  // knows what was sent, and has heard no answer
  std::map<std::string, Bytes> files_;
  std::string newest_manifest_;
  std::vector<std::string> logs_;
  std::string last_with_frames_;  // behind it only an empty spare
  uint64_t sidecars_ = 0;
  int failures_ = 0;
};

TEST_F(BitRotTest, EveryByteOfASegmentItsSidecarAndItsRollup) {
  const Scenario scenario = Named("flushes_synced");
  Build(scenario, scenario.steps.size(), /*flush=*/true);
  std::vector<std::string> rows, keys, sums;
  for (const auto& [path, content] : files_) {
    if (path.ends_with(".seg")) rows.push_back(path);
    if (path.ends_with(".idx")) keys.push_back(path);
    if (path.ends_with(".sum")) sums.push_back(path);
  }
  ASSERT_GE(rows.size(), 2u);
  ASSERT_EQ(sums.size(), keys.size());
  sidecars_ = keys.size();
  const uint64_t stride = ChosenEffort() == Effort::kQuick ? 61 : 1;
  for (const std::string& path : {rows[0], keys[0], sums[0]}) {
    const Bytes& good = files_.at(path);
    for (size_t at = 0; at < good.size();
         at += path.ends_with(".idx") ? stride : (stride + 2) / 3) {
      Bytes bad = good;
      bad[at] ^= std::byte{0x40};
      TrySegmentFile(path, bad, fmt::format("byte {} flipped", at));
    }
    for (size_t bytes = 0; bytes < good.size(); bytes += 211) {
      TrySegmentFile(path, Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(bytes)),
                     fmt::format("cut to {} bytes", bytes));
      Bytes bad = good;
      for (size_t at = bytes; at < std::min(bytes + 100, bad.size()); ++at) bad[at] = std::byte{0};
      TrySegmentFile(path, bad, fmt::format("100 bytes zeroed from {}", bytes));
    }
    const auto& others = path.ends_with(".seg") ? rows : path.ends_with(".idx") ? keys : sums;
    for (const std::string& other : others) {
      TrySegmentFile(path, files_.at(other), "the content of " + other);
    }
    TrySegmentFile(path, std::nullopt, "missing");
  }
}

TEST_F(BitRotTest, UndamagedItOpens) {
  Machine machine = machine_->Fork();
  ASSERT_TRUE(machine.Open().ok());
  EXPECT_EQ(model_.Learn(machine.db()), "");
}

TEST_F(BitRotTest, EveryByteOfOneFileOfEachKind) {
  const bool quick = ChosenEffort() == Effort::kQuick;
  for (const auto& [path, content] : files_) {
    if (path.ends_with("/IDENTITY") || path.find("/manifest/") != std::string::npos)
      FlipBytes(path, 1);
  }
  // The oldest log is ended by the manifest, the last one is open: every byte of both, and samples
  // between.
  for (const std::string& path : logs_) {
    const bool edge = path == logs_.front() || path == last_with_frames_;
    FlipBytes(path, quick ? 211 : (edge || ChosenEffort() == Effort::kSoak ? 1 : 67));
  }
}

TEST_F(BitRotTest, RangesAndBlocks) {
  for (const auto& [path, content] : files_) DamageBlocks(path);
}

TEST_F(BitRotTest, BlocksOfAnotherFile) {
  for (const std::string& path : logs_) {
    for (const std::string& other : logs_) Try(path, files_.at(other), "the content of " + other);
    Bytes longer = files_.at(path);
    longer.resize(longer.size() + 5);
    Try(path, longer, "five bytes too long");
  }
}

TEST_F(BitRotTest, MissingFilesAtAnyTime) {
  for (const Scenario& scenario : SmallScenarios()) {
    for (size_t steps = 0; steps <= scenario.steps.size(); ++steps) {
      Build(scenario, steps);
      for (const auto& [path, content] : files_) {
        Try(path, std::nullopt, fmt::format("missing, {} after {} steps", scenario.name, steps));
      }
    }
  }
}

class Totals : public testing::Environment {
 public:
  void TearDown() override {
    EXPECT_GT(damages_tried, 0u);
    EXPECT_GT(damages_refused, damages_tried / 20) << "hardly any damage was noticed";
    ReportTried(fmt::format("bit_rot damages={} refused={} whole_tails_lost={}", damages_tried,
                            damages_refused, tails_lost));
  }
};
[[maybe_unused]] const auto* const kTotals = testing::AddGlobalTestEnvironment(new Totals);

}  // namespace
}  // namespace tallystick
