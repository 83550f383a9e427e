// What merging costs, and what it leaves behind.
//
//   compaction_bench [--smoke] [--events N] [--paced-seconds S] [--one-merge] [--dir DIR] [--keep]
//
//   one merge     eight segments of a memtable each into one: rows a second of one core, memory
//   all along     N events with merging going on: bytes written for a byte that is left, stalls
//   in the end    everything merged: bytes an event, beside those of rows that were loaded at once
//   commits       their latency at a steady rate while merging is held off, and while it is not
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "bench/bench_util.h"
#include "bench/month.h"
#include "tallystick/db.h"

namespace tallystick::bench {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBatch = 1000;
constexpr uint64_t kFanIn = 8;

struct Settings {
  uint64_t events = 10'000'000;
  uint32_t memtable_rows = 300'000;
  double paced_seconds = 20;
  double paced_rate = 200'000;  // events a second
  std::string dir = "build/bench-data";
  bool one_merge = false;  // the first of them only
  bool keep = false;
};

OpenOptions Options(const Settings& settings, uint32_t fan_in) {
  OpenOptions options;
  options.compaction_fan_in = fan_in;
  options.memtable_rows_max = std::max(settings.memtable_rows, options.batch_events_max);
  options.background_bytes_per_second = 0;
  options.runs_slow = fan_in == 0 ? 0 : options.runs_slow;
  options.runs_max = fan_in == 0 ? 0 : options.runs_max;
  options.flush_on_close_ms_max = 600'000;
  return options;
}

Db MustOpen(const std::string& path, const OpenOptions& options) {
  auto db = Db::Open(path, options);
  if (!db.ok()) fmt::print(stderr, "{}\n", db.status().ToString());
  TALLY_CHECK(db.ok());
  return *std::move(db);
}

struct Sent {
  uint64_t refused = 0;
  std::vector<double> micros;  // of each batch, refusals included
};

// Events from..to-1 in batches; at `rate` events a second, if it is not 0.
void Send(Db& db, MonthOfEvents& source, uint64_t from, uint64_t to, double rate, Sent* sent) {
  const double start = NowSeconds();
  for (uint64_t at = from; at < to; at += kBatch) {
    if (rate > 0) {
      const double due = start + static_cast<double>(at - from) / rate;
      if (const double wait = due - NowSeconds(); wait > 0) {
        std::this_thread::sleep_for(std::chrono::duration<double>(wait));
      }
    }
    const uint64_t end = std::min(to, at + kBatch);
    Batch batch = db.NewBatch();
    for (uint64_t i = at; i < end; ++i) batch.Add(source.View(i));
    const double began = NowSeconds();
    for (;;) {
      Batch again = db.NewBatch();
      for (uint64_t i = at; i < end && rate == 0; ++i) again.Add(source.View(i));
      auto result = db.Ingest(std::move(rate == 0 ? again : batch));
      if (result.ok()) {
        TALLY_CHECK(result->accepted == end - at);
        break;
      }
      TALLY_CHECK(result.status().code() == StatusCode::kUnavailable);
      ++sent->refused;
      batch = db.NewBatch();
      for (uint64_t i = at; i < end; ++i) batch.Add(source.View(i));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    sent->micros.push_back((NowSeconds() - began) * 1e6);
  }
}

// Until flushes and merges have caught up.
void Settle(Db& db) {
  for (int quiet = 0; quiet < 5;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    quiet = db.GetStatus().compacting.empty() ? quiet + 1 : 0;
  }
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The most that was resident since the last call.
uint64_t PeakResidentBytes() {
  std::ifstream status("/proc/self/status");
  uint64_t kilobytes = 0;
  for (std::string word; status >> word && word != "VmHWM:";) {
  }
  status >> kilobytes;
  std::ofstream("/proc/self/clear_refs") << "5";
  return kilobytes * 1024;
}

void OneMerge(const Settings& settings, const std::string& path, Report& report) {
  const uint64_t events = kFanIn * settings.memtable_rows;
  MonthOfEvents source(events);
  fs::remove_all(path);
  {
    Sent sent;
    for (uint64_t i = 0; i < kFanIn; ++i) {
      Db db = MustOpen(path, Options(settings, 0));
      Send(db, source, i * settings.memtable_rows, (i + 1) * settings.memtable_rows, 0, &sent);
      TALLY_CHECK(db.Close().ok());
    }
  }
  Db db = MustOpen(path, Options(settings, kFanIn));
  PeakResidentBytes();
  const uint64_t resident = ResidentBytesOfProcess(getpid());
  const double cpu = CpuSeconds(), start = NowSeconds();
  TALLY_CHECK(db.Compact({}).ok());
  const double seconds = CpuSeconds() - cpu;
  const DbStatus status = db.GetStatus();
  TALLY_CHECK(status.segments == 1 && status.segment_rows == events);
  report.Add("one merge", static_cast<double>(status.compaction_rows) / seconds / 1e6, "M rows/s",
             fmt::format("a second of CPU; {} rows in {:.2f} s of time", status.compaction_rows,
                         NowSeconds() - start));
  report.Add("memory of the process beyond what it had",
             static_cast<double>(PeakResidentBytes()) - static_cast<double>(resident), "bytes",
             "at most, the filter of the merged sidecar with it");
  TALLY_CHECK(db.Close().ok());
  if (!settings.keep) fs::remove_all(path);
}

void AllAlong(const Settings& settings, const std::string& path, Report& report) {
  MonthOfEvents source(settings.events);
  fs::remove_all(path);
  Db db = MustOpen(path, Options(settings, kFanIn));
  Sent sent;
  const double start = NowSeconds(), cpu = CpuSeconds();
  Send(db, source, 0, settings.events, 0, &sent);
  const double seconds = NowSeconds() - start;
  report.Add("ingest with flush and merging", static_cast<double>(settings.events) / seconds,
             "events/s", fmt::format("{} refusals", sent.refused));
  Settle(db);
  DbStatus status = db.GetStatus();
  const auto written =
      static_cast<double>(status.flush_bytes_written + status.compaction_bytes_written);
  report.Add(
      "bytes written under segments/ for a byte of them at the end",
      written / static_cast<double>(status.segment_file_bytes), "",
      fmt::format("{} merges of {} rows, {} runs at the end, {:.0f} s of CPU", status.compactions,
                  status.compaction_rows, status.segments, CpuSeconds() - cpu));
  TALLY_CHECK(db.Close().ok());

  db = MustOpen(path, Options(settings, kFanIn));
  status = db.GetStatus();
  const auto before = static_cast<double>(status.segment_file_bytes);
  TALLY_CHECK(db.Compact({}).ok());
  status = db.GetStatus();
  TALLY_CHECK(status.segment_rows == settings.events);
  const auto events = static_cast<double>(settings.events);
  report.Add("bytes an event before everything is merged", before / events, "bytes");
  report.Add("bytes an event when everything is merged",
             static_cast<double>(status.segment_file_bytes) / events, "bytes",
             fmt::format("{} segments", status.segments));
  TALLY_CHECK(db.Close().ok());
  if (!settings.keep) fs::remove_all(path);
}

// The same load twice; only once there is something to merge all the time.
void Commits(const Settings& settings, const std::string& path, Report& report) {
  const auto events = static_cast<uint64_t>(settings.paced_rate * settings.paced_seconds);
  for (const bool merging : {false, true}) {
    fs::remove_all(path);
    MonthOfEvents source(events + settings.events);
    Settings load = settings;
    OpenOptions options = Options(load, 0);
    {
      Db db = MustOpen(path, options);
      Sent sent;
      Send(db, source, events, events + settings.events, 0, &sent);
      TALLY_CHECK(db.Close().ok());
    }
    options.background_bytes_per_second = OpenOptions().background_bytes_per_second;
    options.compaction_fan_in = merging ? kFanIn : 0;
    Db db = MustOpen(path, options);
    Sent sent;
    const double steal = StealSeconds();
    Send(db, source, 0, events, settings.paced_rate, &sent);
    const DbStatus status = db.GetStatus();
    const Percentiles percentiles = PercentilesOf(sent.micros);
    report.Add(
        fmt::format("commit p99 at {:.0f} events/s, {} merging", settings.paced_rate,
                    merging ? "with" : "without"),
        percentiles.p99 / 1e3, "ms",
        fmt::format("p50 {:.2f}, p99.9 {:.2f}, max {:.2f} ms, {} refusals, {} flushes, {} "
                    "rows merged, steal {:.2f} s",
                    percentiles.p50 / 1e3, percentiles.p999 / 1e3, percentiles.max / 1e3,
                    sent.refused, status.flushes, status.compaction_rows, StealSeconds() - steal));
    TALLY_CHECK(db.Close().ok());
  }
  if (!settings.keep) fs::remove_all(path);
}

int Main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    auto value = [&] { return std::string(i + 1 < argc ? argv[++i] : ""); };
    if (option == "--smoke") {
      settings.events = 600'000;
      settings.memtable_rows = 65'536;
      settings.paced_seconds = 0.2;
      settings.dir = "build/bench-smoke";
    } else if (option == "--events") {
      settings.events = std::strtoull(value().c_str(), nullptr, 10) / kBatch * kBatch;
    } else if (option == "--paced-seconds") {
      settings.paced_seconds = std::strtod(value().c_str(), nullptr);
    } else if (option == "--dir") {
      settings.dir = value();
    } else if (option == "--one-merge") {
      settings.one_merge = true;
    } else if (option == "--keep") {
      settings.keep = true;
    } else {
      fmt::print(stderr,
                 "usage: compaction_bench [--smoke] [--events N] [--paced-seconds S] "
                 "[--one-merge] [--dir DIR] [--keep]\n");
      return 2;
    }
  }
  fs::create_directories(settings.dir);
  const std::string path = settings.dir + "/compaction";
  const double steal = StealSeconds();
  Report report;
  OneMerge(settings, path, report);
  if (settings.one_merge) return 0;
  AllAlong(settings, path, report);
  Commits(settings, path, report);
  report.Add("steal during the run", StealSeconds() - steal, "s");
  fmt::print("{}\n", report.Json());
  return 0;
}

}  // namespace
}  // namespace tallystick::bench

int main(int argc, char** argv) { return tallystick::bench::Main(argc, argv); }
