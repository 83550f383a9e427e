// Repair: every kind of damage, planned without changing a byte, applied, and compared row by row
// with the database before the damage; applied again with a crash at each of its operations.
#include "tallystick/repair.h"

#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/coding.h"
#include "base/decimal.h"
#include "engine/repair.h"
#include "engine/repair_journal.h"
#include "env/number_name.h"
#include "manifest/manifest.h"
#include "segment/segment_reader.h"
#include "testing/fault_fs.h"
#include "testing/machine.h"
#include "testing/scenario.h"
#include "testing/sim_env.h"
#include "testing/tried.h"
#include "wal/wal_format.h"

namespace tallystick {
namespace {

uint64_t repairs_tried = 0;
uint64_t crashes_tried = 0;
std::set<std::string> codes_seen;

using Files = std::map<std::string, Bytes>;

struct Row {
  Event event;  // with its LSN and stamp
  bool quarantined = false;
};
using Rows = std::map<uint64_t, Row>;  // by LSN

OpenOptions Options() {
  OpenOptions options = SmallOptions(true);
  options.memtables_max = options.key_tables_max = 100;
  return options;
}

// A stopped database: some segments, then a log of several files that is not flushed.
struct Original {
  Machine machine{11, Options()};
  Files files;
  Rows rows;
  std::vector<std::string> segments, logs;  // .seg files, and log files with frames
  std::string manifest;                     // the newest
};

Files FilesOf(Machine& machine) {
  Files files;
  for (const std::string& path : machine.fs().AllFiles()) {
    if (!path.ends_with("/LOCK")) files[path] = *machine.fs().Content(path);
  }
  return files;
}

void ReadRows(const Db& db, Rows* rows) {
  auto stream = db.ListEvents({.from_ms = 0, .to_ms = INT64_MAX});
  ASSERT_TRUE(stream.ok()) << stream.status().ToString();
  while (true) {
    auto event = stream->Next();
    ASSERT_TRUE(event.ok()) << event.status().ToString();
    if (!event->has_value()) break;
    (*rows)[(*event)->lsn.value] = {**event, false};
  }
  auto conflicts = db.ListConflicts({});
  ASSERT_TRUE(conflicts.ok()) << conflicts.status().ToString();
  for (const Conflict& conflict : conflicts->conflicts) {
    Event event = conflict.event;
    event.lsn = conflict.lsn;
    (*rows)[conflict.lsn.value] = {event, true};
  }
}

ExactSum SumOf(const Rows& rows) {
  ExactSum sum;
  for (const auto& [lsn, row] : rows) {
    if (!row.quarantined) sum.Add(row.event.quantity);
  }
  return sum;
}

void Ingest(Machine& machine, int first, int last, int at_once) {
  for (int id = first; id < last; id += at_once) {
    std::vector<Event> events;
    for (int i = id; i < std::min(id + at_once, last); ++i) events.push_back(SmallEvent(i));
    auto answer = machine.IngestInTheEnd(events);
    ASSERT_TRUE(answer.ok()) << answer.status().ToString();
    ASSERT_EQ(answer->accepted, events.size());
    machine.clock().Advance(1000);
  }
}

const Original& TheOriginal() {
  static Original* original = [] {
    auto* made = new Original;
    Machine& machine = made->machine;
    EXPECT_TRUE(machine.Open().ok());
    Ingest(machine, 0, 90, 6);
    // Conflicts with the first and with the latest segment's rows.
    EXPECT_EQ(machine.IngestInTheEnd({SmallEvent(1, 1), SmallEvent(80, 1)})->conflicts, 2u);
    machine.RunUntilIdle();
    EXPECT_TRUE(machine.Close().ok());
    OpenOptions keep_log = Options();
    keep_log.flush_on_close_ms_max = 0;
    machine.SetOptions(keep_log);
    FaultFs no_flush(machine.fs());
    no_flush.Set(Fault{FaultOp::kCreate, 0, true, EIO, false, ".seg"});
    machine.SetFileSystem(&no_flush);
    EXPECT_TRUE(machine.Open().ok());
    Ingest(machine, 90, 130, 2);
    EXPECT_EQ(machine.IngestInTheEnd({SmallEvent(100, 1), SmallEvent(2, 1)})->conflicts, 2u);
    machine.RunUntilIdle();
    ReadRows(machine.db(), &made->rows);
    EXPECT_TRUE(machine.Close().ok());
    machine.Halt();
    machine.SetFileSystem(nullptr);
    machine.SetOptions(Options());
    machine.Restart(CrashKind::kKill, 1);
    made->files = FilesOf(machine);
    for (const auto& [path, content] : made->files) {
      if (path.ends_with(".seg")) made->segments.push_back(path);
      if (path.find("/manifest/") != std::string::npos) made->manifest = path;
      const bool frames = path.find("/wal/") != std::string::npos && !path.ends_with(".torn") &&
                          content.at(kBlockBytes) != std::byte{0};
      if (frames) made->logs.push_back(path);
    }
    EXPECT_GE(made->segments.size(), 3u);
    EXPECT_GE(made->logs.size(), 3u);
    EXPECT_EQ(made->rows.size(), 134u);
    return made;
  }();
  return *original;
}

class RepairTest : public testing::Test {
 protected:
  RepairTest() : original_(TheOriginal()), machine_(original_.machine.Fork()) {
    repair_.segment_rows_max = 25;  // several segments, and several passes over one
  }
  ~RepairTest() override { machine_->Halt(); }

  // --- damage ---
  void Flip(const std::string& path, size_t at) {
    Bytes bytes = *machine_->fs().Content(path);
    ASSERT_LT(at, bytes.size());
    bytes[at] ^= std::byte{0x40};
    machine_->fs().SetContent(path, bytes);
  }
  void Remove(const std::string& path) {
    ASSERT_TRUE(machine_->fs().Remove(path).ok()) << path;
    ASSERT_TRUE(machine_->fs().SyncDir(ParentPath(path)).ok());
  }
  void RemoveManifests() {
    for (const auto& [path, content] : original_.files) {
      if (path.find("/manifest/") != std::string::npos) Remove(path);
    }
  }
  void AddLogFile(uint64_t number, ByteSpan content) {
    SimFs& fs = machine_->fs();
    auto file = fs.Open("data/wal/" + NumberName(number), OpenMode::kCreateNew);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteFully(**file, 0, content).ok());
    ASSERT_TRUE((*file)->Sync().ok());
    ASSERT_TRUE(fs.SyncDir("data/wal").ok());
  }
  // One damage of any kind to any file. What was done.
  std::string DamageAnything(SeededRandom& random);

