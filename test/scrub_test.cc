// The scrub of a whole database: damage of every kind to files that nobody reads is found by the
// next pass, with file and offset; a sound database gives no finding, whatever goes on beside; it
// keeps to its rate and its interval.
#include <errno.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/coding.h"
#include "rollup/whole_rollup_fixture.h"
#include "testing/forged_sidecar.h"
#include "testing/rig.h"
#include "testing/scenario.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

uint64_t damages = 0;

OpenOptions Options(uint64_t interval_s = 1000) {
  OpenOptions options = SmallOptions(true);
  options.scrub_interval_s = interval_s;
  return options;
}

// Three segments with their siblings, and a log with rows, a file that is ended and a spare.
void Fill(Rig& rig) {
  rig.Open();
  for (int life = 0; life < 3; ++life) {
    rig.Ingest(life * 4, life * 4 + 4, 0);
    rig.Reopen();
  }
  // The flusher cannot write any more, so the rest stays in the log.
  rig.machine.RunUntilIdle();
  rig.faults->Set(Fault{FaultOp::kCreate, 0, true, EIO, false, ".seg"});
  rig.Ingest(20, 26, 1);
  rig.machine.RunUntilIdle();
  ASSERT_EQ(rig.Files(".seg").size(), 3u);
}

// Asks for a pass and waits for its end; what it found.
std::vector<ScrubFinding> ScrubNow(Rig& rig) {
  const ScrubStatus before = rig.status().scrub;
  EXPECT_TRUE(rig.machine.db().StartScrub().ok());
  for (int i = 0; i < 1000 && rig.status().scrub.passes == before.passes; ++i) rig.Pass(0);
  const ScrubStatus after = rig.status().scrub;
  EXPECT_EQ(after.passes, before.passes + 1);
  EXPECT_EQ(after.faults, before.faults + after.last_pass_faults);
  const size_t found = std::min<size_t>(after.last_pass_faults, after.findings.size());
  return {after.findings.end() - static_cast<ptrdiff_t>(found), after.findings.end()};
}

std::string Text(const std::vector<ScrubFinding>& findings) {
  std::string text;
  for (const ScrubFinding& finding : findings) {
    text += fmt::format("{} at {}: {}\n", finding.file,
                        finding.offset.has_value() ? std::to_string(*finding.offset) : "-",
                        finding.what);
  }
  return text;
}

// The files that count, without those that nothing depends on.
std::vector<std::string> LiveFiles(Rig& rig) {
  std::vector<std::string> manifests, files;
  for (const std::string& path : rig.machine.fs().AllFiles()) {
    if (path.ends_with("/LOCK")) continue;
    (path.find("/manifest/") != std::string::npos ? manifests : files).push_back(path);
  }
  files.push_back(manifests.back());
  return files;
}

TEST(ScrubTest, ASoundDatabaseHasNoFinding) {
  Rig rig(Options());
  Fill(rig);
  EXPECT_EQ(Text(ScrubNow(rig)), "");
  const ScrubStatus scrub = rig.status().scrub;
  EXPECT_FALSE(scrub.running);
  EXPECT_GT(scrub.last_pass_ended_ms, 0);
  // Each segment is read, and twice more to be held against its rollup.
  EXPECT_GE(scrub.pass_bytes, 3 * rig.status().segment_bytes);
  const auto offline = rig.machine.db().Scrub({});
  ASSERT_TRUE(offline.ok());
  EXPECT_EQ(Text(offline->findings), "");
  // Each file once, the lines of rollups once more.
  EXPECT_EQ(offline->files, LiveFiles(rig).size());
}

// Of each file one byte, at places all over it, while the database is open and nobody reads. What
// is behind the last durable frame of a log file is nobody's loss.
void Damage(const std::string& path, size_t at, uint64_t* found) {
  Rig rig(Options());
  Fill(rig);
  ScrubNow(rig);
  SimFs& fs = rig.machine.fs();
  const Bytes good = *fs.Content(path);
  Bytes bad = good;
  bad[at] ^= std::byte{0x20};
  fs.SetContent(path, bad);
  ++damages;
  const auto findings = ScrubNow(rig);
  if (findings.empty() && path.find("/wal/") != std::string::npos && at >= kBlockBytes) return;
  ASSERT_EQ(findings.size(), 1u) << path << " byte " << at << ": " << Text(findings);
  EXPECT_EQ(findings[0].file, path) << "byte " << at;
  EXPECT_TRUE(findings[0].offset.has_value()) << Text(findings);
  EXPECT_LE(findings[0].offset.value_or(0), at) << Text(findings);
  EXPECT_GT(findings[0].found_ms, 0);
  ++*found;
  EXPECT_EQ(rig.status().segments_damaged, path.ends_with(".seg") ? 1u : 0u);
  if (path.ends_with(".idx") || path.ends_with(".sum")) {
    rig.Pass(60);
    EXPECT_EQ(*fs.Content(path), good) << "it is rebuilt";
    EXPECT_EQ(Text(ScrubNow(rig)), "");
    rig.ExpectWhole();
  }
}

