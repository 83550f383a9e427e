// The way in from usageDb and back: a made source of N events (bench_util.h) in segments of 100,000
// rows, then reading it (dry run), importing it, importing it again, exporting it.
//
//   usagedb_bench [--smoke] [--events N] [--dir DIR] [--keep]
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/bench_util.h"
#include "env/env.h"
#include "tallystick/usagedb.h"
#include "usagedb/describe.h"
#include "usagedb/directory.h"
#include "usagedb/manifest.h"
#include "usagedb/segment.h"
#include "usagedb/udbidx01.h"

namespace tallystick::bench {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSegmentRows = 100'000;

struct Settings {
  uint64_t events = 2'000'000;
  std::string dir = "build/bench-data";
  bool keep = false;
};

void Write(const std::string& path, ByteSpan content) {
  auto file = Env::Real().fs().Open(path, OpenMode::kCreateNew);
  TALLY_CHECK(file.ok() && WriteFully(**file, 0, content).ok());
}

// Rows first..last-1 as a segment with its sidecar.
usagedb::SegmentMeta WriteSegment(const std::string& root, uint64_t first, uint64_t last) {
  std::vector<EventSource> sources(last - first);  // each keeps the texts of its event
  std::vector<usagedb::Row> rows;
  for (uint64_t i = first; i < last; ++i) {
    rows.push_back({sources[i - first].View(i), 1'782'000'000'000});
  }
  std::ranges::stable_sort(rows, usagedb::InSegmentOrder);
  usagedb::SegmentMeta meta = usagedb::MetaOf(rows);
  meta.segment_id = fmt::format("raw_{:032x}", first);
  const auto segment = usagedb::EncodeSegment(rows);
  TALLY_CHECK(segment.ok());
  meta.checksum = segment->checksum;
  const std::string path = usagedb::SegmentPath(root, meta);
  Write(path, segment->file);
  TALLY_CHECK(
      udbidx01::WriteDedupeIndex(Env::Real().fs(), udbidx01::IndexPath(path), usagedb::KeysOf(rows))
          .ok());
  return meta;
}

void MakeSource(const std::string& root, uint64_t events) {
  fs::create_directories(root + "/manifest");
  fs::create_directories(root + "/wal");
  usagedb::UsageDbManifest manifest;
  for (uint64_t first = 0; first < events; first += kSegmentRows) {
    manifest.raw_segments.push_back(
        WriteSegment(root, first, std::min(events, first + kSegmentRows)));
  }
  Write(usagedb::LogPath(root, 1), {});
  Write(root + "/manifest/manifest-000001.json", AsByteSpan(usagedb::PrintManifest(manifest)));
  Write(root + "/manifest/CURRENT", AsByteSpan(std::string_view("1")));
}

class Run {
 public:
  explicit Run(const Settings& settings) : settings_(settings), root_(settings.dir + "/usagedb") {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~Run() {
    if (!settings_.keep) fs::remove_all(root_);
  }

  void All() {
    MakeSource(root_ + "/source", settings_.events);
    Measure("read and judge (dry run)", [&] { Import(true); });
    Measure("import", [&] { Import(false); });
    Measure("import again, all there", [&] { Import(false); });
    Measure("export", [&] {
      const auto report = ExportUsageDb(root_ + "/data", root_ + "/out", {});
      TALLY_CHECK(report.ok() && report->events == settings_.events);
    });
  }

 private:
  template <typename Work>
  void Measure(const std::string& name, Work&& work) {
    const double start = NowSeconds();
    const double cpu = CpuSecondsOfProcess(getpid());
    work();
    const double seconds = NowSeconds() - start;
    const double cpu_seconds = CpuSecondsOfProcess(getpid()) - cpu;
    const auto events = static_cast<double>(settings_.events);
    report_.Add(name, events / seconds, "events/s",
                fmt::format("{:.0f} a second of processor time", events / cpu_seconds));
  }

  void Import(bool dry_run) {
    UsageDbImportOptions options;
    options.dry_run = dry_run;
    const auto report = ImportUsageDb(root_ + "/source", root_ + "/data", options);
    TALLY_CHECK(report.ok() && report->status.ok() && report->events == settings_.events);
    fmt::print("  reading {:.2f} s, importing with proof {:.2f} s\n",
               static_cast<double>(report->reading_us) / 1e6,
               static_cast<double>(report->importing_us) / 1e6);
  }

  const Settings settings_;
  const std::string root_;
  Report report_;
};

}  // namespace
}  // namespace tallystick::bench

int main(int argc, char** argv) {
  using namespace tallystick::bench;
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--smoke") settings.events = 3000;
    if (argument == "--keep") settings.keep = true;
    if (i + 1 == argc) break;
    if (argument == "--events") settings.events = std::strtoull(argv[i + 1], nullptr, 10);
    if (argument == "--dir") settings.dir = argv[i + 1];
  }
  Run(settings).All();
  return 0;
}