  // Where the row group's chunks begin.
  size_t OffsetOfGroup(const std::string& path, uint32_t group) {
    BlockCache cache(1 << 20);
    SimFs& fs = machine_->fs();
    const auto number = LeadingNumber(path.substr(path.rfind('/') + 1));
    auto manifest = DecodedManifest();
    for (const ListedSegment& listed : manifest.segments) {
      if (listed.number.value != *number) continue;
      auto reader = SegmentReader::Open(fs, path, {id_, listed.number, 0}, cache);
      EXPECT_TRUE(reader.ok());
      // The first blocks stand behind the header, group by group: found by what they break.
      for (size_t at = 64; at < listed.bytes; ++at) {
        auto fork = Bytes(*fs.Content(path));
        fork[at] ^= std::byte{0x40};
        fs.SetContent(path, fork);
        BlockCache fresh(1 << 20);
        auto broken = SegmentReader::Open(fs, path, {id_, listed.number, 0}, fresh);
        bool here = false;
        if (broken.ok()) {
          SegmentCursor cursor(**broken, kAllSegmentColumns);
          here = !cursor.Seek(group * listed_group_rows_).ok();
          SegmentCursor other(**broken, kAllSegmentColumns);
          here = here && other.Seek(group == 0 ? listed_group_rows_ : 0).ok();
        }
        fork[at] ^= std::byte{0x40};
        fs.SetContent(path, fork);
        if (here) return at;
      }
    }
    ADD_FAILURE() << path << " has no such group";
    return 0;
  }
  Manifest DecodedManifest() {
    auto manifest = DecodeManifest(original_.files.at(original_.manifest), &id_);
    EXPECT_TRUE(manifest.ok());
    return *manifest;
  }
  // LSNs of a segment by its file's name.
  LsnRange RangeOf(const std::string& path) {
    const auto number = LeadingNumber(path.substr(path.rfind('/') + 1));
    for (const ListedSegment& listed : DecodedManifest().segments) {
      if (listed.number.value == *number) return {listed.first_lsn, listed.last_lsn};
    }
    ADD_FAILURE() << path;
    return {};
  }
  struct Frame {
    size_t offset = 0, bytes = 0;
    LsnRange lsns;
    uint32_t rows = 0;
  };
  std::vector<Frame> FramesOf(const std::string& path) {
    const Bytes& bytes = original_.files.at(path);
    const auto header = DecodeWalFileHeader(bytes);
    EXPECT_TRUE(header.ok());
    const WalFileView view(bytes, header->salt);
    std::vector<Frame> frames;
    for (uint64_t at = kWalHeaderBytes; at < bytes.size();) {
      const auto frame = view.FrameAt(at);
      if (!frame.has_value()) break;
      const Lsn first = frame->header.first_lsn;
      frames.push_back(
          {at, frame->bytes, {first, {first.value + frame->header.rows - 1}}, frame->header.rows});
      at += frame->bytes;
    }
    return frames;
  }

  // --- repair ---
  OpenOptions RepairOpenOptions(SimEnv& env) {
    OpenOptions options = Options();
    options.env = &env;
    return options;
  }
  Result<RepairReport> Plan(FileSystem* front = nullptr) {
    SimEnv env(front != nullptr ? *front : machine_->fs(), machine_->clock(), 5);
    const Files before = FilesOf(*machine_);
    auto report = PlanRepair("data", RepairOpenOptions(env), repair_);
    EXPECT_TRUE(FilesOf(*machine_) == before) << "a plan changed something";
    return report;
  }
  static Result<RepairReport> Apply(Machine& machine, const RepairOptions& repair) {
    SimEnv env(machine.fs(), machine.clock(), 6);
    OpenOptions options = Options();
    options.env = &env;
    return ApplyRepair("data", options, repair);
  }

  bool Has(const RepairReport& report, std::string_view code, const std::string& file = "") {
    bool found = false;
    for (const RepairFinding& finding : report.findings) {
      codes_seen.insert(finding.code);
      found = found || (finding.code == code && (file.empty() || finding.file == file));
    }
    return found;
  }

  // The rows that are left, in the old order under dense LSNs.
  Rows Survivors(const std::set<uint64_t>& lost) {
    Rows left;
    for (const auto& [lsn, row] : original_.rows) {
      if (lost.contains(lsn)) continue;
      Row kept = row;
      kept.event.lsn = {left.size() + 1};
      left[kept.event.lsn.value] = kept;
    }
    return left;
  }

  static void ExpectSame(const Rows& found, const Rows& expected, bool stamps) {
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [lsn, row] : expected) {
      ASSERT_TRUE(found.contains(lsn)) << lsn;
      Event event = found.at(lsn).event;
      if (!stamps) event.ingested_at_ms = row.event.ingested_at_ms;
      EXPECT_EQ(event, row.event) << "LSN " << lsn;
      EXPECT_EQ(found.at(lsn).quarantined, row.quarantined) << "LSN " << lsn;
    }
  }

  // Opens the repaired database: it has exactly the rows that are left, all adds up, and resending
  // everything counts the lost events once and nothing twice.
  void ExpectRepaired(Machine& machine, const std::set<uint64_t>& lost, bool stamps = true) {
    ASSERT_EQ(machine.Open().ToString(), "ok");
    machine.RunUntilIdle();
    Rows found;
    ReadRows(machine.db(), &found);
    const Rows expected = Survivors(lost);
    ExpectSame(found, expected, stamps);
    auto verified = machine.db().Verify({});
    ASSERT_TRUE(verified.ok()) << verified.status().ToString();
    EXPECT_TRUE(verified->faults.empty()) << verified->faults.front();
    uint64_t accepted = 0, expected_accepted = 0;
    for (int again = 0; again < 2; ++again) {
      for (const auto& [lsn, row] : original_.rows) {
        if (row.quarantined) continue;
        auto answer = machine.IngestInTheEnd({row.event});
        ASSERT_TRUE(answer.ok()) << answer.status().ToString();
        accepted += answer->accepted;
        ASSERT_EQ(answer->accepted + answer->duplicates, 1u);
        if (again == 0) expected_accepted += lost.contains(lsn) ? 1 : 0;
      }
    }
    EXPECT_EQ(accepted, expected_accepted);
    Rows all;
    ReadRows(machine.db(), &all);
    EXPECT_EQ(SumOf(all).ToString(), SumOf(original_.rows).ToString());
    ASSERT_TRUE(machine.Close().ok());
    machine.Halt();
    machine.Restart(CrashKind::kPowerCut, 3);
    ASSERT_EQ(machine.Open().ToString(), "ok");
    EXPECT_EQ(machine.db().VisibleLsn().value, all.size());
    machine.Halt();
  }

  // The whole story of one damage.
  RepairReport ExpectRepair(const std::set<uint64_t>& lost, std::string_view code,
                            const std::string& file, bool stamps = true) {
    ++repairs_tried;
    auto plan = Plan();
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    if (!plan.ok()) return {};
    EXPECT_TRUE(plan->damaged);
    EXPECT_FALSE(plan->applied);
    EXPECT_TRUE(Has(*plan, code, file)) << RepairReportText(*plan);
    ExpectFigures(*plan, lost);
    const Files before = FilesOf(*machine_);
    auto report = Apply(*machine_, repair_);
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    if (!report.ok()) return {};
    EXPECT_TRUE(report->applied);
    ExpectFigures(*report, lost);
    ExpectNothingDeleted(before, *report);
    auto again = Plan();
    EXPECT_TRUE(again.ok() && !again->damaged) << RepairReportText(*again);
    const Files repaired = FilesOf(*machine_);
    auto nothing = Apply(*machine_, repair_);
    EXPECT_TRUE(nothing.ok() && !nothing->applied);
    EXPECT_TRUE(FilesOf(*machine_) == repaired) << "a second repair changed something";
    Machine fork = machine_->Fork();
    ExpectRepaired(fork, lost, stamps);
    return *plan;
  }