TEST(ScrubTest, DamageAtRestIsFoundByTheNextPass) {
  Rig first(Options());
  Fill(first);
  for (const std::string& path : LiveFiles(first)) {
    const size_t bytes = first.machine.fs().Content(path)->size();
    uint64_t tried = 0, found = 0;
    for (size_t at = 0; at < bytes && !HasFailure(); at += bytes / 30 + 1, ++tried) {
      ASSERT_NO_FATAL_FAILURE(Damage(path, at, &found));
    }
    EXPECT_GT(found, 0u) << path;
    if (path.find("/wal/") == std::string::npos) {
      EXPECT_EQ(found, tried) << path;
    }
  }
}

// Every frame that was acknowledged, in files that are ended and in the active one.
TEST(ScrubTest, EveryDurableFrameOfTheLogIsVerified) {
  Rig rig(Options());
  Fill(rig);
  rig.Ingest(30, 32, 0);
  SimFs& fs = rig.machine.fs();
  uint64_t blocks = 0, headers = 0;
  for (const std::string& path : LiveFiles(rig)) {
    if (path.find("/wal/") == std::string::npos) continue;
    const Bytes good = *fs.Content(path);
    for (size_t block = 0; block < good.size() / kBlockBytes; ++block) {
      const auto begin = good.begin() + static_cast<ptrdiff_t>(block * kBlockBytes);
      const bool used =
          std::any_of(begin, begin + kBlockBytes, [](std::byte b) { return b != std::byte{0}; });
      Bytes bad = good;
      bad[block * kBlockBytes + 100] ^= std::byte{4};
      fs.SetContent(path, bad);
      const auto findings = ScrubNow(rig);
      EXPECT_EQ(findings.size(), used ? 1u : 0u) << path << " block " << block;
      blocks += used ? 1 : 0;
      headers += used && block == 0 ? 1 : 0;
      fs.SetContent(path, good);
      ++damages;
    }
  }
  EXPECT_GE(headers, 3u);
  EXPECT_GT(blocks, headers + 5);
}

TEST(ScrubTest, AMissingFileIsAFinding) {
  Rig rig(Options());
  Fill(rig);
  SimFs& fs = rig.machine.fs();
  size_t missing = 0;
  for (const std::string& path : LiveFiles(rig)) {
    ASSERT_TRUE(fs.Remove(path).ok());
    ++damages;
    const auto findings = ScrubNow(rig);
    EXPECT_EQ(findings.size(), ++missing) << Text(findings);
    EXPECT_NE(Text(findings).find(path + " at -: is missing"), std::string::npos) << path;
  }
  // It reads on what it has open.
  EXPECT_EQ(rig.status().segments_damaged, 0u);
  EXPECT_EQ(rig.model.Learn(rig.machine.db()), "");
}

// Sound in themselves, and not of these rows.
TEST(ScrubTest, ASidecarAndARollupOfOtherRowsAreFound) {
  for (const std::string kind : {".idx", ".sum"}) {
    Rig rig(Options());
    Fill(rig);
    rig.faults->Set(std::nullopt);
    ASSERT_TRUE(rig.machine.Close().ok());
    const std::string path = rig.Files(kind)[1];
    if (kind == ".idx") {
      ForgeSidecar(rig, 1, [](auto& entries) {
        std::swap(entries[0].payload_hash, entries[1].payload_hash);
      });
    } else {
      BlockCache cache(1 << 20);
      FileSystem& fs = rig.machine.fs();
      const auto rows = OpenRows(rig, 1, cache);
      ASSERT_TRUE(rows.ok());
      ASSERT_TRUE(fs.Remove(path).ok());
      auto rollup = BuildRollup(**rows, 1);
      ASSERT_TRUE(rollup.ok() && !rollup->lines.empty());
      rollup->lines[0].sum.Add(Quantity{1, 0});
      ASSERT_TRUE(WriteRollup(fs, path, (*rows)->info(), *rollup, nullptr).ok());
      ASSERT_TRUE(fs.SyncDir(Rig::kSegments).ok());
    }
    rig.Open();
    const auto findings = ScrubNow(rig);
    ASSERT_EQ(findings.size(), 1u) << Text(findings);
    EXPECT_EQ(findings[0].file, path);
    rig.Pass(60);
    EXPECT_EQ(Text(ScrubNow(rig)), "");
    rig.ExpectWhole();
    ++damages;
  }
}

