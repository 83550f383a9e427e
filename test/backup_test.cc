// Backups and restores of a whole database on the simulated machine: racing ingest and flushes in a
// seeded order, crashed at every operation, failed at every call, damaged in every file. What is
// restored is held against the same model as the original, at the backup's LSN and before it.
//
// A failing case names its seed or its operation; TALLY_SEED=N runs that seed alone.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "manifest/backup_file.h"
#include "tallystick/backup.h"
#include "tallystick/db.h"
#include "testing/fault_fs.h"
#include "testing/machine.h"
#include "testing/reference_model.h"
#include "testing/rig.h"
#include "testing/scenario.h"
#include "testing/sim_env.h"
#include "testing/sim_fs.h"
#include "testing/temp_dir.h"
#include "testing/tried.h"
#include "wal/wal_writer.h"

namespace tallystick {
namespace {

constexpr char kTarget[] = "backup";
constexpr char kRestored[] = "restored";

OpenOptions BackupOptionsOfTests() {
  OpenOptions options = SmallOptions(true);
  options.rollup_rows_per_line_min = 1;
  return options;
}

// A backup that runs beside whatever the test does.
struct Running {
  std::optional<Result<BackupReport>> answer;
};

std::shared_ptr<Running> StartBackup(Machine& machine, const std::string& target = kTarget,
                                     const BackupOptions& options = {}) {
  auto running = std::make_shared<Running>();
  machine.db().BackupAsync(
      target, [running](Result<BackupReport> report) { running->answer = std::move(report); },
      options);
  return running;
}

Result<BackupReport> Backup(Machine& machine, const std::string& target = kTarget,
                            const BackupOptions& options = {}) {
  const auto running = StartBackup(machine, target, options);
  if (!machine.executor().RunUntil([&] { return running->answer.has_value(); })) {
    return Status::Unavailable("unanswered", "the engine rests and has not answered");
  }
  return *running->answer;
}

// A database of its own on somebody's file system.
class Restored {
 public:
  explicit Restored(FileSystem& fs, uint64_t seed = 1)
      : env_(fs, clock_, seed), options_(BackupOptionsOfTests()) {
    options_.env = &env_;
    options_.create_if_missing = false;
  }

  Result<RestoreReport> Restore(const std::string& from = kTarget,
                                const std::string& to = kRestored) {
    return RestoreBackup(from, to, &env_, {});
  }
  Status Open(const std::string& directory = kRestored) {
    auto db = Db::Open(directory, options_);
    if (!db.ok()) return db.status();
    db_ = std::make_unique<Db>(*std::move(db));
    return Status::Ok();
  }
  Db& db() { return *db_; }
  SimEnv& env() { return env_; }

  // Everything that the database must answer at `lsn`, and before.
  std::string Check(const ReferenceModel& model, Lsn lsn, uint64_t seed) {
    for (int i = 0; i < 10 && db().GetStatus().sidecars_unknown > 0; ++i) {
      clock_.Advance(60'000'000);
      env_.executor().RunUntilIdle();
    }
    if (db().VisibleLsn() != lsn) {
      return fmt::format("ends at LSN {}, not {}", db().VisibleLsn().value, lsn.value);
    }
    for (const uint64_t at : {lsn.value, lsn.value / 2, lsn.value / 3}) {
      std::string wrong = model.CheckQueries(db(), {at}, seed + at);
      if (!wrong.empty()) return fmt::format("as of LSN {}: {}", at, wrong);
    }
    const auto verified = db().Verify({});
    if (!verified.ok()) return "verify: " + verified.status().ToString();
    return verified->faults.empty() ? "" : "verify: " + verified->faults.front();
  }

  // What was stored by `lsn` is known, the rest is new.
  std::string CheckResent(const std::vector<Event>& events, const std::vector<EventOutcome>& said,
                          Lsn lsn) {
    for (size_t i = 0; i < events.size(); ++i) {
      Batch batch = db().NewBatch();
      batch.Add(EventAsView(events[i]).view());
      std::optional<Result<IngestResult>> answer;
      db().IngestAsync(std::move(batch),
                       [&](Result<IngestResult> result) { answer = std::move(result); },
                       {.originals = true});
      if (!env_.executor().RunUntil([&] { return answer.has_value(); })) return "unanswered";
      if (!answer->ok()) return answer->status().ToString();
      const EventOutcome& outcome = (*answer)->outcomes[0];
      const bool known = said[i].lsn <= lsn;
      const bool right =
          known ? outcome.kind == said[i].kind && outcome.lsn == said[i].lsn : outcome.lsn > lsn;
      if (!right) {
        return fmt::format("event {} was at LSN {}, now outcome {} at LSN {}, of a backup at {}",
                           events[i].event_id, said[i].lsn.value, static_cast<int>(outcome.kind),
                           outcome.lsn.value, lsn.value);
      }
    }
    return "";
  }

 private:
  SimClock clock_;
  SimEnv env_;
  OpenOptions options_;
  std::unique_ptr<Db> db_;
};

// Restores on a copy of the disk, opens, compares. The machine may go on meanwhile.
std::string RestoreAndCheck(const SimFs& disk, const ReferenceModel& model, Lsn lsn,
                            uint64_t seed) {
  const auto fs = disk.Clone();
  Restored restored(*fs, seed);
  const auto report = restored.Restore();
  if (!report.ok()) return "restore: " + report.status().ToString();
  if (report->backup.lsn != lsn) {
    return fmt::format("BACKUP says LSN {}, not {}", report->backup.lsn.value, lsn.value);
  }
  if (report->incarnation == report->backup.incarnation) return "the incarnation is the old one";
  if (Status status = restored.Open(); !status.ok()) return "open: " + status.ToString();
  const DbStatus status = restored.db().GetStatus();
  if (status.database_id != report->backup.database_id) return "another database";
  if (status.incarnation != report->incarnation) return "another incarnation";
  return restored.Check(model, lsn, seed);
}

// What the original says of events that it has.
std::vector<EventOutcome> Resend(Machine& machine, const std::vector<Event>& events) {
  std::vector<EventOutcome> outcomes;
  for (const Event& event : events) {
    auto answer = machine.IngestInTheEnd({event});
    EXPECT_TRUE(answer.ok()) << answer.status().ToString();
    if (!answer.ok()) return outcomes;
    outcomes.push_back(answer->outcomes[0]);
  }
  return outcomes;
}

class BackupTest : public testing::Test {
 protected:
  BackupTest() : rig_(BackupOptionsOfTests()) {}