  void ExpectFigures(const RepairReport& report, const std::set<uint64_t>& lost) {
    const Rows left = Survivors(lost);
    EXPECT_EQ(report.rows_kept, left.size()) << RepairReportText(report);
    EXPECT_EQ(report.rows_lost, original_.rows.size() - left.size()) << RepairReportText(report);
    EXPECT_EQ(report.quantity_kept, SumOf(left).ToString());
    EXPECT_EQ(report.last_lsn.value, left.size());
    std::set<uint64_t> said;
    for (const RepairLoss& loss : report.losses) {
      uint64_t rows = 0;
      for (const LsnRange& range : loss.lsns) {
        for (uint64_t lsn = range.first.value; lsn <= range.last.value; ++lsn) {
          EXPECT_TRUE(said.insert(lsn).second) << lsn << " is said to be lost twice";
          ++rows;
        }
      }
      EXPECT_EQ(rows, loss.rows);
    }
    EXPECT_EQ(said, lost);
    if (report.quantity_lost.has_value()) {
      ExactSum all = SumOf(original_.rows);
      all.Add(SumOf(left).Negated());
      EXPECT_EQ(*report.quantity_lost, all.ToString());
    }
    ASSERT_FALSE(report.ways.empty());
    EXPECT_EQ(report.ways[0].rows_kept, left.size());
    if (lost.empty()) return;
    ASSERT_EQ(report.ways.size(), 2u);
    EXPECT_EQ(report.ways[1].rows_kept, *lost.begin() - 1);
  }

  // Every file of before is where it was, or in the folder for what is set aside.
  void ExpectNothingDeleted(const Files& before, const RepairReport& report) {
    const Files after = FilesOf(*machine_);
    for (const auto& [path, content] : before) {
      const bool same = after.contains(path) && after.at(path) == content;
      const std::string aside = report.set_aside + path.substr(std::string("data").size());
      EXPECT_TRUE(same || (after.contains(aside) && after.at(aside) == content)) << path;
    }
    EXPECT_TRUE(after.contains(report.set_aside + "/report.json"));
    EXPECT_TRUE(after.contains(report.set_aside + "/report.txt"));
    EXPECT_FALSE(after.contains("data/REPAIR"));
  }

  // Whether a manifest of the repair is there.
  bool Counts(Machine& machine) {
    return std::ranges::any_of(machine.fs().AllFiles(), [this](const std::string& path) {
      return path.starts_with("data/manifest/") && !path.ends_with(".tmp") &&
             path > original_.manifest;
    });
  }

  std::set<uint64_t> LsnsOf(LsnRange range) {
    std::set<uint64_t> lsns;
    for (uint64_t lsn = range.first.value; lsn <= range.last.value; ++lsn) lsns.insert(lsn);
    return lsns;
  }
  std::set<uint64_t> LsnsSaidLost(const RepairReport& report) {
    std::set<uint64_t> lost;
    for (const RepairLoss& loss : report.losses) {
      for (const LsnRange& range : loss.lsns) lost.merge(LsnsOf(range));
    }
    return lost;
  }
  // With the conflicts that lose their original.
  std::set<uint64_t> WithOrphans(std::set<uint64_t> lost) {
    std::set<std::string> ids;
    for (const uint64_t lsn : lost) {
      const Row& row = original_.rows.at(lsn);
      if (!row.quarantined) ids.insert(row.event.event_id);
    }
    for (const auto& [lsn, row] : original_.rows) {
      if (row.quarantined && ids.contains(row.event.event_id)) lost.insert(lsn);
    }
    return lost;
  }

  const Original& original_;
  std::optional<Machine> machine_;
  RepairOptions repair_;
  DatabaseId id_;
  uint32_t listed_group_rows_ = 4;
};

TEST_F(RepairTest, NothingDamaged) {
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_FALSE(plan->damaged) << RepairReportText(*plan);
  EXPECT_EQ(plan->rows_kept, original_.rows.size());
  EXPECT_EQ(plan->quantity_kept, SumOf(original_.rows).ToString());
  const Files before = FilesOf(*machine_);
  const auto report = Apply(*machine_, repair_);
  ASSERT_TRUE(report.ok());
  EXPECT_FALSE(report->applied);
  EXPECT_TRUE(FilesOf(*machine_) == before);
}

TEST_F(RepairTest, SidecarsAndRollupsAreNoReason) {
  std::string idx = original_.segments[0], sum = original_.segments[1];
  idx.replace(idx.size() - 3, 3, "idx");
  sum.replace(sum.size() - 3, 3, "sum");
  Remove(idx);
  Flip(sum, 70);
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->damaged);
  EXPECT_TRUE(Has(*plan, "rebuilt_by_start", idx));
  EXPECT_TRUE(Has(*plan, "rebuilt_by_start", sum));
  EXPECT_NE(RepairReportText(*plan).find("rebuilt by the next start"), std::string::npos);
}

TEST_F(RepairTest, IdentityMissing) {
  Remove("data/IDENTITY");
  const auto plan = ExpectRepair({}, "identity_unreadable", "data/IDENTITY");
  EXPECT_EQ(plan.quantity_lost, "0");
}

TEST_F(RepairTest, IdentityDamaged) {
  Flip("data/IDENTITY", 20);
  ExpectRepair({}, "identity_unreadable", "data/IDENTITY");
}

TEST_F(RepairTest, IdentityLongerThanAny) {
  Bytes bytes = original_.files.at("data/IDENTITY");
  bytes.resize(2 * kBlockBytes, std::byte{7});
  machine_->fs().SetContent("data/IDENTITY", bytes);
  ExpectRepair({}, "identity_unreadable", "data/IDENTITY");
}

TEST_F(RepairTest, IdentityThatCannotBeRead) {
  Flip("data/IDENTITY", 20);
  FaultFs faults(machine_->fs());
  faults.Set(Fault{FaultOp::kRead, 0, true, EIO, false, "data/IDENTITY"});
  const Files before = FilesOf(*machine_);
  SimEnv env(faults, machine_->clock(), 6);
  const auto report = ApplyRepair("data", RepairOpenOptions(env), repair_);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_TRUE(Has(*report, "unreadable", "data/IDENTITY"));
  ExpectNothingDeleted(before, *report);
  ExpectRepaired(*machine_, {});
}

TEST_F(RepairTest, IdentityOfAnotherDatabase) {
  Machine other(99, Options());
  ASSERT_TRUE(other.Open().ok());
  ASSERT_TRUE(other.Close().ok());
  machine_->fs().SetContent("data/IDENTITY", *other.fs().Content("data/IDENTITY"));
  ExpectRepair({}, "identity_unreadable", "data/IDENTITY");
}

TEST_F(RepairTest, WithoutSegmentsTheScopeMustBeGiven) {
  Machine young(21, Options());
  ASSERT_TRUE(young.Open().ok());
  ASSERT_TRUE(young.IngestInTheEnd({SmallEvent(1)}).ok());
  young.Halt();
  young.Restart(CrashKind::kKill, 1);
  ASSERT_TRUE(young.fs().Remove("data/IDENTITY").ok());
  SimEnv env(young.fs(), young.clock(), 5);
  auto plan = PlanRepair("data", RepairOpenOptions(env), {});
  EXPECT_EQ(plan.status().reason(), "identity_scope_unknown");
  EXPECT_NE(plan.status().message().find("--identity-scope"), std::string::npos);
  auto report = Apply(young, {.identity_scope = IdentityScope::kGlobal});
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  ASSERT_EQ(young.Open().ToString(), "ok");
  EXPECT_EQ(young.db().VisibleLsn().value, 1u);
  EXPECT_EQ(young.IngestInTheEnd({SmallEvent(1)})->duplicates, 1u);
  young.Halt();
}

TEST_F(RepairTest, NewestManifestDamaged) {
  Flip(original_.manifest, 60);
  ExpectRepair({}, "manifest_unreadable", original_.manifest);
}

TEST_F(RepairTest, WholeManifestFolderEmpty) {
  for (const auto& [path, content] : original_.files) {
    if (path.find("/manifest/") != std::string::npos) Remove(path);
  }
  ExpectRepair({}, "manifest_unreadable", "data/manifest");
}