TEST(ScrubTest, AReadThatFailsIsAFindingAndNoDamage) {
  for (const std::string part : {"IDENTITY", "/manifest", "/wal", ".seg", ".idx", ".sum"}) {
    Rig rig(Options());
    Fill(rig);
    rig.faults->Set(Fault{FaultOp::kRead, 0, true, EIO, false, part});
    const auto findings = ScrubNow(rig);
    ASSERT_GE(findings.size(), 1u) << part;
    EXPECT_NE(findings[0].file.find(part), std::string::npos);
    EXPECT_NE(findings[0].what.find("read"), std::string::npos) << findings[0].what;
    EXPECT_EQ(rig.status().segments_damaged, 0u);
    EXPECT_EQ(rig.status().sidecars_corrupt, 0u);
    EXPECT_EQ(rig.status().rollups_corrupt, 0u);
    EXPECT_TRUE(rig.machine.db().Ready().ok());
    rig.faults->Set(std::nullopt);
    EXPECT_EQ(Text(ScrubNow(rig)), "");
  }
}

// A pass cannot find what the start found, since it is rebuilt meanwhile.
TEST(ScrubTest, WhatOpenMetIsToldByTheFirstScrub) {
  Rig rig(Options());
  Fill(rig);
  rig.faults->Set(std::nullopt);
  ASSERT_TRUE(rig.machine.Close().ok());
  const std::string missing = rig.Files(".idx")[0];
  const std::string corrupt = rig.Files(".idx")[1];
  const std::string missing_rollup = rig.Files(".sum")[2];
  SimFs& fs = rig.machine.fs();
  ASSERT_TRUE(fs.Remove(missing).ok());
  ASSERT_TRUE(fs.Remove(missing_rollup).ok());
  Bytes bad = *fs.Content(corrupt);
  bad.back() ^= std::byte{1};
  fs.SetContent(corrupt, bad);
  rig.Open();
  const auto report = rig.machine.db().Scrub({});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->faults, 3u);
  std::vector<std::string> named;
  for (const ScrubFinding& finding : report->findings) named.push_back(finding.file);
  EXPECT_EQ(named, (std::vector<std::string>{missing, corrupt, missing_rollup}))
      << Text(report->findings);
  EXPECT_EQ(report->findings.at(0).what, "is missing");
  EXPECT_TRUE(report->findings.at(1).offset.has_value()) << Text(report->findings);
  rig.Pass(60);
  const auto again = rig.machine.db().Scrub({});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(Text(again->findings), "");
  damages += 3;
}

// Recovery has found no room for one: the rows are read, and that the log was not is no success.
TEST(ScrubTest, RowsAreReadWhereThereIsNoLog) {
  Rig rig(Options());
  Fill(rig);
  rig.faults->Set(std::nullopt);
  ASSERT_TRUE(rig.machine.Close().ok());
  SimFs& fs = rig.machine.fs();
  fs.SetCapacity(fs.UsedBytes());
  rig.Open();
  ASSERT_TRUE(rig.status().read_only);
  const std::string path = rig.Files(".seg")[1];
  Bytes bad = *fs.Content(path);
  bad[70] ^= std::byte{1};
  fs.SetContent(path, bad);
  ++damages;
  const auto offline = rig.machine.db().Scrub({});
  ASSERT_FALSE(offline.ok());
  EXPECT_NE(offline.status().message().find(path), std::string::npos)
      << offline.status().ToString();
  rig.Pass(100);
  EXPECT_EQ(rig.status().scrub.passes, 0u);
  EXPECT_EQ(rig.status().scrub.findings.size(), 1u) << Text(rig.status().scrub.findings);
  fs.SetCapacity(std::nullopt);
  for (int i = 0; i < 20; ++i) rig.Pass(10);
  EXPECT_EQ(rig.status().scrub.passes, 1u);
}

// --- when, and how fast ---