  void ExpectRestores(Lsn lsn) {
    ASSERT_EQ(rig_.model.Learn(rig_.machine.db()), "");
    EXPECT_EQ(RestoreAndCheck(rig_.machine.fs(), rig_.model, lsn, 7), "");
  }
  std::vector<std::string> TargetFiles() {
    std::vector<std::string> files;
    for (const std::string& path : rig_.machine.fs().AllFiles()) {
      if (path.starts_with(std::string(kTarget) + "/") && !path.ends_with("/LOCK")) {
        files.push_back(path);
      }
    }
    return files;
  }

  Rig rig_;
};

// --- what is restored is what was there ---

TEST_F(BackupTest, ARestoredDatabaseAnswersLikeTheOriginal) {
  rig_.Open();
  rig_.Ingest(0, 30);
  const auto report = Backup(rig_.machine);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->backup.lsn, rig_.machine.db().VisibleLsn());
  EXPECT_EQ(report->backup.directory, "/backup");
  EXPECT_GT(report->linked_files, 0u);
  EXPECT_GT(report->copied_files, 0u) << "the log is copied";
  EXPECT_EQ(report->kept_files, 0u);
  const Lsn lsn = report->backup.lsn;
  rig_.Ingest(30, 50);
  ExpectRestores(lsn);
  rig_.ExpectWhole();
}

TEST_F(BackupTest, AnEmptyDatabaseToo) {
  rig_.Open();
  const auto report = Backup(rig_.machine);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->backup.lsn.value, 0u);
  EXPECT_EQ(report->backup.files, 0u);
  ExpectRestores({0});
}

TEST_F(BackupTest, ARestoredDatabaseKnowsItsEventsAndRefusesCursorsOfBefore) {
  rig_.Open();
  rig_.Ingest(0, 25);
  const auto report = Backup(rig_.machine);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  rig_.Ingest(25, 40);
  ASSERT_EQ(rig_.model.Learn(rig_.machine.db()), "");
  const auto page = rig_.machine.db().ListAccounts({.limit = 1});
  ASSERT_TRUE(page.ok());
  ASSERT_FALSE(page->next_cursor.empty());
  const std::vector<Event> events = rig_.model.Everything();
  const std::vector<EventOutcome> said = Resend(rig_.machine, events);
  Restored restored(rig_.machine.fs());
  ASSERT_TRUE(restored.Restore().ok());
  ASSERT_EQ(restored.Open().ToString(), "ok");
  ASSERT_EQ(restored.Check(rig_.model, report->backup.lsn, 3), "");
  EXPECT_EQ(restored.db().ListAccounts({.limit = 1, .cursor = page->next_cursor}).status().reason(),
            "foreign_cursor");
  EXPECT_EQ(restored.CheckResent(events, said, report->backup.lsn), "");
}

TEST_F(BackupTest, MissingSidecarsAndRollupsAreNoError) {
  rig_.Open();
  rig_.Ingest(0, 30);
  for (const char* suffix : {".idx", ".sum"}) {
    const auto files = rig_.Files(suffix);
    ASSERT_FALSE(files.empty());
    for (const std::string& path : files) ASSERT_TRUE(rig_.machine.fs().Remove(path).ok());
  }
  const auto report = Backup(rig_.machine);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  ExpectRestores(report->backup.lsn);
}

TEST_F(BackupTest, WhereLinksAreRefusedOrNotWantedSegmentsAreCopied) {
  rig_.Open();
  rig_.Ingest(0, 30);
  rig_.faults->Set(Fault{FaultOp::kLink, 0, true, EXDEV, false, ""});
  const auto refused = Backup(rig_.machine);
  ASSERT_TRUE(refused.ok()) << refused.status().ToString();
  EXPECT_EQ(rig_.faults->fired(), 1u) << "one refusal is enough";
  rig_.faults->Set(std::nullopt);
  const auto unwanted = Backup(rig_.machine, "other", {.copy = true});
  ASSERT_TRUE(unwanted.ok()) << unwanted.status().ToString();
  for (const auto& report : {*refused, *unwanted}) {
    EXPECT_EQ(report.linked_files, 0u);
    EXPECT_EQ(report.copied_files, report.backup.files);
    EXPECT_EQ(report.copied_bytes, report.backup.bytes);
  }
  ExpectRestores(refused->backup.lsn);
}

// The log files of the position stand there until they are copied, whatever is flushed meanwhile.
TEST_F(BackupTest, LogFilesAreHeldWhileTheyAreCopied) {
  rig_.Open();
  SimExecutor& executor = rig_.machine.executor();
  executor.Pause("flusher");
  int next = 0;
  while (rig_.status().memtables < 4) {
    rig_.Ingest(next, next + 1, 1);
    ++next;
  }
  const auto running = StartBackup(rig_.machine);
  ASSERT_TRUE(executor.RunUntil([&] { return rig_.status().backup_files > 0; }));
  const Lsn lsn = rig_.machine.db().VisibleLsn();
  executor.Pause("backup");
  executor.GoOn("flusher");
  const uint64_t flushes = rig_.status().flushes;
  rig_.Ingest(next, next + 40, 1);
  rig_.machine.RunUntilIdle();
  ASSERT_GE(rig_.status().flushes, flushes + 6) << "all that was sealed, and more";
  ASSERT_FALSE(running->answer.has_value());
  const auto wal_files = [&] { return rig_.machine.fs().List("data/wal")->size(); };
  const size_t held = wal_files();
  executor.GoOn("backup");
  rig_.machine.RunUntilIdle();
  ASSERT_TRUE(running->answer.has_value());
  ASSERT_TRUE(running->answer->ok()) << running->answer->status().ToString();
  EXPECT_EQ((*running->answer)->backup.lsn, lsn);
  EXPECT_LT(wal_files() + 2, held) << "what was held is given back";
  ExpectRestores(lsn);
}