// Without a manifest it is not said that nothing is lost, only that no loss is known; and where log
// files are gone, that there may be one.
TEST_F(RepairTest, WithoutAManifestTheEndOfTheLogIsNotKnown) {
  std::string older;
  for (const auto& [path, content] : original_.files) {
    if (path.find("/manifest/") != std::string::npos && path < original_.manifest) older = path;
  }
  Flip(original_.manifest, 60);
  const Machine damaged = machine_->Fork();
  auto plan = Plan();
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->more_lost) << RepairReportText(*plan);
  EXPECT_NE(RepairReportText(*plan).find("No lost row is known"), std::string::npos);
  EXPECT_EQ(RepairReportText(*plan).find("No row is lost"), std::string::npos);
  EXPECT_NE(RepairReportJson(*plan).find("\"manifest_lost\":true"), std::string::npos);

  const auto listed = DecodeManifest(original_.files.at(older), &id_)->wal_files;
  ASSERT_FALSE(listed.empty());
  for (const bool all : {false, true}) {
    machine_.emplace(damaged.Fork());
    const std::string last = "data/wal/" + NumberName(listed.back().number.value);
    for (const auto& [path, content] : original_.files) {
      if (path.starts_with("data/wal/") && (all || path >= last)) Remove(path);
    }
    plan = Plan();
    ASSERT_TRUE(plan.ok());
    EXPECT_TRUE(plan->more_lost) << RepairReportText(*plan);
    EXPECT_FALSE(plan->quantity_lost.has_value());
    EXPECT_NE(RepairReportText(*plan).find("perhaps"), std::string::npos);
  }
  // All of the log, and all that said that there was one.
  RemoveManifests();
  plan = Plan();
  ASSERT_TRUE(plan.ok());
  EXPECT_TRUE(plan->more_lost);
}

TEST_F(RepairTest, ManifestsAndASegmentGone) {
  for (const auto& [path, content] : original_.files) {
    if (path.find("/manifest/") != std::string::npos) Remove(path);
  }
  const std::string& segment = original_.segments[1];
  Remove(segment);
  const auto lost = WithOrphans(LsnsOf(RangeOf(segment)));
  const auto plan = ExpectRepair(lost, "lsn_gap", "data");
  EXPECT_TRUE(plan.quantity_lost.has_value()) << RepairReportText(plan);
}

TEST_F(RepairTest, ListedSegmentMissing) {
  const std::string& segment = original_.segments[1];
  Remove(segment);
  const auto plan = ExpectRepair(WithOrphans(LsnsOf(RangeOf(segment))), "segment_missing", segment);
  // Its rollup knows what it had.
  ASSERT_FALSE(plan.losses.empty());
  EXPECT_TRUE(plan.losses[0].quantity.has_value());
  EXPECT_TRUE(plan.losses[0].timestamps_ms.has_value());
  EXPECT_TRUE(plan.quantity_lost.has_value());
}

TEST_F(RepairTest, FirstSegmentMissingWithItsSiblings) {
  const std::string& segment = original_.segments[0];
  Remove(segment);
  for (const char* suffix : {"idx", "sum"}) {
    std::string sibling = segment;
    Remove(sibling.replace(sibling.size() - 3, 3, suffix));
  }
  const auto lost = WithOrphans(LsnsOf(RangeOf(segment)));
  EXPECT_GT(lost.size(), LsnsOf(RangeOf(segment)).size()) << "no conflict lost its original";
  const auto plan = ExpectRepair(lost, "segment_missing", segment);
  EXPECT_TRUE(Has(plan, "conflict_orphaned"));
  EXPECT_FALSE(plan.quantity_lost.has_value());
}

TEST_F(RepairTest, SegmentWithoutAFooter) {
  const std::string& segment = original_.segments[2];
  Flip(segment, original_.files.at(segment).size() - 100);
  ExpectRepair(WithOrphans(LsnsOf(RangeOf(segment))), "segment_unreadable", segment);
}

TEST_F(RepairTest, SegmentsUnderEachOthersName) {
  const auto& [a, b] = std::pair(original_.segments[0], original_.segments[1]);
  machine_->fs().SetContent(a, original_.files.at(b));
  machine_->fs().SetContent(b, original_.files.at(a));
  ExpectRepair({}, "segment_unreadable", a);
}

TEST_F(RepairTest, RowGroupOfASegment) {
  const std::string& segment = original_.segments[1];
  const size_t at = OffsetOfGroup(segment, 2);
  Flip(segment, at);
  const auto before = Plan();
  ASSERT_TRUE(before.ok()) << before.status().ToString();
  ASSERT_EQ(before->losses.size(), 1u) << RepairReportText(*before);
  const RepairLoss& loss = before->losses[0];
  EXPECT_EQ(loss.rows, 4u);
  EXPECT_TRUE(loss.quantity.has_value());
  std::set<uint64_t> lost;
  std::map<std::string, uint64_t> accounts;
  for (const LsnRange& range : loss.lsns) {
    for (const uint64_t lsn : LsnsOf(range)) lost.insert(lsn);
  }
  for (const uint64_t lsn : lost) ++accounts[original_.rows.at(lsn).event.account_id];
  EXPECT_EQ((std::map<std::string, uint64_t>(loss.accounts.begin(), loss.accounts.end())),
            accounts);
  for (const uint64_t lsn : lost) {
    const int64_t time = original_.rows.at(lsn).event.timestamp_ms;
    EXPECT_GE(time, loss.timestamps_ms->first);
    EXPECT_LE(time, loss.timestamps_ms->second);
  }
  const auto plan = ExpectRepair(WithOrphans(lost), "segment_blocks", segment);
  EXPECT_TRUE(plan.quantity_lost.has_value());
  bool has_offset = false;
  for (const RepairFinding& finding : plan.findings) has_offset = has_offset || finding.offset > 0;
  EXPECT_TRUE(has_offset);
}

// Every byte in turn (of the last segment, all of the others are kept): whatever is hit, the rows
// that are left are exactly those that the plan says.
TEST_F(RepairTest, AnyByteOfASegment) {
  const std::string segment = original_.segments.back();
  const Bytes& good = original_.files.at(segment);
  const LsnRange range = RangeOf(segment);
  const uint64_t stride = ChosenEffort() == Effort::kQuick ? 401 : 23;
  uint64_t nothing_lost = 0, some_lost = 0;
  for (size_t at = 0; at < good.size(); at += stride) {
    machine_.emplace(original_.machine.Fork());
    Flip(segment, at);
    const auto plan = Plan();
    ASSERT_TRUE(plan.ok()) << at << ": " << plan.status().ToString();
    ASSERT_TRUE(plan->damaged) << "byte " << at;
    std::set<uint64_t> lost;
    for (const RepairLoss& loss : plan->losses) {
      for (const LsnRange& lsns : loss.lsns) {
        for (const uint64_t lsn : LsnsOf(lsns)) lost.insert(lsn);
      }
    }
    EXPECT_EQ(WithOrphans(lost), lost) << "byte " << at;
    for (const uint64_t lsn : lost) {
      EXPECT_TRUE(original_.rows.at(lsn).quarantined ||
                  (lsn >= range.first.value && lsn <= range.last.value));
    }
    ExpectFigures(*plan, lost);
    ++(lost.empty() ? nothing_lost : some_lost);
    ++repairs_tried;
    const auto report = Apply(*machine_, repair_);
    ASSERT_TRUE(report.ok()) << at << ": " << report.status().ToString();
    const bool stamps = !Has(*plan, "commit_times");
    ExpectRepaired(*machine_, lost, stamps);
    if (HasFailure()) FAIL() << "byte " << at;
  }
  EXPECT_GT(nothing_lost, 0u);
  EXPECT_GT(some_lost, 0u);
}

