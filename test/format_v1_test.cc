// Databases that format version 1 wrote, kept under testdata/v1, must open and answer for ever:
// `db` of a program that knew no segments, `db_segments` with segments, sidecars and a log.
// TALLY_REWRITE_GOLDEN=1 writes the latter anew, which is right only as long as version 1 was never
// released.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "dedupe/sidecar_inspect.h"
#include "manifest/manifest_inspect.h"
#include "segment/segment_inspect.h"
#include "tallystick/db.h"
#include "testing/golden.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/sim_env.h"
#include "testing/sim_fs.h"
#include "testing/temp_dir.h"
#include "wal/wal_inspect.h"

namespace tallystick {
namespace {

namespace fs = std::filesystem;

const fs::path kKept = fs::path(TALLY_SOURCE_DIR) / "testdata/v1";

// Rows, a conflict, a correction, in two segments and a log.
void WriteWithSegments() {
  SimFs sim(1);
  SimClock clock;
  for (int life = 0; life < 3; ++life) {
    SimEnv env(sim, clock, 11);
    OpenOptions options = SmallOptions(true);
    options.env = &env;
    if (life == 2) options.flush_on_close_ms_max = 0;
    auto db = Db::Open("db_segments", options);
    ASSERT_TRUE(db.ok()) << db.status().ToString();
    for (int frame = 0; frame < 2; ++frame) {
      Batch batch = db->NewBatch();
      for (int i = 0; i < 4; ++i) {
        batch.Add(EventAsView(SmallEvent(life * 8 + frame * 4 + i)).view());
      }
      batch.Add(EventAsView(SmallEvent(0, 1)).view());
      db->IngestAsync(std::move(batch), [](Result<IngestResult> result) {
        EXPECT_TRUE(result.ok()) << result.status().ToString();
      });
      env.executor().RunUntilIdle();
    }
    ASSERT_TRUE(db->Close().ok());
  }
  fs::remove_all(kKept / "db_segments");
  for (const std::string& path : sim.AllFiles()) {
    const Bytes content = *sim.Content(path);
    const fs::path to = kKept / path;
    fs::create_directories(to.parent_path());
    std::ofstream(to, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
  }
}

std::string Bill(const Db& db) {
  UsageQuery query{.from_ms = 0, .to_ms = INT64_MAX};
  query.group_by = {Field::Parse("account_id"), Field::Parse("meter_id"), Field::Parse("kind")};
  auto result = db.Aggregate(query);
  if (!result.ok()) return result.status().ToString();
  std::string text = fmt::format("lsn {}\n", result->lsn.value);
  for (const UsageLine& line : result->lines) {
    text +=
        fmt::format("{}: {} in {} events\n", fmt::join(line.keys, " "), line.quantity, line.count);
  }
  auto conflicts = db.ListConflicts({});
  for (const Conflict& conflict : conflicts->conflicts) {
    text += fmt::format("conflict {} of {} with {}\n", conflict.lsn.value, conflict.event.event_id,
                        conflict.original_lsn.value);
  }
  return text;
}

// The goldens of `name` have this in their names.
void ExpectOpensAndAnswers(const std::string& name, const std::string& goldens) {
  TempDir dir;
  const std::string data = dir.path() + "/db";
  fs::copy(kKept / name, data, fs::copy_options::recursive);
  fs::create_directories(data + "/segments");  // empty, so git does not keep it

  std::string inspected;
  std::vector<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(data)) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  for (const std::string& path : paths) {
    const std::string kind = fs::path(path).parent_path().filename();
    if (kind == "wal") {
      EXPECT_TRUE(InspectWal(Env::Real().fs(), path, false, &inspected).ok());
    }
    if (kind == "manifest") {
      EXPECT_TRUE(InspectManifest(Env::Real().fs(), path, false, &inspected).ok());
      EXPECT_TRUE(InspectManifest(Env::Real().fs(), path, true, &inspected).ok());
    }
    if (path.ends_with(".seg")) {
      EXPECT_TRUE(InspectSegment(Env::Real().fs(), path, false, &inspected).ok());
      EXPECT_TRUE(InspectSegment(Env::Real().fs(), path, true, &inspected).ok());
    }
    if (path.ends_with(".idx")) {
      EXPECT_TRUE(InspectSidecar(Env::Real().fs(), path, false, &inspected).ok());
      EXPECT_TRUE(InspectSidecar(Env::Real().fs(), path, true, &inspected).ok());
    }
  }
  for (size_t at; (at = inspected.find(data)) != std::string::npos;) {
    inspected.replace(at, data.size(), "db");
  }
  EXPECT_EQ(CompareGolden("testdata/v1/inspect" + goldens, inspected), "");

  auto db = Db::Open(data, SmallOptions(true));
  ASSERT_TRUE(db.ok()) << db.status().ToString();
  EXPECT_EQ(CompareGolden("testdata/v1/bill" + goldens, Bill(*db)), "");
  auto report = db->Verify({});
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->faults.empty()) << report->faults[0];
  EXPECT_GT(report->conflicts, 0u);
}

TEST(FormatV1, ADatabaseOfVersionOneOpensAndAnswers) { ExpectOpensAndAnswers("db", ".golden"); }

TEST(FormatV1, SoDoesOneWithSegments) {
  if (std::getenv("TALLY_REWRITE_GOLDEN") != nullptr) WriteWithSegments();
  ExpectOpensAndAnswers("db_segments", "_segments.golden");
}

}  // namespace
}  // namespace tallystick