// --- one after another ---

TEST_F(BackupTest, ALaterBackupCopiesOnlyWhatIsNew) {
  rig_.Open();
  rig_.Ingest(0, 30);
  const auto first = Backup(rig_.machine);
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  const auto again = Backup(rig_.machine);
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(again->backup.lsn, first->backup.lsn);
  EXPECT_GE(again->kept_files, first->linked_files);
  Lsn last = again->backup.lsn;
  for (int id = 30; id < 70; id += 10) {
    rig_.Ingest(id, id + 10);
    const auto next = Backup(rig_.machine);
    ASSERT_TRUE(next.ok()) << next.status().ToString();
    EXPECT_GT(next->backup.lsn, last);
    EXPECT_GE(next->kept_files, first->linked_files) << "the first segments are still there";
    last = next->backup.lsn;
    ExpectRestores(last);
    // Nothing is left of the backups before.
    EXPECT_EQ(TargetFiles().size(), next->backup.files + 1);
  }
}

TEST_F(BackupTest, AFileOfTheBackupThatIsGoneOrCutIsCopiedAgain) {
  rig_.Open();
  rig_.Ingest(0, 30);
  ASSERT_TRUE(Backup(rig_.machine, kTarget, {.copy = true}).ok());
  std::vector<std::string> rows;
  for (const std::string& path : TargetFiles()) {
    if (path.ends_with(".seg")) rows.push_back(path);
  }
  ASSERT_GE(rows.size(), 2u);
  ASSERT_TRUE(rig_.machine.fs().Remove(rows[0]).ok());
  Bytes half = rig_.Content(rows[1]);
  half.resize(half.size() / 2);
  rig_.machine.fs().SetContent(rows[1], half);
  EXPECT_EQ(VerifyBackup(kTarget, &Restored(rig_.machine.fs()).env(), {}).status().code(),
            StatusCode::kCorruption);
  const auto report = Backup(rig_.machine, kTarget, {.copy = true});
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  ExpectRestores(report->backup.lsn);
}

TEST_F(BackupTest, OneAtATime) {
  rig_.Open();
  rig_.Ingest(0, 10);
  const auto first = StartBackup(rig_.machine);
  EXPECT_TRUE(rig_.status().backup_running);
  const auto second = StartBackup(rig_.machine, "other");
  ASSERT_TRUE(second->answer.has_value());
  EXPECT_EQ(second->answer->status().reason(), "backup_running");
  rig_.machine.RunUntilIdle();
  ASSERT_TRUE(first->answer.has_value());
  EXPECT_TRUE(first->answer->ok());
  const DbStatus status = rig_.status();
  EXPECT_FALSE(status.backup_running);
  EXPECT_EQ(status.backups, 1u);
  EXPECT_EQ(status.backup_lsn, (*first->answer)->backup.lsn);
  EXPECT_EQ(status.backup_files, status.backup_files_done);
}

TEST_F(BackupTest, ACloseGivesUpWhatIsRunning) {
  rig_.Open();
  rig_.Ingest(0, 30);
  const auto before = Backup(rig_.machine);
  ASSERT_TRUE(before.ok());
  rig_.Ingest(30, 60);
  ASSERT_EQ(rig_.model.Learn(rig_.machine.db()), "");
  int given_up = 0;
  for (int steps = 0; steps < 60; ++steps) {
    const auto running = StartBackup(rig_.machine);
    const uint64_t until = rig_.machine.executor().steps() + static_cast<uint64_t>(steps);
    rig_.machine.executor().RunUntil(
        [&] { return rig_.machine.executor().steps() >= until || running->answer.has_value(); });
    ASSERT_TRUE(rig_.machine.Close().ok());
    ASSERT_TRUE(running->answer.has_value());
    if (!running->answer->ok()) {
      EXPECT_EQ(running->answer->status().reason(), "closed");
      ++given_up;
    }
    rig_.Open();
    EXPECT_EQ(RestoreAndCheck(
                  rig_.machine.fs(), rig_.model,
                  running->answer->ok() ? (*running->answer)->backup.lsn : before->backup.lsn, 5),
              "");
    if (running->answer->ok()) break;
  }
  EXPECT_GT(given_up, 2);
  rig_.ExpectWhole();
}

// --- what is refused ---

TEST_F(BackupTest, TargetsThatAreRefused) {
  rig_.Open();
  rig_.Ingest(0, 10);
  SimFs& fs = rig_.machine.fs();
  const auto reason = [&](const std::string& target) {
    return std::string(Backup(rig_.machine, target).status().reason());
  };
  EXPECT_EQ(reason("data"), "invalid_target");
  EXPECT_EQ(reason("data/"), "invalid_target");
  EXPECT_EQ(reason("./data/copy"), "invalid_target");
  EXPECT_EQ(reason("data/segments/copy"), "invalid_target");
  EXPECT_EQ(reason(""), "invalid_target");
  EXPECT_EQ(reason(std::string("x\0y", 3)), "invalid_target");
  EXPECT_EQ(reason("no/parent"), "invalid_target");
  ASSERT_TRUE(fs.CreateDir("full").ok());
  ASSERT_TRUE(fs.Open("full/letter", OpenMode::kCreateNew).ok());
  EXPECT_EQ(reason("full"), "target_not_backup");
  EXPECT_FALSE(*fs.Exists("full/LOCK")) << "nothing is made in it";
  // "database" is a name that begins like the directory's.
  ASSERT_EQ(reason("database"), "ok");

  Restored other(fs);
  ASSERT_TRUE(other.Restore("database", kRestored).ok());
  ASSERT_EQ(other.Open().ToString(), "ok");
  EXPECT_EQ(reason(kRestored), "target_not_backup");
  // The restored one may not go on in the backup of the original, nor the other way round.
  std::optional<Result<BackupReport>> answer;
  other.db().BackupAsync("database", [&](Result<BackupReport> report) { answer = report; });
  other.env().executor().RunUntil([&] { return answer.has_value(); });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status().reason(), "foreign_backup");
  EXPECT_NE(answer->status().message().find("before it was restored or repaired (incarnation"),
            std::string::npos);

  OpenOptions options = BackupOptionsOfTests();
  options.env = &other.env();
  ASSERT_TRUE(fs.CreateDir("stranger").ok());
  auto stranger = Db::Open("stranger", options);
  ASSERT_TRUE(stranger.ok());
  answer.reset();
  stranger->BackupAsync("database", [&](Result<BackupReport> report) { answer = report; });
  other.env().executor().RunUntil([&] { return answer.has_value(); });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status().reason(), "foreign_backup");
  rig_.ExpectWhole();
}