TEST_F(RepairTest, ReadErrorInASegment) {
  const std::string& segment = original_.segments[1];
  FaultFs faults(machine_->fs());
  // The 40th read of this file: a block of some row group. Later reads succeed.
  faults.Set(Fault{FaultOp::kRead, 12, true, EIO, false, segment.substr(segment.rfind('/'))});
  const auto plan = Plan(&faults);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_TRUE(plan->damaged);
  EXPECT_TRUE(Has(*plan, "unreadable", segment)) << RepairReportText(*plan);
  EXPECT_GT(plan->rows_lost, 0u);
}

TEST_F(RepairTest, WhatCannotBeOpenedIsNotDamage) {
  for (const std::string& path : {original_.segments[1], original_.logs[1], original_.manifest,
                                  std::string("data/IDENTITY")}) {
    FaultFs faults(machine_->fs());
    faults.Set(Fault{FaultOp::kOpen, 0, true, EMFILE, false, path.substr(path.rfind('/'))});
    const auto plan = Plan(&faults);
    ASSERT_FALSE(plan.ok()) << path;
    EXPECT_EQ(plan.status().code(), StatusCode::kIoError);
    EXPECT_NE(plan.status().message().find(path), std::string::npos) << plan.status().message();
  }
}

TEST_F(RepairTest, AnUnlistedCopyFillsWhatASegmentLost) {
  // As a flush leaves it that never came to its manifest: the same rows under another number.
  const std::string& segment = original_.segments[1];
  Machine donor = original_.machine.Fork();
  SimFs& fs = machine_->fs();
  // The first repair writes the segment's rows anew; its file is put beside the damaged original.
  const LsnRange range = RangeOf(segment);
  repair_.segment_rows_max = static_cast<uint32_t>(range.last.value - range.first.value + 1);
  Bytes bytes = *donor.fs().Content(segment);
  bytes[20] ^= std::byte{1};  // only the header: no row is lost
  donor.fs().SetContent(segment, bytes);
  auto written = Apply(donor, repair_);
  ASSERT_TRUE(written.ok()) << written.status().ToString();
  std::string copy;
  for (const std::string& path : donor.fs().AllFiles()) {
    const bool fresh = path.starts_with("data/segments/") && path.ends_with(".seg") &&
                       !original_.files.contains(path);
    if (fresh && copy.empty()) copy = path;
  }
  ASSERT_NE(copy, "");
  auto file = fs.Open(copy, OpenMode::kCreateNew);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(WriteFully(**file, 0, *donor.fs().Content(copy)).ok());
  ASSERT_TRUE((*file)->Sync().ok());
  ASSERT_TRUE(fs.SyncDir("data/segments").ok());
  Remove(segment);
  repair_.segment_rows_max = 25;
  const auto plan = ExpectRepair({}, "segment_missing", segment);
  EXPECT_EQ(plan.segments_kept, original_.segments.size());
}

TEST_F(RepairTest, ASegmentAboveTheLogsEnd) {
  // A flush came to its segment, and then the log was lost.
  Machine flushed = original_.machine.Fork();
  ASSERT_TRUE(flushed.Open().ok());
  flushed.RunUntilIdle();
  ASSERT_TRUE(flushed.Close().ok());
  flushed.Halt();
  flushed.Restart(CrashKind::kKill, 1);
  std::vector<std::string> fresh;
  for (const std::string& path : flushed.fs().AllFiles()) {
    if (path.ends_with(".seg") && !original_.files.contains(path)) fresh.push_back(path);
  }
  ASSERT_FALSE(fresh.empty());
  SimFs& fs = machine_->fs();
  for (const std::string& path : fresh) {
    auto file = fs.Open(path, OpenMode::kCreateNew);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteFully(**file, 0, *flushed.fs().Content(path)).ok());
    ASSERT_TRUE((*file)->Sync().ok());
  }
  ASSERT_TRUE(fs.SyncDir("data/segments").ok());
  for (const std::string& log : original_.logs) {
    Bytes bytes = original_.files.at(log);
    std::fill(bytes.begin() + kBlockBytes, bytes.end(), std::byte{0});
    fs.SetContent(log, bytes);
  }
  ExpectRepair({}, "log_end", fresh.back());
}

TEST_F(RepairTest, FrameInTheMiddleOfTheLog) {
  const std::string& log = original_.logs[1];
  const auto frames = FramesOf(log);
  ASSERT_GE(frames.size(), 3u);
  ASSERT_GT(frames[1].rows, 0u);
  Flip(log, frames[1].offset + 70);
  const auto plan = ExpectRepair(WithOrphans(LsnsOf(frames[1].lsns)), "log_hole", log);
  EXPECT_EQ(plan.first_renumbered, frames[1].lsns.first);
  EXPECT_FALSE(plan.quantity_lost.has_value());
  EXPECT_FALSE(plan.more_lost);
}

TEST_F(RepairTest, LogFileMissing) {
  const std::string& log = original_.logs[1];
  const auto frames = FramesOf(log);
  Remove(log);
  std::set<uint64_t> lost;
  for (const Frame& frame : frames) {
    if (frame.rows > 0) lost.merge(LsnsOf(frame.lsns));
  }
  ExpectRepair(WithOrphans(lost), "log_file_missing", log);
}

TEST_F(RepairTest, LogHeaderDamaged) {
  for (const std::string& log : original_.logs) Flip(log, 40);
  ExpectRepair({}, "log_header", original_.logs[0]);
}

TEST_F(RepairTest, LogFilesUnderEachOthersName) {
  const auto& [a, b] = std::pair(original_.logs[0], original_.logs[1]);
  machine_->fs().SetContent(a, original_.files.at(b));
  machine_->fs().SetContent(b, original_.files.at(a));
  ExpectRepair({}, "log_header", a);
}

TEST_F(RepairTest, ForeignLogFile) {
  Machine other(98, Options());
  ASSERT_TRUE(other.Open().ok());
  ASSERT_TRUE(other.IngestInTheEnd({SmallEvent(5)}).ok());
  other.Halt();
  other.Restart(CrashKind::kKill, 1);
  std::string foreign;
  for (const std::string& path : other.fs().AllFiles()) {
    if (path.find("/wal/") != std::string::npos && foreign.empty()) foreign = path;
  }
  const std::string& log = original_.logs[1];
  std::set<uint64_t> lost;
  for (const Frame& frame : FramesOf(log)) {
    if (frame.rows > 0) lost.merge(LsnsOf(frame.lsns));
  }
  machine_->fs().SetContent(log, *other.fs().Content(foreign));
  ExpectRepair(WithOrphans(lost), "log_header", log);
}

TEST_F(RepairTest, ReadErrorInTheLog) {
  const std::string& log = original_.logs[1];
  FaultFs faults(machine_->fs());
  faults.Set(Fault{FaultOp::kRead, 3, true, EIO, false, log.substr(log.rfind('/'))});
  const auto plan = Plan(&faults);
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_TRUE(plan->damaged);
  EXPECT_TRUE(Has(*plan, "unreadable", log)) << RepairReportText(*plan);
}

TEST_F(RepairTest, SegmentAndLogAndManifestTogether) {
  const std::string& segment = original_.segments[0];
  const std::string& log = original_.logs[1];
  const auto frames = FramesOf(log);
  Flip(original_.manifest, 8);
  Flip("data/IDENTITY", 0);
  Remove(segment);
  Flip(log, frames[0].offset + 3);
  std::set<uint64_t> lost = LsnsOf(RangeOf(segment));
  if (frames[0].rows > 0) lost.merge(LsnsOf(frames[0].lsns));
  ExpectRepair(WithOrphans(lost), "manifest_unreadable", original_.manifest);
}

