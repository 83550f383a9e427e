// The way in from usageDb 0.4.0 and back: whole directories that usageDb wrote, and made ones, on a
// simulated disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/usagedb_survey.h"
#include "tallystick/db.h"
#include "tallystick/usagedb.h"
#include "testing/fault_fs.h"
#include "testing/sim_fs.h"
#include "usagedb/describe.h"
#include "usagedb/directory.h"
#include "usagedb/event_hash.h"
#include "usagedb/manifest.h"
#include "usagedb/segment.h"
#include "usagedb/udbidx01.h"
#include "usagedb/wal_line.h"

namespace tallystick {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kData = std::string(TALLY_SOURCE_DIR) + "/testdata/usagedb-0.4.0/";

// The real clock and threads over any file system.
class EnvOver final : public Env {
 public:
  explicit EnvOver(FileSystem& fs) : fs_(fs) {}
  FileSystem& fs() override { return fs_; }
  Clock& clock() override { return Env::Real().clock(); }
  Random& random() override { return Env::Real().random(); }
  Executor& executor() override { return Env::Real().executor(); }

 private:
  FileSystem& fs_;
};

void Put(FileSystem& fs, const std::string& path, ByteSpan content) {
  auto file = fs.Open(path, OpenMode::kCreateNew);
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  ASSERT_TRUE(WriteFully(**file, 0, content).ok());
  ASSERT_TRUE((*file)->Sync().ok());
}

// A folder of the real disk, with its folders `manifest` and `wal`.
void CopyIn(SimFs& fs, const std::string& from, const std::string& to) {
  FileSystem& real = Env::Real().fs();
  ASSERT_TRUE(fs.CreateDir(to).ok());
  const auto names = real.List(from);
  ASSERT_TRUE(names.ok()) << names.status().ToString();
  for (const std::string& name : *names) {
    const std::string path = JoinPath(from, name);
    if (name == "manifest" || name == "wal") {
      CopyIn(fs, path, JoinPath(to, name));
    } else {
      Put(fs, JoinPath(to, name), *ReadWholeFile(real, path, 1 << 20));
    }
  }
  ASSERT_TRUE(fs.SyncDir(to).ok());
}

// A directory of usageDb, made row by row.
class MadeSource {
 public:
  explicit MadeSource(FileSystem& fs, std::string root = "src") : fs_(fs), root_(std::move(root)) {
    for (const char* dir : {"", "/manifest", "/wal"}) EXPECT_TRUE(fs.CreateDir(root_ + dir).ok());
  }

  static usagedb::Row MakeRow(std::string_view id, int64_t quantity = 1,
                              std::string_view account = "acme", std::string_view meter = "tok") {
    usagedb::Row row;
    row.event = {.event_id = id,
                 .account_id = account,
                 .product_id = "api",
                 .meter_id = meter,
                 .unit = "u",
                 .source = "s",
                 .timestamp_ms = 1'782'000'000'000,
                 .quantity = Quantity::FromInteger(quantity)};
    row.ingested_at_ms = 7;
    return row;
  }

  void AddSegment(const std::vector<usagedb::Row>& rows) {
    usagedb::SegmentMeta meta = usagedb::MetaOf(rows);
    meta.segment_id = "raw_" + std::to_string(manifest_.raw_segments.size());
    const auto segment = usagedb::EncodeSegment(rows);
    ASSERT_TRUE(segment.ok());
    meta.checksum = segment->checksum;
    const std::string path = usagedb::SegmentPath(root_, meta);
    Put(fs_, path, segment->file);
    ASSERT_TRUE(
        udbidx01::WriteDedupeIndex(fs_, udbidx01::IndexPath(path), usagedb::KeysOf(rows)).ok());
    manifest_.raw_segments.push_back(meta);
  }
  void AddLog(uint64_t id, const std::vector<usagedb::Row>& rows, const std::string& tail = "") {
    has_live_log_ |= id > manifest_.last_sealed_wal_id;
    std::string text;
    for (const usagedb::Row& row : rows) {
      usagedb::AppendWalLine(text, row);
      text += '\n';
    }
    Put(fs_, usagedb::LogPath(root_, id), AsByteSpan(text + tail));
  }
  // With the log that usageDb makes at once, unless there are others.
  void Finish() {
    const std::string live = usagedb::LogPath(root_, manifest_.last_sealed_wal_id + 1);
    if (!has_live_log_) Put(fs_, live, {});
    const std::string text = usagedb::PrintManifest(manifest_);
    Put(fs_, root_ + "/manifest/manifest-000001.json", AsByteSpan(text));
    Put(fs_, root_ + "/manifest/CURRENT", AsByteSpan(std::string_view("1")));
    for (const char* dir : {"", "/manifest", "/wal"}) EXPECT_TRUE(fs_.SyncDir(root_ + dir).ok());
    EXPECT_TRUE(fs_.SyncDir(".").ok());
  }
  usagedb::UsageDbManifest& manifest() { return manifest_; }

 private:
  FileSystem& fs_;
  std::string root_;
  usagedb::UsageDbManifest manifest_;
  bool has_live_log_ = false;
};

class UsageDbMove : public testing::Test {
 protected:
  UsageDbMove() : env_(fs_) {}

  OpenOptions SmallOptions(Env& env) {
    OpenOptions options;
    options.env = &env;
    options.wal_file_bytes = 64 * 4096;  // many files within one import
    options.batch_bytes_max = 32 * 4096;
    options.group_bytes_max = 16 * 4096;
    options.batch_events_max = 64;
    options.memtable_rows_max = 100;
    options.mark_idle_ms = 1;
    return options;
  }
  UsageDbImportOptions ImportOptions(Env& env) {
    UsageDbImportOptions options;
    options.open = SmallOptions(env);
    options.batch_events = 16;
    return options;
  }
  UsageDbImportOptions ImportOptions() { return ImportOptions(env_); }