// What a backup that went astray would change of a database: its identity, its segments, and copies
// among its log files (those themselves change in the background).
std::string StateOf(const std::string& data) {
  const auto identity = ReadWholeFile(Env::Real().fs(), JoinPath(data, "IDENTITY"), 1 << 20);
  std::string state = identity.ok() ? std::string(AsText(*identity)) : "unreadable";
  for (const char* folder : {"segments", "wal"}) {
    for (const auto& entry : std::filesystem::directory_iterator(JoinPath(data, folder))) {
      const std::string name = entry.path().filename();
      if (folder[0] == 's' || name.find('-') != std::string::npos) state += "," + name;
    }
  }
  return state;
}

// A database of the machine's own file system, where symbolic links are.
class RealBackupTest : public testing::Test {
 protected:
  RealBackupTest() {
    OpenDb();
    Batch batch = db_->NewBatch();
    batch.Add(EventAsView(SmallEvent(1, 0, 0)).view());
    EXPECT_TRUE(db_->Ingest(std::move(batch)).ok());
    EXPECT_TRUE(db_->Close().ok());  // the row goes to a segment
    OpenDb();
    EXPECT_TRUE(Env::Real().fs().CreateDir(target_).ok());
  }
  void OpenDb() {
    OpenOptions options;
    options.flush_on_close_ms_max = 3'600'000;
    auto db = Db::Open(data_, options);
    EXPECT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::make_unique<Db>(*std::move(db));
  }
  std::string Reason() {
    const auto report = db_->Backup(target_);
    return std::string(report.status().reason());
  }
  void Symlink(const std::string& to, const std::string& name) {
    ASSERT_EQ(symlink(to.c_str(), JoinPath(target_, name).c_str()), 0);
  }

  TempDir temp_;
  const std::string data_ = JoinPath(temp_.path(), "data");
  const std::string target_ = JoinPath(temp_.path(), "backup");
  std::unique_ptr<Db> db_;
};

TEST_F(RealBackupTest, ATargetWithLinksIntoTheDatabaseIsRefused) {
  const char* const links[][2] = {
      {"IDENTITY", "LOCK"}, {"segments", "segments"}, {"wal", "wal"}, {"nothing", "wal"}};
  for (const auto& [to, name] : links) {
    ASSERT_EQ(Reason(), "ok");
    const auto path = JoinPath(target_, name);
    std::filesystem::remove_all(path);
    Symlink(JoinPath(data_, to), name);
    const std::string before = StateOf(data_);
    EXPECT_EQ(Reason(), "target_not_backup") << name << " -> " << to;
    EXPECT_EQ(StateOf(data_), before) << name << " -> " << to;
    std::filesystem::remove(path);
  }
  // The target itself may be a link, but not into the database, nor to nothing.
  std::filesystem::remove_all(target_);
  std::filesystem::create_directory_symlink(data_, target_);
  EXPECT_EQ(Reason(), "invalid_target");
  std::filesystem::remove(target_);
  std::filesystem::create_directory_symlink(JoinPath(data_, "nothing"), target_);
  EXPECT_EQ(Reason(), "target_not_backup");
  std::filesystem::remove(target_);
  std::filesystem::create_directory(JoinPath(temp_.path(), "elsewhere"));
  std::filesystem::create_directory_symlink(JoinPath(temp_.path(), "elsewhere"), target_);
  EXPECT_EQ(Reason(), "ok");
}

TEST_F(RealBackupTest, APipeOrALinkInThePlaceOfAFile) {
  ASSERT_EQ(Reason(), "ok");
  const auto content = LoadBackup(Env::Real().fs(), target_);
  ASSERT_TRUE(content.ok());
  // A segment's: the copy of the log gets another name with every mark.
  const auto rows = std::ranges::find(content->files, BackupFileKind::kRows, &BackupFile::kind);
  ASSERT_NE(rows, content->files.end());
  const std::string name = BackupFilePath(*content, *rows);
  const std::string path = JoinPath(target_, name);
  const std::string moved = JoinPath(temp_.path(), "moved");
  std::filesystem::rename(path, moved);
  Symlink(moved, name);
  EXPECT_EQ(Reason(), "ok");
  EXPECT_FALSE(std::filesystem::is_symlink(path)) << "made anew";
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_NE(Reason(), "ok");
  std::filesystem::remove(path);
  ASSERT_EQ(Reason(), "ok");

  const std::string backup = JoinPath(target_, "BACKUP");
  std::filesystem::rename(backup, moved);
  Symlink(moved, "BACKUP");
  EXPECT_EQ(Reason(), "target_not_backup");
  std::filesystem::remove(backup);
  ASSERT_EQ(mkfifo(backup.c_str(), 0600), 0);
  EXPECT_EQ(db_->Backup(target_).status().code(), StatusCode::kIoError);
}