TEST(ScrubTest, EachPassBeginsWithAnotherSegment) {
  Rig rig(Options());
  Fill(rig);
  rig.faults->Set(Fault{FaultOp::kRead, 0, true, EIO, false, ".seg"});
  std::map<std::string, int> first;
  for (int pass = 0; pass < 30; ++pass) {
    const auto findings = ScrubNow(rig);
    ASSERT_EQ(findings.size(), 3u) << Text(findings);
    ++first[findings[0].file];
  }
  EXPECT_EQ(first.size(), 3u);
}

TEST(ScrubTest, PassesFollowTheStartAndThenTheInterval) {
  Rig rig(Options(1000));
  rig.Open();
  rig.Pass(1);
  EXPECT_EQ(rig.status().scrub.passes, 1u);
  rig.Pass(990);
  EXPECT_EQ(rig.status().scrub.passes, 1u);
  rig.Pass(20);
  EXPECT_EQ(rig.status().scrub.passes, 2u);
  for (int i = 0; i < 5; ++i) rig.Pass(1000);
  EXPECT_EQ(rig.status().scrub.passes, 7u);
}

TEST(ScrubTest, ItKeepsToItsRate) {
  OpenOptions options = Options();
  Rig first(options);
  Fill(first);
  ASSERT_EQ(ScrubNow(first).size(), 0u);
  const uint64_t bytes = first.status().scrub.pass_bytes;
  ASSERT_GT(bytes, 30'000u);
  for (const uint64_t rate : {1'000, 10'000}) {
    options.scrub_bytes_per_second = rate;
    Rig rig(options);
    Fill(rig);
    for (int i = 0; i < 10'000 && rig.status().scrub.passes == 0; ++i) rig.Pass(1);
    const uint64_t passes = rig.status().scrub.passes;
    const int64_t begin_us = rig.machine.clock().MonotonicMicros();
    ASSERT_TRUE(rig.machine.db().StartScrub().ok());
    while (rig.status().scrub.passes == passes) {
      rig.Pass(1);
      ASSERT_LE(rig.status().scrub.pass_bytes, rig.status().scrub.pass_bytes_expected);
    }
    const auto took_s = static_cast<double>(rig.machine.clock().MonotonicMicros() - begin_us) / 1e6;
    const auto due_s =
        static_cast<double>(rig.status().scrub.pass_bytes) / static_cast<double>(rate);
    EXPECT_GE(took_s, due_s * 0.9) << rate;
    EXPECT_LE(took_s, due_s * 1.2 + 100) << rate;
  }
}

TEST(ScrubTest, OffItReadsNothing) {
  OpenOptions options = Options();
  options.scrub_bytes_per_second = 0;
  Rig rig(options);
  Fill(rig);
  rig.Pass(10'000);
  EXPECT_EQ(rig.status().scrub.bytes, 0u);
  EXPECT_EQ(rig.machine.db().StartScrub().reason(), "scrub_off");
}

// Its own reading leaves the blocks of queries where they are.
TEST(ScrubTest, TheBlockCacheIsLeftAlone) {
  Rig rig(Options());
  Fill(rig);
  const uint64_t before = rig.status().cache_bytes;
  ScrubNow(rig);
  EXPECT_EQ(rig.status().cache_bytes, before);
}

// Log files that are flushed and recycled, new segments and manifests while it reads.
TEST(ScrubTest, BesideIngestAndFlushesNothingIsWrong) {
  uint64_t passes = 0, replaced = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    OpenOptions options = Options(1);
    options.scrub_bytes_per_second = 100'000 * seed;
    options.memtable_age_ms_max = seed % 2 == 0 ? 50 : 0;
    options.compaction_fan_in = 2;
    Rig rig(options, seed);
    rig.Open();
    for (int id = 0; id < 60; ++id) {
      rig.Ingest(id, id + 1, id % 2);
      if (id % 5 == 0) rig.Pass(1);
      if (id == 30) rig.Reopen();
    }
    rig.Pass(10);
    passes += rig.status().scrub.passes;
    EXPECT_EQ(Text(rig.status().scrub.findings), "") << "seed " << seed;
    replaced += rig.status().segments_deleted;
    rig.ExpectWhole();
  }
  EXPECT_GT(passes, 100u);
  EXPECT_GT(replaced, 100u);
}

class Totals : public testing::Environment {
 public:
  void TearDown() override { ReportTried(fmt::format("scrub damages={}", damages)); }
};
[[maybe_unused]] const auto* const kTotals = testing::AddGlobalTestEnvironment(new Totals);

}  // namespace
}  // namespace tallystick