// Without a manifest: a file of before, with other frames under the same numbers. The later file's
// count; and where that lost one, the earlier file's was superseded and is not taken for it.
TEST_F(RepairTest, SupersededFramesAreNotBelieved) {
  RemoveManifests();
  for (const uint64_t i : {0, 1}) {
    Bytes stale = original_.files.at(original_.logs[i]);
    const auto header = DecodeWalFileHeader(stale);
    ASSERT_TRUE(header.ok());
    EncodeWalFileHeader({header->database_id, {i + 1}, header->salt},
                        std::span(stale).first(kWalHeaderBytes));
    for (const Frame& frame : FramesOf(original_.logs[i])) {
      const auto whole = std::span(stale).subspan(frame.offset, frame.bytes);
      StoreFixed<int64_t>(whole.data() + 32, LoadFixed<int64_t>(whole.data() + 32) - 1'000'000);
      ResealForTest(whole);
    }
    AddLogFile(i + 1, stale);
  }
  Machine both = machine_->Fork();
  ExpectRepair({}, "manifest_unreadable", "data/manifest");

  const std::string& log = original_.logs[1];
  const auto frames = FramesOf(log);
  machine_.emplace(both.Fork());
  Flip(log, frames[1].offset + 70);
  ExpectRepair(WithOrphans(LsnsOf(frames[1].lsns)), "lsn_gap", "data");
}

// Without a manifest: a spare that was recycled, so that it has frames of long ago under the
// highest number, and whose header is damaged. It supersedes nothing.
TEST_F(RepairTest, ARecycledSpareWithoutAHeaderSupersedesNothing) {
  RemoveManifests();
  Bytes spare = original_.files.at(original_.logs[0]);
  spare[40] ^= std::byte{0x40};
  AddLogFile(99, spare);
  ExpectRepair({}, "log_header", "data/wal/" + NumberName(99));
}

// The last log file is a recycled one, and header and frames of this life are gone: the frames of
// its life before that still stand behind them do not say that it had no others.
TEST_F(RepairTest, ARecycledFileOfWhichOnlyItsLifeBeforeIsLeft) {
  const ListedWalFile last = DecodedManifest().wal_files.back();
  ASSERT_FALSE(last.end.has_value());
  const std::string path = "data/wal/" + NumberName(last.number.value);
  const std::string& donor = original_.logs[0];
  Bytes recycled = original_.files.at(donor);
  const auto frames = FramesOf(donor);
  ASSERT_GE(frames.size(), 3u);
  for (size_t i = 2; i < frames.size(); ++i) {
    const auto whole = std::span(recycled).subspan(frames[i].offset, frames[i].bytes);
    StoreFixed<uint64_t>(whole.data() + 16, i);
    StoreFixed<uint64_t>(whole.data() + 24, i);
    ResealForTest(whole);
  }
  std::fill_n(recycled.begin(), frames[2].offset, std::byte{0});
  machine_->fs().SetContent(path, recycled);
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_TRUE(Has(*plan, "log_header", path));
  EXPECT_TRUE(plan->more_lost);
  EXPECT_EQ(RepairReportText(*plan).find("No row is lost"), std::string::npos);
}

// Frames that are dropped because a later file has earlier ones: their rows are said to be lost.
TEST_F(RepairTest, RowsOfSupersededFramesAreSaidToBeLost) {
  RemoveManifests();
  Bytes later = original_.files.at(original_.logs[0]);
  const auto header = DecodeWalFileHeader(later);
  ASSERT_TRUE(header.ok());
  EncodeWalFileHeader({header->database_id, {99}, header->salt},
                      std::span(later).first(kWalHeaderBytes));
  AddLogFile(99, later);
  std::set<uint64_t> lost;
  for (const Frame& frame : FramesOf(original_.logs[0])) {
    if (frame.rows > 0) lost.insert(frame.lsns.last.value);
  }
  ASSERT_FALSE(lost.empty());
  lost = LsnsOf({{*lost.rbegin() + 1}, {original_.rows.size()}});
  ExpectRepair(WithOrphans(lost), "lsn_gap", "data");
}

TEST_F(RepairTest, NothingThatANewerVersionWrote) {
  for (const std::string& path : {original_.manifest, std::string("data/IDENTITY")}) {
    machine_.emplace(original_.machine.Fork());
    Bytes bytes = original_.files.at(path);
    bytes[8] = std::byte{2};
    // With a wrong checksum it is damage; with the right one it is not ours to touch.
    machine_->fs().SetContent(path, bytes);
    const auto damaged = Plan();
    ASSERT_TRUE(damaged.ok());
    EXPECT_TRUE(damaged->damaged);
    const size_t body = bytes.size() - sizeof(uint64_t);
    StoreFixed<uint64_t>(bytes.data() + body, XXH3_64bits(bytes.data(), body));
    machine_->fs().SetContent(path, bytes);
    EXPECT_EQ(Plan().status().reason(), "written_by_newer_version");
    EXPECT_EQ(Apply(*machine_, repair_).status().reason(), "written_by_newer_version");
  }
}

std::string RepairTest::DamageAnything(SeededRandom& random) {
  SimFs& fs = machine_->fs();
  std::vector<std::string> paths = fs.AllFiles();
  std::erase_if(paths, [](const std::string& path) { return path.ends_with("/LOCK"); });
  const std::string path = paths[random.Below(paths.size())];
  Bytes bytes = *fs.Content(path);
  const size_t at = bytes.empty() ? 0 : random.Below(bytes.size());
  const size_t end = std::min(bytes.size(), at + random.Below(9000));
  switch (random.Below(6)) {
    case 0:
      Remove(path);
      return path + " is gone";
    case 1:
      std::fill(bytes.begin() + static_cast<ptrdiff_t>(at),
                bytes.begin() + static_cast<ptrdiff_t>(end), std::byte{0});
      fs.SetContent(path, bytes);
      return fmt::format("{}: zeros from {} to {}", path, at, end);
    case 2:
      bytes.resize(at);
      fs.SetContent(path, bytes);
      return fmt::format("{}: cut at {}", path, at);
    case 3: {
      const std::string other = paths[random.Below(paths.size())];
      fs.SetContent(path, *fs.Content(other));
      return path + ": the content of " + other;
    }
    default:
      if (bytes.empty()) return path + ": empty";
      bytes[at] ^= static_cast<std::byte>(1 + random.Below(255));
      fs.SetContent(path, bytes);
      return fmt::format("{}: byte {} changed", path, at);
  }
}