// The source is damaged below the engine's feet: no BACKUP says that all is there.
TEST_F(BackupTest, DamageInTheSourceFailsTheBackup) {
  rig_.Open();
  rig_.Ingest(0, 30);
  ASSERT_TRUE(Backup(rig_.machine, "other").ok());
  const auto content = LoadBackup(rig_.machine.fs(), "other");
  ASSERT_TRUE(content.ok());
  const BackupFile log = content->files.back();
  ASSERT_EQ(log.kind, BackupFileKind::kWal);
  const std::string wal = JoinPath("data/wal", WalFileName(log.number));
  const std::string rows = JoinPath("data", BackupFilePath(*content, content->files[0]));
  SimFs& fs = rig_.machine.fs();
  for (const auto& [path, at] :
       {std::pair(wal, log.bytes - 4096 + 70), std::pair(rows, content->files[0].bytes - 100)}) {
    const Bytes good = rig_.Content(path);
    Bytes bad = good;
    bad[at] ^= std::byte{1};
    fs.SetContent(path, bad);
    const Status status = Backup(rig_.machine, kTarget, {.copy = true}).status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << path << ": " << status.ToString();
    EXPECT_NE(status.message().find("offset"), std::string::npos) << status.ToString();
    EXPECT_FALSE(*fs.Exists(JoinPath(kTarget, "BACKUP")));
    fs.SetContent(path, good);
  }
  ASSERT_TRUE(Backup(rig_.machine).ok());
}

// As after the data directory was put back to an older copy.
TEST_F(BackupTest, ABackupOfAnotherHistoryIsRefusedAndKept) {
  rig_.Open();
  rig_.Ingest(0, 30);
  ASSERT_TRUE(Backup(rig_.machine).ok());
  SimFs& fs = rig_.machine.fs();
  const auto good = LoadBackup(fs, kTarget);
  ASSERT_TRUE(good.ok());
  ASSERT_FALSE(good->manifest.segments.empty());
  ASSERT_EQ(good->files.back().kind, BackupFileKind::kWal);
  BackupContent later = *good;
  ++later.lsn.value;
  BackupContent other_rows = *good;
  ++other_rows.manifest.segments[0].footer_checksum;
  BackupContent other_size = *good;
  other_size.files[0].bytes = ++other_size.manifest.segments[0].bytes;
  BackupContent other_log = *good;
  ++other_log.files.back().bytes;
  for (const BackupContent& other : {later, other_rows, other_size, other_log}) {
    fs.SetContent(JoinPath(kTarget, "BACKUP"), EncodeBackup(other));
    EXPECT_EQ(Backup(rig_.machine).status().reason(), "foreign_backup");
  }
  fs.SetContent(JoinPath(kTarget, "BACKUP"), EncodeBackup(*good));
  ExpectRestores(good->lsn);
  EXPECT_TRUE(Backup(rig_.machine).ok());
}

TEST_F(BackupTest, ABackupIsNoDatabaseAndNothingIsRestoredOverOne) {
  rig_.Open();
  rig_.Ingest(0, 10);
  ASSERT_TRUE(Backup(rig_.machine).ok());
  Restored restored(rig_.machine.fs());
  EXPECT_EQ(restored.Open(kTarget).reason(), "is_backup");
  EXPECT_EQ(restored.Restore(kTarget, "data").status().reason(), "restore_target_in_use");
  EXPECT_EQ(restored.Restore(kTarget, kTarget).status().reason(), "restore_target_in_use");
  EXPECT_EQ(restored.Restore("data", kRestored).status().reason(), "backup_not_found");
  EXPECT_EQ(restored.Restore("nowhere", kRestored).status().reason(), "backup_not_found");
  EXPECT_EQ(restored.Restore(kTarget, "no/parent").status().code(), StatusCode::kNotFound);
  rig_.ExpectWhole();
}

// --- damage ---

TEST_F(BackupTest, EveryFlippedByteOfBackupIsNoticed) {
  rig_.Open();
  rig_.Ingest(0, 20);
  ASSERT_TRUE(Backup(rig_.machine).ok());
  SimFs& fs = rig_.machine.fs();
  const std::string path = JoinPath(kTarget, "BACKUP");
  const Bytes good = rig_.Content(path);
  Restored restored(fs);
  for (size_t at = 0; at < good.size(); ++at) {
    Bytes bad = good;
    bad[at] ^= std::byte{0x10};
    fs.SetContent(path, bad);
    const Status status = LoadBackup(fs, kTarget).status();
    ASSERT_EQ(status.code(), StatusCode::kCorruption) << "byte " << at;
    ASSERT_NE(status.message().find(path), std::string::npos) << status.ToString();
  }
  for (size_t bytes = 0; bytes < good.size(); ++bytes) {
    fs.SetContent(path, ByteSpan(good).first(bytes));
    ASSERT_FALSE(LoadBackup(fs, kTarget).ok()) << bytes;
  }
  // A backup is not written over one that nobody can read.
  EXPECT_EQ(Backup(rig_.machine).status().code(), StatusCode::kCorruption);
}

TEST_F(BackupTest, AFlippedByteInAnyFileIsNoticedByName) {
  rig_.Open();
  rig_.Ingest(0, 30);
  ASSERT_TRUE(Backup(rig_.machine, kTarget, {.copy = true}).ok());
  SimFs& fs = rig_.machine.fs();
  Restored restored(fs);
  size_t tried = 0;
  for (const std::string& path : TargetFiles()) {
    if (path.ends_with("/BACKUP")) continue;
    const Bytes good = rig_.Content(path);
    ASSERT_FALSE(good.empty());
    for (const size_t at : {size_t{0}, good.size() / 2, good.size() - 1}) {
      Bytes bad = good;
      bad[at] ^= std::byte{1};
      fs.SetContent(path, bad);
      const Status status = restored.Restore().status();
      ASSERT_EQ(status.code(), StatusCode::kCorruption) << path << " at " << at;
      ASSERT_NE(status.message().find(path), std::string::npos) << status.ToString();
      ASSERT_FALSE(*fs.Exists(kRestored)) << "verified first";
      ++tried;
    }
    Bytes longer = good;
    longer.push_back(std::byte{0});
    fs.SetContent(path, longer);
    ASSERT_EQ(restored.Restore().status().code(), StatusCode::kCorruption) << path;
    fs.SetContent(path, good);
  }
  EXPECT_GT(tried, 9u);
  ASSERT_TRUE(fs.Remove(TargetFiles().back()).ok());
  EXPECT_NE(restored.Restore().status().message().find("is missing"), std::string::npos);
}

// --- faults ---