  UsageDbImportReport Import(const std::string& source, const UsageDbImportOptions& options,
                             const std::string& data = "data") {
    auto report = ImportUsageDb(source, data, options);
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *report : UsageDbImportReport{};
  }
  UsageDbImportReport Import(const std::string& source = "src") {
    return Import(source, ImportOptions());
  }
  UsageDbImportReport DryRun(const std::string& source = "src") {
    UsageDbImportOptions options = ImportOptions();
    options.dry_run = true;
    return Import(source, options, "nowhere");
  }

  // Every event by its id, as usageDb's payload hash sees it.
  std::map<std::string, std::string> EventsOf(const std::string& data) {
    std::map<std::string, std::string> events;
    auto db = Db::Open(data, SmallOptions(env_));
    EXPECT_TRUE(db.ok()) << db.status().ToString();
    if (!db.ok()) return events;
    auto stream = db->ListEvents({.from_ms = INT64_MIN, .to_ms = INT64_MAX});
    EXPECT_TRUE(stream.ok());
    while (true) {
      auto event = stream->Next();
      EXPECT_TRUE(event.ok()) << event.status().ToString();
      if (!event.ok() || !event->has_value()) break;
      const Event& e = **event;
      std::string text = e.account_id + '|' + e.product_id + '|' + e.meter_id + '|' +
                         e.subscription_id.value_or("-") + '|' + e.model_id.value_or("-") + '|' +
                         e.unit + '|' + e.source + '|' + std::string(EventKindName(e.kind)) + '|' +
                         std::to_string(e.timestamp_ms) + '|' + e.quantity.ToString();
      if (e.correction_ref) {
        text += '|' + e.correction_ref->original_event_id + '|' + e.correction_ref->reason;
      }
      for (const auto& [key, value] : e.dimensions) text += '|' + key + '=' + value;
      EXPECT_TRUE(events.emplace(e.event_id, text).second) << e.event_id;
    }
    return events;
  }

  // Without the names that the simulated disk's listings invent.
  static std::vector<std::string> Leftovers(const UsageDbImportReport& report) {
    std::vector<std::string> names;
    for (const std::string& name : report.leftovers) {
      if (name.starts_with("raw_") || name.starts_with("wal/wal-")) names.push_back(name);
    }
    return names;
  }

  std::set<std::string> Names(const std::string& dir) {
    std::set<std::string> there;
    const auto names = *fs_.List(dir);
    for (const std::string& name : names) {
      if (*fs_.Exists(JoinPath(dir, name))) there.insert(name);
    }
    return there;
  }