// Whatever is damaged: nothing is said to be kept that is not, and nothing is lost that is not
// said; but for the end of the log, of which there may be no evidence left.
TEST_F(RepairTest, AnythingAnywhere) {
  repair_.identity_scope = IdentityScope::kGlobal;
  uint64_t damaged = 0, lossless = 0, ends_lost = 0, refused = 0;
  const uint64_t seeds = ChosenEffort() == Effort::kQuick  ? 40
                         : ChosenEffort() == Effort::kSoak ? 5000
                                                           : 400;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    machine_.emplace(original_.machine.Fork());
    SeededRandom random(seed);
    std::string what = fmt::format("seed {}", seed);
    for (uint64_t i = 0; i <= seed % 3; ++i) what += "; " + DamageAnything(random);
    SCOPED_TRACE(what);
    const auto plan = Plan();
    if (!plan.ok()) {
      EXPECT_EQ(plan.status().reason(), "database_id_unknown") << plan.status().ToString();
      ++refused;
      continue;
    }
    ++repairs_tried;
    std::set<uint64_t> lost = LsnsSaidLost(*plan);
    for (uint64_t lsn = plan->rows_kept + plan->rows_lost + 1; lsn <= original_.rows.size();
         ++lsn) {
      lost.insert(lsn);
      if (lsn == original_.rows.size()) ++ends_lost;
    }
    EXPECT_EQ(WithOrphans(lost), lost);
    EXPECT_EQ(plan->quantity_kept, SumOf(Survivors(lost)).ToString());
    (lost.empty() ? lossless : damaged) += 1;
    const auto report = Apply(*machine_, repair_);
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    EXPECT_EQ(report->applied, plan->damaged);
    ExpectRepaired(*machine_, lost, !Has(*plan, "commit_times"));
    if (HasFailure()) FAIL() << RepairReportText(*plan);
  }
  EXPECT_GT(damaged, seeds / 20);
  EXPECT_GT(lossless, seeds / 20);
  EXPECT_LT(refused, seeds / 20);
  EXPECT_LT(ends_lost, seeds / 4);
}

TEST_F(RepairTest, NoDatabaseAtAll) {
  SimFs fs;
  SimClock clock;
  SimEnv env(fs, clock, 1);
  EXPECT_EQ(PlanRepair("data", RepairOpenOptions(env), {}).status().reason(), "database_not_found");
  ASSERT_TRUE(fs.CreateDir("data").ok());
  EXPECT_EQ(PlanRepair("data", RepairOpenOptions(env), {}).status().reason(), "database_not_found");
}

// What a start takes for a database whose files are lost, repair takes for one too, by whatever is
// left of it.
TEST_F(RepairTest, AnyNumberedFileIsOfADatabase) {
  for (const char* suffix : {".idx", ".sum", ".torn", ".tmp"}) {
    SCOPED_TRACE(suffix);
    machine_.emplace(original_.machine.Fork());
    for (const std::string& path : machine_->fs().AllFiles()) {
      if (path.find("/manifest/") != std::string::npos || path.find("/wal/") != std::string::npos ||
          path.find("/segments/") != std::string::npos) {
        Remove(path);
      }
    }
    const std::string left = std::string("data/segments/000003") + suffix;
    ASSERT_TRUE(machine_->fs().Open(left, OpenMode::kCreateNew).ok());
    ASSERT_TRUE(machine_->fs().SyncDir("data/segments").ok());
    EXPECT_EQ(machine_->Open().code(), StatusCode::kCorruption);
    machine_->Halt();
    machine_->Restart(CrashKind::kKill, 1);
    Machine without_identity = machine_->Fork();
    const auto plan = Plan();
    ASSERT_TRUE(plan.ok()) << plan.status().ToString();
    EXPECT_TRUE(Has(*plan, "manifest_unreadable", "data/manifest")) << RepairReportText(*plan);
    EXPECT_TRUE(plan->more_lost);
    ASSERT_TRUE(Apply(*machine_, repair_).ok());
    EXPECT_EQ(machine_->Open().ToString(), "ok");
    machine_->Halt();
    ASSERT_TRUE(without_identity.fs().Remove("data/IDENTITY").ok());
    EXPECT_EQ(Apply(without_identity, repair_).status().reason(), "database_id_unknown");
  }
}

// REPAIR beside an IDENTITY and nothing else: a start refuses it.
TEST_F(RepairTest, AnUnfinishedRepairOfNothingIsSaid) {
  for (const std::string& path : machine_->fs().AllFiles()) {
    if (path != "data/IDENTITY" && path != "data/LOCK") Remove(path);
  }
  const Bytes journal = EncodeRepairJournal({.database_id = id_, .first_number = 9});
  auto file = machine_->fs().Open("data/REPAIR", OpenMode::kCreateNew);
  ASSERT_TRUE(file.ok() && WriteFully(**file, 0, journal).ok() && (*file)->Sync().ok());
  EXPECT_EQ(machine_->Open().reason(), "repair_unfinished");
  machine_->Halt();
  machine_->Restart(CrashKind::kKill, 1);
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status().ToString();
  EXPECT_TRUE(plan->damaged);
  EXPECT_TRUE(Has(*plan, "repair_unfinished", "data/REPAIR")) << RepairReportText(*plan);
  const auto report = Apply(*machine_, repair_);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(machine_->Open().ToString(), "ok");
}

TEST_F(RepairTest, AnOpenDatabaseIsLeftAlone) {
  ASSERT_TRUE(machine_->Open().ok());
  SimEnv env(machine_->fs(), machine_->clock(), 5);
  EXPECT_EQ(PlanRepair("data", RepairOpenOptions(env), {}).status().reason(), "locked");
}

TEST_F(RepairTest, CursorsOfBeforeAreRefused) {
  ASSERT_TRUE(machine_->Open().ok());
  std::string cursor;
  {
    auto stream = machine_->db().ListEvents({.from_ms = 0, .to_ms = INT64_MAX});
    ASSERT_TRUE(stream.ok() && stream->Next().ok());
    cursor = stream->NextCursor();
  }
  machine_->Halt();
  machine_.emplace(original_.machine.Fork());
  Flip("data/IDENTITY", 20);
  ASSERT_TRUE(Apply(*machine_, repair_).ok());
  ASSERT_TRUE(machine_->Open().ok());
  const auto again =
      machine_->db().ListEvents({.from_ms = 0, .to_ms = INT64_MAX, .cursor = cursor});
  EXPECT_EQ(again.status().reason(), "foreign_cursor");
}

// Crashes at every operation of a repair, killed and power-cut: what is there then is completed by
// another repair, to the same database, whatever damage it is.
class RepairCrashTest : public RepairTest, public testing::WithParamInterface<int> {};