// After a failed backup: the source is whole, and what was in the target before still restores.
struct AfterFault {
  Rig& rig;
  Lsn earlier;
  std::string Check(const Result<BackupReport>& report) {
    rig.faults->Set(std::nullopt);
    const Lsn lsn = report.ok() ? report->backup.lsn : earlier;
    const auto loaded = LoadBackup(rig.machine.fs(), kTarget);
    if (!loaded.ok()) return loaded.status().ToString();
    // From the rename on a failed one may count.
    if (loaded->lsn != lsn && loaded->lsn != rig.machine.db().VisibleLsn()) {
      return fmt::format("a backup of LSN {}", loaded->lsn.value);
    }
    return RestoreAndCheck(rig.machine.fs(), rig.model, loaded->lsn, 11);
  }
};

TEST_F(BackupTest, EveryCallThatFails) {
  struct Kind {
    FaultOp op;
    const char* path;
    bool done_anyway = false;
  };
  const Kind kinds[] = {
      {FaultOp::kOpen, kTarget},
      {FaultOp::kOpen, "data/segments"},
      {FaultOp::kOpen, "data/wal"},
      {FaultOp::kCreate, kTarget},
      {FaultOp::kRead, kTarget},
      {FaultOp::kRead, "data/segments"},
      {FaultOp::kWrite, kTarget},
      {FaultOp::kWrite, kTarget, true},
      {FaultOp::kShortWrite, kTarget},
      {FaultOp::kShortRead, "data/wal"},
      {FaultOp::kSync, kTarget},
      {FaultOp::kSync, kTarget, true},
      {FaultOp::kMkdir, kTarget},
      {FaultOp::kRemove, kTarget},
      {FaultOp::kRemove, kTarget, true},
      {FaultOp::kRename, kTarget},
      {FaultOp::kRename, kTarget, true},
      {FaultOp::kSyncDir, kTarget},
      {FaultOp::kSyncDir, kTarget, true},
      {FaultOp::kList, kTarget},
      {FaultOp::kExists, ""},
      {FaultOp::kLock, kTarget},
      {FaultOp::kLink, ""},
      {FaultOp::kLink, "", true},
  };
  uint64_t tried = 0;
  for (const Kind& kind : kinds) {
    for (const bool copy : {false, true}) {
      if (copy && kind.op == FaultOp::kLink) continue;
      Rig rig(BackupOptionsOfTests());
      rig.Open();
      rig.Ingest(0, 20);
      auto earlier = Backup(rig.machine, kTarget, {.copy = copy});
      ASSERT_TRUE(earlier.ok()) << earlier.status().ToString();
      AfterFault after{rig, earlier->backup.lsn};
      int next = 20;
      const Fault fault{kind.op, 0, false, EIO, kind.done_anyway, kind.path};
      const uint64_t runs = ForEachFault(fault, [&](const Fault& one) {
        rig.Ingest(next, next + 6, next % 2);  // something to copy
        next += 6;
        EXPECT_EQ(rig.model.Learn(rig.machine.db()), "");
        rig.faults->Set(one);
        const auto report = Backup(rig.machine, kTarget, {.copy = copy});
        const bool fired = rig.faults->fired() > 0;
        EXPECT_EQ(after.Check(report), "")
            << FaultOpName(kind.op) << " " << kind.path << " " << one.at;
        EXPECT_TRUE(fired || report.ok()) << report.status().ToString();
        const auto good = Backup(rig.machine, kTarget, {.copy = copy});
        EXPECT_TRUE(good.ok()) << good.status().ToString();
        if (good.ok()) after.earlier = good->backup.lsn;
        return fired && good.ok() && next < 600 && !HasFailure();
      });
      tried += runs;
      ASSERT_FALSE(HasFailure()) << FaultOpName(kind.op) << " " << kind.path;
      EXPECT_EQ(rig.machine.fs().retried_syncs(), 0u);
    }
  }
  EXPECT_GT(tried, 100u);
  ReportTried(fmt::format("backup faults={}", tried));
}