  SimFs fs_;
  EnvOver env_;
};

std::string TextOrDash(const json::value& value) {
  return value.is_null() ? "-" : std::string(value.as_string());
}

// What the file says that usageDb kept.
std::map<std::string, std::string> ExpectedOf(const std::string& name) {
  const auto text = ReadWholeFile(Env::Real().fs(), kData + name + ".expected.json", 1 << 22);
  EXPECT_TRUE(text.ok());
  // Quantities beyond 64 bits are made texts, so that no digit is lost.
  std::string quoted(AsText(*text));
  const std::string key = "\"quantity\": ";
  for (size_t at = 0; (at = quoted.find(key, at)) != std::string::npos;) {
    at += key.size();
    if (quoted[at] == '"') continue;
    quoted.insert(at, "\"");
    quoted.insert(quoted.find_first_of(",\n}", at), "\"");
  }
  std::map<std::string, std::string> events;
  const json::value parsed = json::parse(quoted);
  for (const json::value& event : parsed.at("events").as_array()) {
    const auto get = [&](const char* field) { return TextOrDash(event.at(field)); };
    std::string text_of = get("account_id") + '|' + get("product_id") + '|' + get("meter_id") +
                          '|' + get("subscription_id") + '|' + get("model_id") + '|' + get("unit") +
                          '|' + get("source") + '|' + get("kind") + '|' +
                          std::to_string(event.at("timestamp_ms").to_number<int64_t>()) + '|' +
                          get("quantity");
    const json::value& ref = event.at("correction_ref");
    if (!ref.is_null()) {
      text_of += '|' + TextOrDash(ref.at("original_event_id")) + '|' + TextOrDash(ref.at("reason"));
    }
    std::map<std::string, std::string> dimensions;
    for (const auto& [k, v] : event.at("dimensions").at("inner").as_object()) {
      dimensions[k] = TextOrDash(v);
    }
    for (const auto& [k, v] : dimensions) text_of += '|' + k + '=' + v;
    events[get("event_id")] = text_of;
  }
  return events;
}

TEST_F(UsageDbMove, EveryEventThatUsageDbKeptArrivesAndNoOther) {
  struct Case {
    const char* name;
    uint64_t sidecars;
    size_t leftovers;
  };
  for (const Case& one : {Case{"small", 4, 0}, Case{"tail", 5, 0}, Case{"compacted", 1, 36}}) {
    const std::string data = std::string("data_") + one.name;
    CopyIn(fs_, kData + one.name, one.name);
    const auto report = Import(one.name, ImportOptions(), data);
    EXPECT_TRUE(report.status.ok()) << report.status.ToString();
    const auto expected = ExpectedOf(one.name);
    EXPECT_EQ(report.events, expected.size());
    EXPECT_EQ(report.accepted, expected.size());
    EXPECT_EQ(report.lsn.value, expected.size());
    EXPECT_EQ(report.sidecars_hit, one.sidecars);
    EXPECT_EQ(report.sidecars_missing + report.sidecars_corrupt, 0u);
    EXPECT_THAT(Leftovers(report), SizeIs(one.leftovers));
    EXPECT_FALSE(report.held_more);
    EXPECT_EQ(EventsOf(data), expected) << one.name;
  }
}

TEST_F(UsageDbMove, ClosedPeriodsAreListed) {
  CopyIn(fs_, kData + "small", "src");
  const auto report = DryRun();
  ASSERT_THAT(report.closed_periods, SizeIs(1));
  EXPECT_EQ(report.closed_periods[0].account_id, "acme");
  EXPECT_EQ(report.closed_periods[0].period, "2026-06");
  EXPECT_EQ(report.closed_periods[0].frozen_quantity, "90000027670116110564327480");
}

TEST_F(UsageDbMove, ADryRunWritesNothing) {
  CopyIn(fs_, kData + "tail", "src");
  Put(fs_, "src/LOCK", {});
  const auto report = DryRun();
  EXPECT_TRUE(report.status.ok()) << report.status.ToString();
  EXPECT_EQ(report.events, 300u);
  EXPECT_FALSE(report.written);
  EXPECT_FALSE(*fs_.Exists("nowhere"));
  EXPECT_TRUE(fs_.Content("src/LOCK")->empty());
}

TEST_F(UsageDbMove, AgainItFindsEverythingThere) {
  CopyIn(fs_, kData + "tail", "src");
  EXPECT_EQ(Import().accepted, 300u);
  const auto again = Import();
  EXPECT_TRUE(again.status.ok()) << again.status.ToString();
  EXPECT_EQ(again.accepted, 0u);
  EXPECT_EQ(again.already_there, 300u);
  EXPECT_EQ(again.lsn.value, 300u);
  EXPECT_FALSE(again.held_more);
}

TEST_F(UsageDbMove, InterruptedAnywhereItIsFinishedByRunningItAgain) {
  CopyIn(fs_, kData + "tail", "src");
  ASSERT_TRUE(fs_.SyncDir(".").ok());
  uint64_t resumed = 0;
  for (uint64_t operation = 1;; operation += 13) {
    auto disk = fs_.Clone();
    EnvOver env(*disk);
    disk->CrashAt(disk->operations() + operation, operation);
    UsageDbImportOptions options = ImportOptions(env);
    options.trouble_wait_ms = 1000;  // for what the crashed machine will never give
    auto report = ImportUsageDb("src", "data", options);
    if (!disk->crashed()) break;
    disk->Restart(operation % 2 == 0 ? CrashKind::kKill : CrashKind::kPowerCut, operation);
    const auto again = Import("src", ImportOptions(env));
    ASSERT_TRUE(again.status.ok()) << "operation " << operation << ": " << again.status.ToString();
    ASSERT_EQ(again.accepted + again.already_there, 300u);
    ASSERT_EQ(again.lsn.value, 300u);
    resumed += again.already_there > 0 && again.accepted > 0;
  }
  EXPECT_GT(resumed, 0u);
}

TEST_F(UsageDbMove, ADiskThatGivesNoLogFileEndsItAndItIsFinishedByRunningItAgain) {
  CopyIn(fs_, kData + "tail", "src");
  uint64_t ended = 0;
  for (uint64_t file = 0;; ++file) {
    auto disk = fs_.Clone();
    FaultFs faults(*disk);
    EnvOver env(faults);
    UsageDbImportOptions options = ImportOptions(env);
    options.trouble_wait_ms = 20;
    faults.Set(Fault{FaultOp::kCreate, file, true, EIO, false, "data/wal"});
    const auto report = ImportUsageDb("src", "data", options);
    if (faults.fired() == 0) break;
    ended += report.status().reason() == "log_unavailable";
    faults.Set(std::nullopt);
    const auto again = Import("src", options);
    ASSERT_TRUE(again.status.ok()) << "file " << file << ": " << again.status.ToString();
    ASSERT_EQ(again.accepted + again.already_there, 300u);
  }
  EXPECT_GT(ended, 0u);
}

TEST_F(UsageDbMove, ASidecarThatIsNotRebuiltEndsItAndItIsFinishedByRunningItAgain) {
  CopyIn(fs_, kData + "tail", "src");
  UsageDbImportOptions options = ImportOptions();
  options.open.compaction_fan_in = 0;
  EXPECT_EQ(Import("src", options).accepted, 300u);
  const auto names = fs_.List("data/segments");
  ASSERT_TRUE(names.ok());
  for (const std::string& name : *names) {
    if (!name.ends_with(".idx")) continue;
    ASSERT_TRUE(fs_.Remove("data/segments/" + name).ok());
  }
  FaultFs faults(fs_);
  EnvOver env(faults);
  options.open.env = &env;
  options.trouble_wait_ms = 20;
  faults.Set(Fault{FaultOp::kCreate, 0, true, EIO, false, ".idx"});
  const auto report = ImportUsageDb("src", "data", options);
  EXPECT_EQ(report.status().code(), StatusCode::kIoError) << report.status().ToString();
  faults.Set(std::nullopt);
  const auto again = Import("src", options);
  EXPECT_TRUE(again.status.ok()) << again.status.ToString();
  EXPECT_EQ(again.already_there, 300u);
}

TEST_F(UsageDbMove, OfEachEventTheFirstCopyCountsAndOthersAreQuarantined) {
  MadeSource source(fs_);
  using S = MadeSource;
  source.AddSegment({S::MakeRow("a", 1), S::MakeRow("b", 2)});
  source.AddSegment({S::MakeRow("a", 10), S::MakeRow("b", 2), S::MakeRow("c", 3)});
  source.AddLog(1, {S::MakeRow("c", 3), S::MakeRow("d", 4), S::MakeRow("a", 10)});
  source.AddLog(2, {S::MakeRow("d", 40), S::MakeRow("d", 4)});
  source.Finish();
  for (const uint64_t keys_per_pass : {uint64_t{1}, uint64_t{1000}}) {
    UsageDbImportOptions options = ImportOptions();
    options.keys_per_pass = keys_per_pass;
    const std::string data = "data" + std::to_string(keys_per_pass);
    const auto report = Import("src", options, data);
    EXPECT_TRUE(report.status.ok()) << report.status.ToString();
    EXPECT_EQ(report.rows, 10u);
    EXPECT_EQ(report.events, 4u);
    EXPECT_EQ(report.duplicates, 3u);
    EXPECT_EQ(report.conflicts, 3u);
    EXPECT_EQ(report.quantity, "10");
    EXPECT_THAT(report.conflicting, SizeIs(3));
    EXPECT_EQ(report.sidecars_hit, 2u);
    auto db = Db::Open(data, SmallOptions(env_));
    ASSERT_TRUE(db.ok());
    const auto conflicts = db->ListConflicts({});
    ASSERT_TRUE(conflicts.ok());
    EXPECT_THAT(conflicts->conflicts, SizeIs(2));  // a with 10, d with 40
    EXPECT_EQ(db->GetEvent("a")->event.quantity, Quantity::FromInteger(1));
  }
}

TEST_F(UsageDbMove, WhatTheDatabaseHeldBeforeIsNoFault) {
  MadeSource source(fs_);
  source.AddSegment({MadeSource::MakeRow("a", 1), MadeSource::MakeRow("b", 2)});
  source.Finish();
  MadeSource other(fs_, "other");
  other.AddSegment({MadeSource::MakeRow("b", 2), MadeSource::MakeRow("x", 5),
                    MadeSource::MakeRow("y", 6, "else")});
  other.Finish();
  EXPECT_EQ(Import("other").accepted, 3u);
  const auto report = Import();
  EXPECT_TRUE(report.status.ok()) << report.status.ToString();
  EXPECT_EQ(report.accepted, 1u);
  EXPECT_EQ(report.already_there, 1u);
  EXPECT_TRUE(report.held_more);
}

TEST_F(UsageDbMove, AnEventThatTheDatabaseHasOtherwiseIsNotProved) {
  MadeSource source(fs_);
  source.AddSegment({MadeSource::MakeRow("a", 1), MadeSource::MakeRow("b", 2)});
  source.Finish();
  MadeSource other(fs_, "other");
  other.AddSegment({MadeSource::MakeRow("b", 3)});
  other.Finish();
  EXPECT_TRUE(Import("other").status.ok());
  const auto report = Import();
  EXPECT_EQ(report.status.reason(), "not_proven");
  ASSERT_FALSE(report.faults.empty());
  EXPECT_THAT(report.faults[0], HasSubstr("event b was not counted"));
}

// --- limits ---

TEST_F(UsageDbMove, AnImportKeepsWhatIngestWouldRefuse) {
  const std::string long_id(65'535, 'x');
  const std::string value(100'000, 'v');
  const std::string key(1000, 'k');
  const std::vector<Dimension> dimensions = {{key, value}};
  usagedb::Row row = MadeSource::MakeRow(long_id);
  row.event.dimensions = dimensions;
  usagedb::Row control = MadeSource::MakeRow("a\nb", 1, "ac\x01me");
  usagedb::Row future = MadeSource::MakeRow("future");
  future.event.timestamp_ms = INT64_MAX - 1;
  usagedb::Row last = MadeSource::MakeRow("last");
  last.event.timestamp_ms = INT64_MAX;
  const std::string longer_id(65'536, 'y');
  MadeSource source(fs_);
  source.AddSegment({row, control, future});
  source.AddLog(1, {last, MadeSource::MakeRow(longer_id)});
  source.Finish();
  UsageDbImportOptions options = ImportOptions();
  options.open.batch_bytes_max = 64 * 4096;
  options.open.wal_file_bytes = 128 * 4096;
  const auto report = Import("src", options);
  EXPECT_EQ(report.status.reason(), "refused") << report.status.ToString();
  EXPECT_EQ(report.accepted, 3u);
  EXPECT_EQ(report.refused, 2u);
  ASSERT_THAT(report.refused_events, SizeIs(2));
  EXPECT_EQ(report.refused_events[0].code, "invalid_timestamp");
  EXPECT_EQ(report.refused_events[1].code, "too_long");
  EXPECT_THAT(report.faults, IsEmpty());
  options.open.limits = {};
  auto db = Db::Open("data", options.open);
  ASSERT_TRUE(db.ok());
  EXPECT_EQ(db->GetEvent(long_id)->event.dimensions[0].second, value);
  EXPECT_TRUE(db->GetEvent("a\nb").ok());
  const auto verified = db->Verify({});
  ASSERT_TRUE(verified.ok());
  EXPECT_THAT(verified->faults, IsEmpty());
}

// --- damage ---

TEST_F(UsageDbMove, DamageIsRefusedBeforeAnythingIsWritten) {
  MadeSource source(fs_);
  source.AddSegment({MadeSource::MakeRow("a", 1)});
  source.AddSegment({MadeSource::MakeRow("b", 2)});
  source.AddLog(1, {MadeSource::MakeRow("c", 3)}, "{\"event_id\":\"torn");
  source.Finish();
  Bytes bytes = *fs_.Content("src/raw_1.seg");
  bytes[40] ^= std::byte{1};
  fs_.SetContent("src/raw_1.seg", bytes);
  const auto refused = Import();
  EXPECT_EQ(refused.status.reason(), "damaged");
  EXPECT_FALSE(refused.written);
  EXPECT_FALSE(*fs_.Exists("data"));
  ASSERT_THAT(refused.damaged, SizeIs(2));
  EXPECT_EQ(refused.damaged[0].file, "src/raw_1.seg");
  EXPECT_THAT(refused.damaged[0].what, HasSubstr("1 rows: src/raw_1.seg: at offset "));
  EXPECT_EQ(refused.damaged[1].file, "src/wal/wal-000001.log");
  EXPECT_THAT(refused.damaged[1].what, HasSubstr("line 2 at offset "));

  UsageDbImportOptions options = ImportOptions();
  options.skip_damaged = true;
  const auto report = Import("src", options);
  EXPECT_EQ(report.status.reason(), "damaged");
  EXPECT_TRUE(report.written);
  EXPECT_EQ(report.accepted, 2u);
  EXPECT_THAT(report.faults, IsEmpty());
  EXPECT_THAT(EventsOf("data"), SizeIs(2));
}

// A segment whose content is another, whole in itself, under the checksum of what was written.
TEST_F(UsageDbMove, AChecksumThatDoesNotMatchIsNotTrusted) {
  MadeSource source(fs_);
  source.AddSegment({MadeSource::MakeRow("a", 1)});
  source.Finish();
  const Bytes good = *fs_.Content("src/raw_0.seg");
  Bytes other = usagedb::EncodeSegment(std::vector{MadeSource::MakeRow("z", 1)})->file;
  fs_.SetContent("src/raw_0.seg", other);  // the footer is right, the manifest knows another
  EXPECT_EQ(Import().status.reason(), "damaged");
  std::copy(good.end() - 16, good.end(), other.end() - 16);  // and the other way round
  fs_.SetContent("src/raw_0.seg", other);
  const auto report = Import();
  EXPECT_EQ(report.status.reason(), "damaged");
  ASSERT_THAT(report.damaged, SizeIs(1));
  EXPECT_THAT(report.damaged[0].what, HasSubstr("checksum"));
  EXPECT_FALSE(*fs_.Exists("data"));
}

// What the source says in all: by account and meter, and how many rows.
struct Said {
  UsageTotals totals;
  uint64_t rows = 0;
  friend bool operator==(const Said&, const Said&) = default;
};

Result<std::pair<Said, Status>> Survey(Env& env, const std::string& root) {
  auto source = UsageDbSource::Open(env.fs(), root);
  if (!source.ok()) return source.status();
  auto survey = SurveyUsageDb(**source, UsageDbImportOptions{});
  if (!survey.ok()) return survey.status();
  const UsageDbImportReport& report = survey->report;
  const bool clean = report.damaged.empty() && report.sidecars_corrupt == 0 && report.refused == 0;
  return std::pair(Said{survey->totals, report.rows},
                   clean ? Status::Ok() : Status::Corruption("told"));
}

TEST_F(UsageDbMove, EveryFlippedByteIsToldOrHarmless) {
  uint64_t flips = 0;
  for (const std::string name : {"small", "tail"}) {
    CopyIn(fs_, kData + name, name);
    const auto good = Survey(env_, name);
    ASSERT_TRUE(good.ok() && good->second.ok());
    std::vector<std::string> files = {name + "/manifest/CURRENT"};
    for (const std::string& file : Names(name + "/manifest")) {
      files.push_back(JoinPath(name + "/manifest", file));
    }
    if (name == "small") {
      for (const std::string& file : Names(name)) {
        if (file.ends_with(".seg") || file.ends_with(".idx")) files.push_back(JoinPath(name, file));
      }
    }
    for (const std::string& file : files) {
      const Bytes bytes = *fs_.Content(file);
      for (size_t i = 0; i < bytes.size(); ++i) {
        Bytes bad = bytes;
        bad[i] ^= std::byte{static_cast<uint8_t>(1u << (i % 8))};
        fs_.SetContent(file, bad);
        const auto said = Survey(env_, name);
        const bool told = !said.ok() || !said->second.ok();
        ASSERT_TRUE(told || said->first == good->first) << file << " at " << i;
        ++flips;
      }
      fs_.SetContent(file, bytes);
    }
  }
  EXPECT_GT(flips, 5000u);
}

TEST_F(UsageDbMove, AMissingSegmentIsDamageAndAMissingSidecarIsNot) {
  CopyIn(fs_, kData + "small", "src");
  ASSERT_TRUE(fs_.Remove("src/raw_0ae8555600f74824b510eb5bcab16234.idx").ok());
  const auto report = DryRun();
  EXPECT_TRUE(report.status.ok()) << report.status.ToString();
  EXPECT_EQ(report.sidecars_missing, 1u);
  EXPECT_EQ(report.sidecars_hit, 3u);
  ASSERT_TRUE(fs_.Remove("src/raw_0ae8555600f74824b510eb5bcab16234.seg").ok());
  const auto missing = DryRun();
  EXPECT_EQ(missing.status.reason(), "damaged");
  ASSERT_THAT(missing.damaged, SizeIs(1));
  EXPECT_EQ(missing.damaged[0].file, "src/raw_0ae8555600f74824b510eb5bcab16234.seg");
}

TEST_F(UsageDbMove, ADamagedSidecarIsToldButCostsNoRow) {
  CopyIn(fs_, kData + "small", "src");
  const std::string path = "src/raw_539ea1d619bb4f58a6ddd6f723c99319.idx";
  const std::string other = "src/raw_0ae8555600f74824b510eb5bcab16234.idx";
  fs_.SetContent(path, *fs_.Content(other));  // whole, but of other rows
  const auto report = Import();
  EXPECT_EQ(report.status.reason(), "sidecar_corrupt");
  EXPECT_EQ(report.sidecars_corrupt, 1u);
  ASSERT_THAT(report.sidecar_faults, SizeIs(1));
  EXPECT_EQ(report.sidecar_faults[0].file, path);
  EXPECT_EQ(report.accepted, 25u);
  EXPECT_THAT(report.faults, IsEmpty());
}

TEST_F(UsageDbMove, WithoutCurrentNothingIsTakenForEmpty) {
  CopyIn(fs_, kData + "small", "src");
  ASSERT_TRUE(fs_.Remove("src/manifest/CURRENT").ok());
  const auto report = ImportUsageDb("src", "data", ImportOptions());
  EXPECT_EQ(report.status().code(), StatusCode::kCorruption);
  EXPECT_THAT(report.status().message(), HasSubstr("src/manifest/CURRENT is missing"));
  // Nor where the manifests are gone too, or where there is nothing.
  for (const std::string& name : Names("src/manifest")) {
    ASSERT_TRUE(fs_.Remove("src/manifest/" + name).ok());
  }
  EXPECT_EQ(ImportUsageDb("src", "data", ImportOptions()).status().code(), StatusCode::kCorruption);
  ASSERT_TRUE(fs_.CreateDir("empty").ok());
  EXPECT_EQ(ImportUsageDb("empty", "data", ImportOptions()).status().reason(), "usagedb_not_found");
  EXPECT_FALSE(*fs_.Exists("data"));
}

TEST_F(UsageDbMove, TheOldPlaceOfTheManifestIsReadToo) {
  CopyIn(fs_, kData + "small", "src");
  Put(fs_, "src/manifest.json", *fs_.Content("src/manifest/manifest-000003.json"));
  for (const std::string& name : Names("src/manifest")) {
    ASSERT_TRUE(fs_.Remove("src/manifest/" + name).ok());
  }
  EXPECT_EQ(DryRun().events, 25u);
}

TEST_F(UsageDbMove, LogsAloneAreADatabaseThatWasNeverFlushed) {
  ASSERT_TRUE(fs_.CreateDir("src").ok());
  ASSERT_TRUE(fs_.CreateDir("src/wal").ok());
  std::string line;
  usagedb::AppendWalLine(line, MadeSource::MakeRow("a"));
  Put(fs_, "src/wal/wal-000001.log", AsByteSpan("\n" + line + "\n  \n"));
  const auto report = Import();
  EXPECT_TRUE(report.status.ok()) << report.status.ToString();
  EXPECT_EQ(report.accepted, 1u);
}

TEST_F(UsageDbMove, ASourceInUseIsRefused) {
  CopyIn(fs_, kData + "small", "src");
  const auto held = fs_.Lock("src/LOCK");
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(ImportUsageDb("src", "data", ImportOptions()).status().reason(), "source_locked");
  EXPECT_FALSE(*fs_.Exists("data"));
}

TEST_F(UsageDbMove, ALogThatWasSealedTooEarlyIsTold) {
  MadeSource source(fs_);
  source.manifest().last_sealed_wal_id = 1;
  source.AddSegment({MadeSource::MakeRow("a", 1)});
  source.AddLog(1, {MadeSource::MakeRow("a", 1), MadeSource::MakeRow("lost", 2)});
  source.Finish();
  const auto report = DryRun();
  EXPECT_EQ(report.status.reason(), "damaged");
  ASSERT_THAT(report.damaged, SizeIs(1));
  EXPECT_THAT(report.damaged[0].what, HasSubstr("line 2: event lost is in no segment"));
  EXPECT_THAT(Leftovers(report), testing::ElementsAre("wal/wal-000001.log"));
}

TEST_F(UsageDbMove, ARefusedEventInASealedLogIsNoDamage) {
  MadeSource source(fs_);
  source.manifest().last_sealed_wal_id = 1;
  usagedb::Row last = MadeSource::MakeRow("last");
  last.event.timestamp_ms = INT64_MAX;
  source.AddSegment({MadeSource::MakeRow("a"), last});
  source.AddLog(1, {MadeSource::MakeRow("a"), last});
  source.Finish();
  const auto report = Import();
  EXPECT_EQ(report.status.reason(), "refused") << report.status.ToString();
  EXPECT_EQ(report.accepted, 1u);
  EXPECT_EQ(report.damages, 0u);
}

TEST_F(UsageDbMove, DamageIsListedUpToALimitAndCountedInFull) {
  MadeSource source(fs_);
  std::string lines;
  for (int i = 0; i < 1500; ++i) lines += "{\n";
  source.AddLog(1, {}, lines);
  source.Finish();
  const auto report = DryRun();
  EXPECT_EQ(report.damages, 1500u);
  EXPECT_THAT(report.damaged, SizeIs(UsageDbImportReport::kListedMax));
  EXPECT_THAT(report.status.message(), HasSubstr("1500 faults"));
}

TEST_F(UsageDbMove, OneWrongRowCountCostsNoFurtherPasses) {
  MadeSource source(fs_);
  source.AddSegment({MadeSource::MakeRow("a")});
  source.AddSegment({MadeSource::MakeRow("b")});
  source.manifest().raw_segments[0].row_count = UINT32_MAX;
  source.Finish();
  UsageDbImportOptions options = ImportOptions();
  options.keys_per_pass = 1;
  const auto report = Import("src", options);
  EXPECT_EQ(report.status.reason(), "damaged");
  EXPECT_EQ(report.damages, 1u);
  EXPECT_EQ(report.events, 1u);
  MadeSource larger(fs_, "larger");
  larger.AddSegment({MadeSource::MakeRow("a")});
  larger.manifest().raw_segments[0].row_count = uint64_t{UINT32_MAX} + 1;
  larger.Finish();
  const auto refused = ImportUsageDb("larger", "data", options);
  EXPECT_EQ(refused.status().code(), StatusCode::kCorruption);
  EXPECT_THAT(refused.status().message(), HasSubstr("row_count"));
}

TEST_F(UsageDbMove, EventsThatOnlyALeftoverSegmentHasAreTold) {
  MadeSource source(fs_);
  using S = MadeSource;
  source.AddSegment({S::MakeRow("a", 1), S::MakeRow("b", 2)});
  source.AddLog(1, {S::MakeRow("c", 3)});
  const auto segment = [](const std::vector<usagedb::Row>& rows) {
    return usagedb::EncodeSegment(rows)->file;
  };
  Put(fs_, "src/raw_copy.seg", segment({S::MakeRow("a", 1), S::MakeRow("c", 3)}));
  source.Finish();
  EXPECT_TRUE(DryRun().status.ok());
  const Bytes lost = segment({S::MakeRow("a"), S::MakeRow("x"), S::MakeRow("y"), S::MakeRow("z")});
  Put(fs_, "src/compacted_lost.seg", lost);
  Put(fs_, "src/raw_torn.seg", ByteSpan(lost).first(lost.size() / 2));
  ASSERT_TRUE(fs_.SyncDir("src").ok());
  for (const uint64_t keys_per_pass : {uint64_t{2}, uint64_t{1000}}) {
    UsageDbImportOptions options = ImportOptions();
    options.keys_per_pass = keys_per_pass;
    const auto report = Import("src", options);
    EXPECT_EQ(report.status.reason(), "leftover_events") << report.status.ToString();
    EXPECT_TRUE(report.written);
    EXPECT_EQ(report.accepted + report.already_there, 3u);
    EXPECT_EQ(report.leftover_events, 3u);
    ASSERT_THAT(report.leftover_segments, SizeIs(2));
    EXPECT_EQ(report.leftover_segments[0].file, "compacted_lost.seg");
    EXPECT_EQ(report.leftover_segments[0].events, 3u);
    EXPECT_EQ(report.leftover_segments[1].file, "raw_torn.seg");
    EXPECT_THAT(report.leftover_segments[1].fault, HasSubstr("end mark"));
  }
}

TEST_F(UsageDbMove, AMissingLiveLogIsDamage) {
  CopyIn(fs_, kData + "tail", "src");
  ASSERT_TRUE(fs_.Remove("src/wal/wal-000002.log").ok());
  const auto refused = Import();
  EXPECT_EQ(refused.status.reason(), "damaged") << refused.status.ToString();
  EXPECT_FALSE(refused.written);
  ASSERT_THAT(refused.damaged, SizeIs(1));
  EXPECT_EQ(refused.damaged[0].file, "src/wal/wal-000002.log");
  EXPECT_THAT(refused.damaged[0].what, HasSubstr("is missing"));
  UsageDbImportOptions options = ImportOptions();
  options.skip_damaged = true;
  EXPECT_TRUE(Import("src", options).written);
}

TEST_F(UsageDbMove, AGapBetweenLiveLogsIsDamage) {
  MadeSource source(fs_);
  source.manifest().last_sealed_wal_id = 4;
  source.AddLog(5, {MadeSource::MakeRow("a")});
  source.AddLog(8, {MadeSource::MakeRow("b")});
  source.Finish();
  const auto report = DryRun();
  EXPECT_EQ(report.status.reason(), "damaged") << report.status.ToString();
  ASSERT_THAT(report.damaged, SizeIs(1));
  EXPECT_EQ(report.damaged[0].file, "src/wal/wal-000006.log");
  EXPECT_THAT(report.damaged[0].what, HasSubstr("up to 7"));
}

TEST_F(UsageDbMove, ALogByAnotherNameIsDamage) {
  MadeSource source(fs_);
  source.AddLog(1, {MadeSource::MakeRow("a")});
  Put(fs_, "src/wal/wal-1.log", {});
  source.Finish();
  const auto report = DryRun();
  EXPECT_EQ(report.status.reason(), "damaged") << report.status.ToString();
  EXPECT_EQ(report.events, 1u);
  ASSERT_THAT(report.damaged, SizeIs(1));
  EXPECT_EQ(report.damaged[0].file, "src/wal/wal-1.log");
}

TEST_F(UsageDbMove, AFailedReadIsNeverTakenForTheEnd) {
  CopyIn(fs_, kData + "tail", "src");
  FaultFs faults(fs_);
  EnvOver env(faults);
  UsageDbImportOptions options = ImportOptions(env);
  options.dry_run = true;
  for (const FaultOp op : {FaultOp::kOpen, FaultOp::kRead, FaultOp::kList}) {
    for (uint64_t nth = 0;; ++nth) {
      faults.Set(Fault{.op = op, .at = nth});
      const auto report = ImportUsageDb("src", "data", options);
      if (faults.fired() == 0) break;
      EXPECT_TRUE(!report.ok() || !report->status.ok()) << FaultOpName(op) << " " << nth;
    }
  }
}

TEST(UsageDbTotals, EverySumThatIsPrintedIsRead) {
  ExactSum large;
  large.Add(Quantity::FromInteger(static_cast<int128>(~uint128{0} >> 1)));
  for (int i = 0; i < 60; ++i) large.Add(large);
  ExactSum small;
  small.Add(Quantity{1, 12});
  ExactSum mixed = large.Negated();
  mixed.Add(small);
  for (const ExactSum& sum : {ExactSum(), large, large.Negated(), small, mixed}) {
    const auto read = ParseSum(sum.ToString());
    ASSERT_TRUE(read.has_value()) << sum.ToString();
    EXPECT_EQ(*read, sum) << sum.ToString();
  }
  for (const char* bad : {"", "-", ".", "1e3", "0.0000000000001", "x"}) {
    EXPECT_FALSE(ParseSum(bad).has_value()) << bad;
  }
}

// --- out ---

UsageDbExportOptions ExportOptions(const OpenOptions& open) {
  UsageDbExportOptions options;
  options.open = open;
  options.memory_bytes_max = 20'000;  // several segments a bucket
  return options;
}

TEST_F(UsageDbMove, InAndOutAndInAgainIsTheSame) {
  for (const std::string name : {"small", "tail", "compacted"}) {
    CopyIn(fs_, kData + name, name);
    Import(name, ImportOptions(), "data_" + name);
    const auto out =
        ExportUsageDb("data_" + name, "out_" + name, ExportOptions(SmallOptions(env_)));
    ASSERT_TRUE(out.ok()) << out.status().ToString();
    const auto report = Import("out_" + name, ImportOptions(), "again_" + name);
    EXPECT_TRUE(report.status.ok()) << report.status.ToString();
    EXPECT_EQ(report.events, out->events);
    EXPECT_EQ(report.sidecars_hit, out->segments);
    EXPECT_THAT(Leftovers(report), IsEmpty());
    EXPECT_EQ(EventsOf("again_" + name), ExpectedOf(name));
    const auto directory = usagedb::ReadDirectory(fs_, "out_" + name);
    ASSERT_TRUE(directory.ok());
    EXPECT_EQ(directory->live_logs, std::vector<uint64_t>{1});
    EXPECT_TRUE(fs_.Content("out_" + name + "/wal/wal-000001.log")->empty());
    Bytes buffer;
    for (const auto& meta : directory->manifest.raw_segments) {
      const auto rows = usagedb::ReadSegment(fs_, "out_" + name, meta, &buffer);
      ASSERT_TRUE(rows.ok()) << rows.status().ToString();
      for (uint32_t i = 0; i < rows->size(); ++i) {
        EXPECT_EQ(usagedb::BucketOf(rows->Get(i).event.account_id, 64), meta.bucket);
        EXPECT_TRUE(i == 0 || !usagedb::InSegmentOrder(rows->Get(i), rows->Get(i - 1)));
      }
    }
  }
}

class UsageDbExport : public UsageDbMove {
 protected:
  void SetUp() override {
    auto db = Db::Open("data", SmallOptions(env_));
    ASSERT_TRUE(db.ok());
    Batch batch = db->NewBatch();
    EventView event = MadeSource::MakeRow("whole", 5).event;
    batch.Add(event);
    event.event_id = "half";
    event.quantity = {5, 1};
    batch.Add(event);
    event.event_id = "whole";  // another payload: quarantined
    batch.Add(event);
    ASSERT_TRUE(db->Ingest(std::move(batch)).ok());
    ASSERT_TRUE(db->Close().ok());
  }
};

TEST_F(UsageDbExport, WhatUsageDbCannotHoldIsRefusedByNameOrLeftOutAndCounted) {
  UsageDbExportOptions options = ExportOptions(SmallOptions(env_));
  const auto refused = ExportUsageDb("data", "out", options);
  EXPECT_EQ(refused.status().reason(), "quantity_not_whole");
  EXPECT_THAT(refused.status().message(), HasSubstr("event half"));
  options.leave_out = true;
  const auto report = ExportUsageDb("data", "out", options);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->events, 1u);
  EXPECT_EQ(report->left_out, 1u);
  EXPECT_EQ(report->quarantined, 1u);
  EXPECT_THAT(report->left_out_ids, testing::ElementsAre("half"));
  EXPECT_EQ(ExportUsageDb("data", "out", options).status().reason(), "target_not_empty");
}

TEST_F(UsageDbExport, IdsThatAreUniqueByAccountOnlyAreRefused) {
  OpenOptions open = SmallOptions(env_);
  open.identity_scope = IdentityScope::kAccount;
  ASSERT_TRUE(Db::Open("scoped", open).ok());
  EXPECT_EQ(ExportUsageDb("scoped", "out", ExportOptions(open)).status().reason(),
            "identity_scope");
  EXPECT_FALSE(*fs_.Exists("out"));
}

TEST_F(UsageDbExport, AFailedExportIsNoDatabase) {
  uint64_t failed = 0;
  for (const FaultOp op :
       {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync, FaultOp::kSyncDir, FaultOp::kRename}) {
    for (uint64_t nth = 0;; ++nth) {
      auto disk = fs_.Clone();
      FaultFs faults(*disk);
      EnvOver env(faults);
      faults.Set(Fault{.op = op, .at = nth, .path_part = "out"});
      UsageDbExportOptions options = ExportOptions(SmallOptions(env));
      options.leave_out = true;
      const auto report = ExportUsageDb("data", "out", options);
      if (faults.fired() == 0) {
        ASSERT_TRUE(report.ok()) << report.status().ToString();
        break;
      }
      ++failed;
      EXPECT_FALSE(report.ok()) << FaultOpName(op) << " " << nth;
      EXPECT_FALSE(*disk->Exists("out/manifest/CURRENT")) << FaultOpName(op) << " " << nth;
    }
  }
  EXPECT_GT(failed, 8u);
}

// The log fails while the database is read: what close tells of it is told before CURRENT is there.
TEST_F(UsageDbExport, AFailedCloseIsAFailedExport) {
  auto db = Db::Open("data", SmallOptions(env_));
  ASSERT_TRUE(db.ok());
  Batch batch = db->NewBatch();
  batch.Add(MadeSource::MakeRow("late", 5).event);
  ASSERT_TRUE(db->Ingest(std::move(batch)).ok());
  const auto in_use = fs_.Clone();  // with a log, as after a kill
  ASSERT_TRUE(db->Close().ok());
  uint64_t failed = 0;
  for (uint64_t nth = 0;; ++nth) {
    auto disk = in_use->Clone();
    FaultFs faults(*disk);
    EnvOver env(faults);
    faults.Set(Fault{.op = FaultOp::kWrite, .at = nth, .for_ever = true, .path_part = "data/wal"});
    UsageDbExportOptions options = ExportOptions(SmallOptions(env));
    options.leave_out = true;
    const auto report = ExportUsageDb("data", "out", options);
    EXPECT_EQ(report.ok(), *disk->Exists("out/manifest/CURRENT")) << nth;
    failed += report.ok() ? 0 : 1;
    if (faults.fired() == 0) break;
  }
  EXPECT_GT(failed, 0u);
}

// What a failed export wrote is removed, CURRENT first: wherever that is cut short, there is no
// database of which parts are missing.
TEST_F(UsageDbExport, WhatItsRemovalLeavesIsNoDatabase) {
  uint64_t cut_short = 0;
  // The first removal is that of an old CURRENT.tmp.
  for (uint64_t removed = 2;; ++removed) {
    auto disk = fs_.Clone();
    FaultFs removals(*disk);
    removals.Set(
        Fault{.op = FaultOp::kRemove, .at = removed, .for_ever = true, .path_part = "out"});
    FaultFs syncs(static_cast<FileSystem&>(removals));
    // The folder's sync behind CURRENT's rename.
    syncs.Set(Fault{.op = FaultOp::kSyncDir, .at = 1, .path_part = "out/manifest"});
    EnvOver env(syncs);
    UsageDbExportOptions options = ExportOptions(SmallOptions(env));
    options.leave_out = true;
    EXPECT_FALSE(ExportUsageDb("data", "out", options).ok());
    EXPECT_EQ(syncs.fired(), 1u);
    EXPECT_FALSE(*disk->Exists("out/manifest/CURRENT")) << removed;
    if (removals.fired() == 0) break;
    ++cut_short;
  }
  EXPECT_GE(cut_short, 3u);
}

}  // namespace
}  // namespace tallystick