TEST_P(RepairCrashTest, AnyOperation) {
  std::set<uint64_t> lost;
  switch (GetParam()) {
    case 0:
      Remove(original_.segments[1]);
      lost = WithOrphans(LsnsOf(RangeOf(original_.segments[1])));
      break;
    case 1:
      Flip(original_.manifest, 60);
      Flip("data/IDENTITY", 20);
      break;
    case 2:
      Flip("data/IDENTITY", 20);
      break;
    case 3:
      Remove("data/IDENTITY");
      break;
    default: {
      const auto frames = FramesOf(original_.logs[1]);
      Flip(original_.logs[1], frames[1].offset + 70);
      lost = WithOrphans(LsnsOf(frames[1].lsns));
      break;
    }
  }
  Machine whole = machine_->Fork();
  const auto done_at_once = Apply(whole, repair_);
  ASSERT_TRUE(done_at_once.ok());
  const std::string report_json = done_at_once->set_aside + "/report.json";
  const std::string report_txt = done_at_once->set_aside + "/report.txt";
  // Reads come first; a crash in one of them changes nothing, so most are left out.
  const uint64_t operations = whole.operations() - machine_->operations();
  uint64_t unfinished = 0, completed = 0, done = 0;
  const uint64_t stride = ChosenEffort() == Effort::kQuick ? 29 : 3;
  std::set<uint64_t> tried = {operations};  // the last one too: all is done but the last sync
  for (uint64_t at = 1; at <= operations; at += stride) tried.insert(at);
  for (uint64_t at = operations - 24; at < operations; at += 6) tried.insert(at);
  for (const uint64_t at : tried) {
    for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerCut}) {
      ++crashes_tried;
      Machine crashed = machine_->Fork();
      const Files before = FilesOf(crashed);
      crashed.CrashAfter(at, at);
      const auto report = Apply(crashed, repair_);
      EXPECT_FALSE(report.ok() && crashed.crashed());
      crashed.Halt();
      crashed.Restart(kind, at);
      // A start does not open it in between, nor delete anything.
      const bool journal = *crashed.fs().Exists("data/REPAIR");
      if (journal) {
        const Files found = FilesOf(crashed);
        EXPECT_EQ(crashed.Open().reason(), "repair_unfinished");
        EXPECT_TRUE(FilesOf(crashed) == found);
        SimEnv env(crashed.fs(), crashed.clock(), 5);
        const auto plan = PlanRepair("data", RepairOpenOptions(env), repair_);
        ASSERT_TRUE(plan.ok()) << at << ": " << plan.status().ToString();
        EXPECT_TRUE(Has(*plan, "repair_unfinished", "data/REPAIR"));
        ++unfinished;
      }
      // Where the repair counts, what it lost is written down.
      const bool counts = Counts(crashed);
      const auto expect_report = [&] {
        for (const std::string& path : {report_json, report_txt}) {
          const auto content = crashed.fs().Content(path);
          ASSERT_TRUE(content.ok()) << path;
          EXPECT_EQ(AsText(*content), AsText(*whole.fs().Content(path))) << path;
        }
      };
      if (counts) expect_report();
      const auto again = Apply(crashed, repair_);
      ASSERT_TRUE(again.ok()) << at << ": " << again.status().ToString();
      EXPECT_TRUE(again->applied || !journal) << at;
      EXPECT_TRUE(Counts(crashed)) << at;  // so it has a new incarnation
      if (counts) expect_report();
      if (counts && journal && !again->damaged) {
        ++completed;
        const std::string text = RepairReportText(*again);
        EXPECT_EQ(again->set_aside, done_at_once->set_aside);
        EXPECT_NE(text.find(report_txt), std::string::npos) << text;
        EXPECT_EQ(text.find("nothing to repair"), std::string::npos) << text;
      }
      done += again->applied ? 0 : 1;
      EXPECT_FALSE(*crashed.fs().Exists("data/REPAIR"));
      if (kind == CrashKind::kKill) {
        // Nothing of before is gone: it is in its place or set aside.
        std::set<Bytes> contents;
        for (const auto& [path, content] : FilesOf(crashed)) contents.insert(content);
        for (const auto& [path, content] : before) {
          EXPECT_TRUE(contents.contains(content)) << path << " is gone, operation " << at;
        }
      }
      ASSERT_EQ(crashed.Open().ToString(), "ok") << at;
      Rows found;
      ReadRows(crashed.db(), &found);
      ExpectSame(found, Survivors(lost), true);
      crashed.Halt();
      if (HasFailure()) FAIL() << "operation " << at << " kind " << static_cast<int>(kind);
    }
  }
  EXPECT_GT(unfinished, 0u);
  EXPECT_GT(completed, 0u);
  EXPECT_GT(done, 0u);  // those that crashed when nothing was left to do
}

INSTANTIATE_TEST_SUITE_P(Damages, RepairCrashTest, testing::Range(0, 5));

// A full disk, or a failing one: refused, with everything as it was; later it works.
class RepairFaultTest : public RepairTest, public testing::WithParamInterface<int> {
 protected:
  std::set<uint64_t> Damage() {
    switch (GetParam()) {
      case 0:
        Remove(original_.segments[1]);
        return WithOrphans(LsnsOf(RangeOf(original_.segments[1])));
      case 1:
        Flip(original_.manifest, 60);
        Flip("data/IDENTITY", 20);
        return {};
      case 2:
        Remove("data/IDENTITY");
        return {};
      default: {  // the one of these that a start does not mind
        const std::string& segment = original_.segments[1];
        Flip(segment, OffsetOfGroup(segment, 0));
        const auto plan = Plan();
        EXPECT_TRUE(plan.ok() && plan->rows_lost == listed_group_rows_);
        return plan.ok() ? LsnsSaidLost(*plan) : std::set<uint64_t>();
      }
    }
  }
  static std::string OpenedAs(const Machine& machine) {
    Machine fork = machine.Fork();
    const std::string status = fork.Open().ToString();
    fork.Halt();
    return status;
  }
  // Whether a manifest of the repair is there, or was about to be renamed to its place.
  bool Committed(Machine& machine) {
    for (const std::string& path : machine.fs().AllFiles()) {
      if (path.find("data/manifest/") == 0 && !original_.files.contains(path)) return true;
    }
    return !machine.fs().Content(original_.manifest).ok();
  }
};

TEST_P(RepairFaultTest, FailingWrites) {
  const auto lost = Damage();
  const Files before = FilesOf(*machine_);
  const std::string opened = OpenedAs(*machine_);
  EXPECT_EQ(opened == "ok", GetParam() == 3) << opened;
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync, FaultOp::kSyncDir,
                           FaultOp::kRename, FaultOp::kMkdir}) {
    // What takes the repair back needs these two.
    const bool for_ever = op != FaultOp::kSyncDir && op != FaultOp::kRename;
    uint64_t undone = 0;
    const Fault first{.op = op, .for_ever = for_ever, .error = ENOSPC};
    const uint64_t tried = ForEachFault(first, [&](const Fault& fault) {
      SCOPED_TRACE(fmt::format("{} {}", FaultOpName(op), fault.at));
      Machine machine = machine_->Fork();
      FaultFs faults(machine.fs());
      faults.Set(fault);
      SimEnv env(faults, machine.clock(), 6);
      OpenOptions options = Options();
      options.env = &env;
      const auto report = ApplyRepair("data", options, repair_);
      const bool fired = faults.fired() > 0;
      EXPECT_EQ(report.ok(), !fired);
      if (fired && !Committed(machine)) {
        ++undone;
        EXPECT_TRUE(FilesOf(machine) == before);
        EXPECT_EQ(OpenedAs(machine), opened);
      }
      const auto again = Apply(machine, repair_);
      EXPECT_TRUE(again.ok()) << again.status().ToString();
      EXPECT_EQ(machine.Open().ToString(), "ok");
      Rows found;
      ReadRows(machine.db(), &found);
      ExpectSame(found, Survivors(lost), true);
      machine.Halt();
      return fired;
    });
    // Once the repair counts it writes nothing more: a full disk does not keep it from its end.
    const bool writes = op == FaultOp::kCreate || op == FaultOp::kWrite || op == FaultOp::kSync;
    EXPECT_EQ(tried == undone, writes) << FaultOpName(op);
    EXPECT_GT(undone, 0u) << FaultOpName(op);
  }
}

INSTANTIATE_TEST_SUITE_P(Damages, RepairFaultTest, testing::Range(0, 4));

class Totals : public testing::Environment {
 public:
  void TearDown() override {
    ReportTried(fmt::format("repair repairs={} crashes={}", repairs_tried, crashes_tried));
    if (testing::UnitTest::GetInstance()->test_to_run_count() <
        testing::UnitTest::GetInstance()->total_test_count()) {
      return;
    }
    for (const RepairCase& row : kRepairCases) {
      EXPECT_TRUE(codes_seen.contains(std::string(row.code))) << row.code << " was not tried";
      codes_seen.erase(std::string(row.code));
    }
    EXPECT_TRUE(codes_seen.empty()) << *codes_seen.begin() << " is not in the table";
  }
};
[[maybe_unused]] const auto* const kTotals = testing::AddGlobalTestEnvironment(new Totals);

}  // namespace
}  // namespace tallystick