TEST_F(BackupTest, AFullDiskFailsTheBackupAndNothingElse) {
  rig_.Open();
  rig_.Ingest(0, 30);
  rig_.machine.RunUntilIdle();
  SimFs& fs = rig_.machine.fs();
  // What is in use, found by halving.
  uint64_t low = 0, high = 64 << 20;
  while (low < high) {
    const uint64_t middle = (low + high) / 2;
    const auto copy = fs.Clone();
    copy->SetCapacity(middle);
    if (copy->CreateDir("probe").ok()) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  uint64_t failed = 0;
  for (uint64_t more = 0; more < 4 << 20; more += 40 << 10) {
    fs.SetCapacity(low + more);
    const auto report = Backup(rig_.machine, kTarget, {.copy = true});
    if (report.ok()) break;
    ASSERT_EQ(report.status().code(), StatusCode::kNoSpace) << report.status().ToString();
    ++failed;
  }
  EXPECT_GT(failed, 1u);
  fs.SetCapacity(std::nullopt);
  rig_.Ingest(30, 40);
  const auto report = Backup(rig_.machine, kTarget, {.copy = true});
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  ExpectRestores(report->backup.lsn);
  rig_.ExpectWhole();
}

// --- crashes ---

// A machine with rows in segments and in the log, and perhaps a backup; halted.
struct Prepared {
  Machine machine;
  ReferenceModel model;
  Lsn earlier;  // of the backup that is there; 0: none

  explicit Prepared(bool with_backup) : machine(5, BackupOptionsOfTests()) {
    EXPECT_TRUE(machine.Open().ok());
    Ingest(0, 22);
    if (with_backup) {
      const auto report = Backup(machine);
      EXPECT_TRUE(report.ok()) << report.status().ToString();
      earlier = report->backup.lsn;
      Ingest(22, 40);
    }
    EXPECT_EQ(model.Learn(machine.db()), "");
    machine.Halt();
    machine.Restart(CrashKind::kKill, 1);
  }
  void Ingest(int from, int to) {
    for (int id = from; id < to; ++id) {
      const std::vector<Event> event = {SmallEvent(id, 0, id % 3 == 0 ? 1 : 0)};
      model.Sent(event);
      auto answer = machine.IngestInTheEnd(event);
      ASSERT_TRUE(answer.ok()) << answer.status().ToString();
      ASSERT_EQ(model.Answered(event, *answer), "");
    }
  }
};

// Opens a copy of the machine and crashes it in the `operation`th call of a backup. False: the
// backup came to its end before.
bool CrashInBackup(Machine& machine, uint64_t operation) {
  EXPECT_TRUE(machine.Open().ok());
  machine.RunUntilIdle();
  machine.CrashAfter(operation);
  const auto report = Backup(machine);
  const bool crashed = machine.crashed();
  EXPECT_TRUE(crashed || report.ok()) << report.status().ToString();
  machine.Halt();
  return crashed;
}

// What a crash may have left in the target: what was there before, or the new backup.
std::string CheckTarget(Machine& machine, const Prepared& prepared, bool complete) {
  const auto loaded = LoadBackup(machine.fs(), kTarget);
  if (loaded.status().code() == StatusCode::kNotFound) {
    return prepared.earlier.value == 0 && !complete ? "" : "the backup is gone";
  }
  if (!loaded.ok()) return loaded.status().ToString();
  const bool is_earlier = prepared.earlier.value > 0 && loaded->lsn == prepared.earlier;
  if (complete ? loaded->lsn != prepared.model.learned()
               : !is_earlier && loaded->lsn != prepared.model.learned()) {
    return fmt::format("a backup of LSN {}", loaded->lsn.value);
  }
  return RestoreAndCheck(machine.fs(), prepared.model, loaded->lsn, 13);
}

void CrashEverywhereInBackup(bool with_backup) {
  const Prepared prepared(with_backup);
  const uint64_t stride = ChosenEffort() == Effort::kQuick ? 3 : 1;
  uint64_t operation = 1;
  for (bool crashed = true; crashed; operation += stride) {
    for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerCut}) {
      Machine machine = prepared.machine.Fork();
      crashed = CrashInBackup(machine, operation);
      machine.Restart(kind, operation);
      ASSERT_EQ(CheckTarget(machine, prepared, !crashed), "")
          << "operation " << operation << ", kind " << static_cast<int>(kind);
      // The source is whole, and the next backup completes.
      ASSERT_TRUE(machine.Open().ok()) << "operation " << operation;
      ReferenceModel model = prepared.model;
      ASSERT_EQ(model.Learn(machine.db()), "") << "operation " << operation;
      auto report = Backup(machine);
      for (int i = 0; i < 20 && report.status().reason() == "target_not_backup"; ++i) {
        report = Backup(machine);  // a stranger's name in the listing of an empty folder
      }
      ASSERT_TRUE(report.ok()) << "operation " << operation << ": " << report.status().ToString();
      ASSERT_EQ(RestoreAndCheck(machine.fs(), model, report->backup.lsn, 17), "")
          << "operation " << operation;
      machine.Halt();
    }
  }
  EXPECT_GT(operation, 60u);
  ReportTried(fmt::format("backup crashes={} earlier={}", 2 * operation / stride, with_backup));
}

TEST(BackupCrash, TheFirstBackupAtEveryOperation) { CrashEverywhereInBackup(false); }
TEST(BackupCrash, ALaterBackupAtEveryOperation) { CrashEverywhereInBackup(true); }

// Never a half database that opens; and the same restore finishes it.
TEST(BackupCrash, ARestoreAtEveryOperation) {
  Prepared prepared(true);
  const uint64_t stride = ChosenEffort() == Effort::kQuick ? 3 : 1;
  uint64_t operation = 1, opened = 0;
  for (bool crashed = true; crashed; operation += stride) {
    for (const CrashKind kind : {CrashKind::kKill, CrashKind::kPowerCut}) {
      const auto fs = prepared.machine.fs().Clone();
      fs->CrashAt(fs->operations() + operation - 1, operation);
      crashed = !Restored(*fs).Restore().ok();
      ASSERT_EQ(crashed, fs->crashed());
      fs->Restart(kind, operation);
      Restored restored(*fs);
      if (restored.Open().ok()) {
        ++opened;
        ASSERT_EQ(restored.Check(prepared.model, prepared.earlier, operation), "")
            << "operation " << operation;
        continue;
      }
      ASSERT_TRUE(crashed) << "operation " << operation;
      const auto again = restored.Restore();
      ASSERT_TRUE(again.ok()) << "operation " << operation << ": " << again.status().ToString();
      ASSERT_EQ(restored.Open().ToString(), "ok");
      ASSERT_EQ(restored.Check(prepared.model, prepared.earlier, operation), "")
          << "operation " << operation;
    }
  }
  EXPECT_GE(opened, 2u);
  EXPECT_GT(operation, 100u);
  ReportTried(fmt::format("restore crashes={}", 2 * operation / stride));
}

TEST(BackupCrash, ARestoreFailsCleanlyAtEveryFault) {
  Prepared prepared(true);
  uint64_t tried = 0;
  for (const FaultOp op : {FaultOp::kOpen, FaultOp::kCreate, FaultOp::kRead, FaultOp::kWrite,
                           FaultOp::kSync, FaultOp::kMkdir, FaultOp::kRename, FaultOp::kSyncDir,
                           FaultOp::kList, FaultOp::kExists, FaultOp::kLock, FaultOp::kRemove}) {
    tried += ForEachFault(Fault{op, 0, false, EIO, false, ""}, [&](const Fault& fault) {
      const auto fs = prepared.machine.fs().Clone();
      FaultFs faults(*fs);
      faults.SetOnFailedSync([&](const std::string& path) { fs->LoseDirty(path); });
      Restored restored(faults);
      faults.Set(fault);
      const bool ok = restored.Restore().ok();
      const bool fired = faults.fired() > 0;
      faults.Set(std::nullopt);
      EXPECT_TRUE(ok || fired);
      // The last sync alone may fail when the database is complete already.
      const bool opens = restored.Open().ok();
      if (!opens) {
        EXPECT_TRUE(restored.Restore().ok()) << FaultOpName(op) << " " << fault.at;
        EXPECT_EQ(restored.Open().ToString(), "ok");
      }
      EXPECT_EQ(restored.Check(prepared.model, prepared.earlier, fault.at), "")
          << FaultOpName(op) << " " << fault.at;
      return fired && !testing::Test::HasFailure();
    });
    ASSERT_FALSE(testing::Test::HasFailure());
  }
  EXPECT_GT(tried, 60u);
}

// --- racing ---

OpenOptions RaceOptions(uint64_t seed) {
  OpenOptions options = BackupOptionsOfTests();
  options.compaction_fan_in = static_cast<uint32_t>(seed % 3 == 0 ? 0 : 1 + seed % 3);
  return options;
}

// A history of ingest, idling and restarts, with backups that run through all of it, merges too,
// every step of the engine in the order of the seed.
class Race {
 public:
  explicit Race(uint64_t seed)
      : random_(seed * 0x9e3779b97f4a7c15 + 3), machine_(seed, RaceOptions(seed)) {}

  uint64_t compactions() const { return machine_.compactions(); }
  uint64_t backups = 0;
  uint64_t overtaken = 0;  // backups during which rows were committed

  std::string Run() {
    if (Status status = machine_.Open(); !status.ok()) return "open: " + status.ToString();
    for (int step = 0; step < 60; ++step) {
      if (std::string wrong = Step(); !wrong.empty()) return wrong;
      if (std::string wrong = Harvest(); !wrong.empty()) return wrong;
    }
    machine_.RunUntilIdle();
    if (std::string wrong = Harvest(); !wrong.empty()) return wrong;
    if (std::string wrong = model_.Learn(machine_.db()); !wrong.empty()) return wrong;
    return CheckAll();
  }

 private:
  struct Taken {
    Lsn lsn;
    std::unique_ptr<SimFs> disk;  // as it was when the backup was answered
  };

  std::string Step() {
    if (running_ == nullptr && random_.OneIn(3)) {
      started_at_ = machine_.db().VisibleLsn();
      running_ = StartBackup(machine_, kTarget, {.copy = random_.OneIn(3)});
    }
    if (random_.OneIn(20)) {
      machine_.RunUntilIdle();
      return "";
    }
    if (random_.OneIn(25)) {
      if (Status status = machine_.Close(); !status.ok()) return "close: " + status.ToString();
      if (std::string wrong = Harvest(/*closed=*/true); !wrong.empty()) return wrong;
      Status status = machine_.Open();
      return status.ok() ? "" : "open: " + status.ToString();
    }
    std::vector<Event> events;
    for (uint64_t left = 1 + random_.Below(3); left > 0; --left) {
      const bool old = next_ > 0 && random_.OneIn(4);
      const int id = old ? static_cast<int>(random_.Below(static_cast<uint64_t>(next_))) : next_++;
      events.push_back(SmallEvent(id, old && random_.OneIn(2) ? 1 : 0, id % 2));
    }
    model_.Sent(events);
    auto answer = machine_.IngestInTheEnd(events);
    if (!answer.ok()) return "ingest: " + answer.status().ToString();
    return model_.Answered(events, *answer);
  }

  std::string Harvest(bool closed = false) {
    if (running_ == nullptr || !running_->answer.has_value()) return "";
    const Result<BackupReport> report = *running_->answer;
    running_.reset();
    if (!report.ok()) {
      const bool expected = closed && report.status().reason() == "closed";
      return expected ? "" : "backup: " + report.status().ToString();
    }
    ++backups;
    if (report->backup.lsn > started_at_) ++overtaken;
    taken_.push_back({report->backup.lsn, machine_.fs().Clone()});
    if (closed) return "";
    return report->backup.lsn <= machine_.db().VisibleLsn() ? "" : "an LSN that is not there yet";
  }

  std::string CheckAll() {
    const std::vector<Event> events = model_.Everything();
    const std::vector<EventOutcome> said = Resend(machine_, events);
    for (size_t i = 0; i < taken_.size(); ++i) {
      const auto at = [&] { return fmt::format("backup {} at LSN {}: ", i, taken_[i].lsn.value); };
      std::string wrong = RestoreAndCheck(*taken_[i].disk, model_, taken_[i].lsn, i);
      if (!wrong.empty()) return at() + wrong;
      if (i + 1 < taken_.size()) continue;
      Restored restored(*taken_[i].disk);
      if (!restored.Restore().ok() || !restored.Open().ok()) return at() + "the second restore";
      wrong = restored.Check(model_, taken_[i].lsn, i + 1);
      if (wrong.empty()) wrong = restored.CheckResent(events, said, taken_[i].lsn);
      if (!wrong.empty()) return at() + wrong;
    }
    machine_.Halt();
    return "";
  }

  SeededRandom random_;
  Machine machine_;
  ReferenceModel model_;
  std::shared_ptr<Running> running_;
  Lsn started_at_;
  std::vector<Taken> taken_;
  int next_ = 0;
};

TEST(BackupRace, BackupsThroughIngestAndFlushes) {
  const uint64_t only = NumberFromEnvironment("TALLY_SEED", 0);
  const uint64_t seeds = ChosenEffort() == Effort::kQuick  ? 10
                         : ChosenEffort() == Effort::kSoak ? 1000
                                                           : 60;
  uint64_t backups = 0, overtaken = 0, compactions = 0;
  for (uint64_t seed = only > 0 ? only : 1; seed <= (only > 0 ? only : seeds); ++seed) {
    Race race(seed);
    ASSERT_EQ(race.Run(), "") << "TALLY_SEED=" << seed;
    backups += race.backups;
    overtaken += race.overtaken;
    compactions += race.compactions();
  }
  EXPECT_GT(backups, seeds);
  EXPECT_GT(overtaken, 0u) << "no backup ran while rows were committed";
  EXPECT_GT(compactions, seeds / 4);
  ReportTried(fmt::format("backup races={} backups={} overtaken={} compactions={}", seeds, backups,
                          overtaken, compactions));
}

}  // namespace
}  // namespace tallystick
