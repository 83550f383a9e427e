// What the kept events cost: disk, memory, start, and the answer to "was this counted?", beside
// SQLite's WITHOUT ROWID unique key in the same run.
//
//   dedupe_bench [--smoke] [--events N] [--runs N] [--sqlite-events N] [--dir DIR] [--keep]
//
// Events of the shape of bench_util.h, loaded by the embedded library through the flusher, with
// memtables of N / runs rows. Everything is on one thread but for the engine's own.
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "base/check.h"
#include "bench/bench_util.h"
#include "dedupe/sidecar_reader.h"
#include "env/env.h"
#include "model/identity.h"
#include "tallystick/db.h"

namespace tallystick::bench {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBatch = 1000;

struct Settings {
  uint64_t events = 10'000'000;
  uint64_t runs = 18;
  uint64_t sqlite_events = 1'000'000;
  uint64_t paced_events = 2'000'000;
  double paced_rate = 200'000;  // events a second
  std::string dir = "build/bench-data";
  bool keep = false;
};

OpenOptions LoadOptions(const Settings& settings) {
  OpenOptions options;
  const uint64_t rows =
      std::max<uint64_t>(settings.events / settings.runs, options.batch_events_max);
  options.memtable_rows_max = static_cast<uint32_t>(rows);
  // A row's record is some 190 bytes.
  options.wal_file_bytes =
      std::clamp<uint64_t>((rows * 215 + (1 << 20)) / 4096 * 4096, 32 << 20, 1 << 30);
  options.background_bytes_per_second = 0;
  options.memtables_max = options.key_tables_max = 2;
  options.flush_on_close_ms_max = 600'000;  // the last rows are to have their sidecar too
  return options;
}

// Makes one batch and sends it until it is taken; how many of its events were accepted.
uint64_t IngestBatch(Db& db, EventSource& source, uint64_t from, uint64_t to, uint64_t* refused) {
  while (true) {
    Batch batch = db.NewBatch();
    for (uint64_t k = from; k < to; ++k) batch.Add(source.View(k));
    auto result = db.Ingest(std::move(batch));
    if (result.ok()) return result->accepted;
    TALLY_CHECK(result.status().code() == StatusCode::kUnavailable);
    ++*refused;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

uint64_t Ingest(Db& db, uint64_t from, uint64_t to, uint64_t* refused) {
  EventSource source;
  uint64_t accepted = 0;
  for (uint64_t i = from; i < to; i += kBatch) {
    accepted += IngestBatch(db, source, i, std::min(i + kBatch, to), refused);
  }
  return accepted;
}

uint64_t BytesWithSuffix(const std::string& dir, const std::string& suffix) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(dir)) {
    if (entry.path().string().ends_with(suffix)) bytes += entry.file_size();
  }
  return bytes;
}

void DropPageCache(const std::string& dir) {
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    const int fd = open(entry.path().c_str(), O_RDONLY);
    if (fd < 0) continue;
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}

uint64_t BytesReadByProcess() {
  std::ifstream in("/proc/self/io");
  std::string name;
  uint64_t value = 0;
  while (in >> name >> value) {
    if (name == "read_bytes:") return value;
  }
  return 0;
}

void Load(const Settings& settings, const std::string& path, Report& report) {
  Db db = Db::Open(path, LoadOptions(settings)).value();
  uint64_t refused = 0;
  const double start = NowSeconds();
  TALLY_CHECK(Ingest(db, 0, settings.events, &refused) == settings.events);
  const double seconds = NowSeconds() - start;
  TALLY_CHECK(db.Close().ok());
  report.Add("load through the flusher", static_cast<double>(settings.events) / seconds, "events/s",
             fmt::format("{} refusals sent again", refused));
  const std::string segments = path + "/segments";
  const auto events = static_cast<double>(settings.events);
  report.Add("rows on disk", static_cast<double>(BytesWithSuffix(segments, ".seg")) / events,
             "bytes/event");
  report.Add("sidecars on disk", static_cast<double>(BytesWithSuffix(segments, ".idx")) / events,
             "bytes/event", "goal 31");
}

// The sidecars of all segments, as the prober has them.
std::vector<std::unique_ptr<SidecarReader>> OpenSidecars(const std::string& path) {
  std::vector<std::unique_ptr<SidecarReader>> runs;
  FileSystem& files = Env::Real().fs();
  for (const auto& entry : fs::directory_iterator(path + "/segments")) {
    const std::string file = entry.path();
    if (!file.ends_with(".idx")) continue;
    const SidecarBinding binding = SidecarReader::ReadBinding(files, file).value();
    runs.push_back(SidecarReader::Open(files, file, binding).value());
    TALLY_CHECK(runs.back()->LoadFilter(nullptr).ok());
  }
  return runs;
}

// Keys of events from..to, hashed beforehand: the figure is the probe's alone.
uint64_t Probe(const std::vector<std::unique_ptr<SidecarReader>>& runs, uint64_t from, uint64_t to,
               double* seconds) {
  std::vector<EventHash> keys(kBatch);
  std::vector<uint32_t> candidates;
  std::vector<std::optional<SidecarReader::Found>> found;
  uint64_t known = 0;
  for (uint64_t i = from; i < to; i += kBatch) {
    char id[EventSource::kIdBytes];
    for (uint64_t k = 0; k < kBatch; ++k) {
      EventSource::WriteId(i + k, id);
      keys[k] = IdHash(IdentityScope::kGlobal, "", {id, sizeof id});
    }
    const double start = NowSeconds();
    for (const auto& run : runs) {
      candidates.clear();
      run->Filter(keys, &candidates);
      if (candidates.empty()) continue;
      found.assign(candidates.size(), std::nullopt);
      TALLY_CHECK(run->Find(keys, candidates, found).ok());
      for (const auto& one : found) known += one.has_value() ? 1 : 0;
    }
    *seconds += NowSeconds() - start;
  }
  return known;
}

// Known ids in no order of time: every `step`-th event from a different start each time.
uint64_t ProbeKnown(const std::vector<std::unique_ptr<SidecarReader>>& runs,
                    const Settings& settings, uint64_t count, double* seconds) {
  uint64_t known = 0;
  for (uint64_t done = 0; done < count; done += kBatch) {
    const uint64_t from = (done * 7919) % (settings.events - kBatch);
    known += Probe(runs, from, from + kBatch, seconds);
  }
  return known;
}

void ProbeSidecars(const Settings& settings, const std::string& path, Report& report) {
  const auto runs = OpenSidecars(path);
  uint64_t memory = 0;
  for (const auto& run : runs) memory += run->memory_bytes();
  const std::string note = fmt::format("{} runs, one core", runs.size());
  report.Add("filters and directories in memory",
             static_cast<double>(memory) / static_cast<double>(settings.events), "bytes/event",
             "goal 2.1");
  const uint64_t count = std::min<uint64_t>(settings.events, 2'000'000);
  double seconds = 0;
  TALLY_CHECK(Probe(runs, settings.events, settings.events + count, &seconds) == 0);
  report.Add("new ids against all runs", static_cast<double>(count) / seconds, "ids/s",
             note + ", goal 3 M");
  const uint64_t known = std::min<uint64_t>(settings.events / 2, 500'000) / kBatch * kBatch;
  double warm = 0, cold = 0;
  TALLY_CHECK(ProbeKnown(runs, settings, known, &warm) == known);
  warm = 0;
  TALLY_CHECK(ProbeKnown(runs, settings, known, &warm) == known);
  report.Add("known ids, warm", static_cast<double>(known) / warm, "ids/s", note + ", goal 0.5 M");
  DropPageCache(path);
  const uint64_t few = std::min<uint64_t>(known, 100'000);
  TALLY_CHECK(ProbeKnown(runs, settings, few, &cold) == few);
  report.Add("known ids, page cache dropped", static_cast<double>(few) / cold, "ids/s",
             note + ", goal 0.1 M");
}

void OpenAndLookUp(const Settings& settings, const std::string& path, Report& report) {
  DropPageCache(path);
  const uint64_t read_before = BytesReadByProcess();
  const uint64_t memory_before = ResidentBytesOfProcess(getpid());
  const double start = NowSeconds();
  Db db = Db::Open(path, {}).value();
  uint64_t refused = 0;
  TALLY_CHECK(Ingest(db, settings.events, settings.events + 1, &refused) == 1);
  report.Add("cold open to the first acknowledged event", (NowSeconds() - start) * 1e3, "ms",
             "after a clean stop, goal 250");
  report.Add("read for that", static_cast<double>(BytesReadByProcess() - read_before) / 1e6, "MB");
  report.Add("resident memory more",
             static_cast<double>(ResidentBytesOfProcess(getpid()) - memory_before) / 1e6, "MB");
  while (db.GetStatus().filters_loaded < db.GetStatus().segments) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::vector<double> micros;
  for (int round = 0; round < 2; ++round) {
    micros.clear();
    for (uint64_t i = 0; i < std::min<uint64_t>(settings.events, 50'000); ++i) {
      char id[EventSource::kIdBytes];
      EventSource::WriteId((i % 5000) * 7919 % settings.events, id);
      const double began = NowSeconds();
      TALLY_CHECK(db.GetEvent({id, sizeof id}).ok());
      micros.push_back((NowSeconds() - began) * 1e6);
    }
  }
  const Percentiles lookup = PercentilesOf(micros);
  report.Add("one event by id, warm, p50", lookup.p50, "us", "goal 50");
  report.Add("one event by id, warm, p99", lookup.p99, "us");
  const double replay = NowSeconds();
  const uint64_t count = std::min<uint64_t>(settings.events, 500'000);
  TALLY_CHECK(Ingest(db, 0, count, &refused) == 0);
  report.Add("resend of known events, embedded, end to end",
             static_cast<double>(count) / (NowSeconds() - replay), "events/s");
  const double fresh = NowSeconds();
  const uint64_t first = settings.events + 10;
  TALLY_CHECK(Ingest(db, first, first + count, &refused) == count);
  report.Add("new events against all runs, embedded, end to end",
             static_cast<double>(count) / (NowSeconds() - fresh), "events/s",
             fmt::format("{} refusals sent again", refused));
  TALLY_CHECK(db.Close().ok());
}

// One client at a steady pace, batches of 1,000, its latency (making the batch included) with
// flushes one after another and without any.
Percentiles PacedLatency(const Settings& settings, bool flush, uint64_t* flushes,
                         uint64_t* refused) {
  const std::string path = settings.dir + "/paced";
  fs::remove_all(path);
  OpenOptions options;
  if (flush) {
    options.memtable_rows_max = 70'000;
  } else {
    options.wal_file_bytes = 1 << 30;
    options.memtable_rows_max = 5'000'000;
  }
  Db db = Db::Open(path, options).value();
  std::this_thread::sleep_for(std::chrono::seconds(1));  // the large spare is being prepared
  EventSource source;
  std::vector<double> millis;
  const double start = NowSeconds();
  for (uint64_t i = 0; i < settings.paced_events; i += kBatch) {
    const double due = start + static_cast<double>(i) / settings.paced_rate;
    if (const double left = due - NowSeconds(); left > 0) {
      std::this_thread::sleep_for(std::chrono::duration<double>(left));
    }
    const double sent = NowSeconds();
    IngestBatch(db, source, i, i + kBatch, refused);
    millis.push_back((NowSeconds() - sent) * 1e3);
  }
  *flushes = db.GetStatus().flushes;
  TALLY_CHECK(db.Close().ok());
  fs::remove_all(path);
  return PercentilesOf(millis);
}

void LatencyUnderFlush(const Settings& settings, Report& report) {
  for (const bool flush : {false, true}) {
    uint64_t flushes = 0, refused = 0;
    const Percentiles latency = PacedLatency(settings, flush, &flushes, &refused);
    const std::string note =
        fmt::format("{} events/s in batches of 1,000, {} flushes, {} refusals sent again",
                    settings.paced_rate, flushes, refused);
    const std::string name = flush ? "commit under flush, " : "commit without flush, ";
    report.Add(name + "p50", latency.p50, "ms", note);
    report.Add(name + "p99", latency.p99, "ms", note);
    report.Add(name + "p99.9", latency.p999, "ms", note);
  }
}

void Exec(sqlite3* db, const char* sql) {
  TALLY_CHECK(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
}

// The unique key alone, no other column: the least that SQLite could do.
void SqliteKey(const Settings& settings, Report& report) {
  const std::string path = settings.dir + "/sqlite-key";
  fs::remove_all(path);
  fs::create_directories(path);
  sqlite3* db = nullptr;
  TALLY_CHECK(sqlite3_open((path + "/db").c_str(), &db) == SQLITE_OK);
  Exec(db, "PRAGMA journal_mode=WAL");
  Exec(db, "PRAGMA synchronous=FULL");
  Exec(db, "CREATE TABLE keys(event_id TEXT PRIMARY KEY) WITHOUT ROWID");
  sqlite3_stmt* insert = nullptr;
  TALLY_CHECK(sqlite3_prepare_v2(db, "INSERT OR IGNORE INTO keys VALUES(?)", -1, &insert,
                                 nullptr) == SQLITE_OK);
  char id[EventSource::kIdBytes];
  auto run = [&](uint64_t from, uint64_t to) {
    const double start = NowSeconds();
    for (uint64_t i = from; i < to; i += kBatch) {
      Exec(db, "BEGIN");
      for (uint64_t k = i; k < i + kBatch; ++k) {
        EventSource::WriteId(k, id);
        sqlite3_bind_text(insert, 1, id, sizeof id, SQLITE_STATIC);
        TALLY_CHECK(sqlite3_step(insert) == SQLITE_DONE);
        sqlite3_reset(insert);
      }
      Exec(db, "COMMIT");
    }
    return static_cast<double>(to - from) / (NowSeconds() - start);
  };
  const std::string note =
      fmt::format("{} keys, text primary key WITHOUT ROWID", settings.sqlite_events);
  report.Add("SQLite: new ids", run(0, settings.sqlite_events), "ids/s", note);
  report.Add("SQLite: known ids", run(0, std::min<uint64_t>(settings.sqlite_events, 500'000)),
             "ids/s", note);
  sqlite3_finalize(insert);
  sqlite3_close(db);
  fs::remove_all(path);
}

int Main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    auto value = [&] { return std::string(i + 1 < argc ? argv[++i] : ""); };
    if (option == "--smoke") {
      settings.events = 20'000;
      settings.sqlite_events = 2000;
      settings.paced_events = 5000;
      settings.dir = "build/bench-smoke";
    } else if (option == "--events") {
      settings.events = std::strtoull(value().c_str(), nullptr, 10) / kBatch * kBatch;
    } else if (option == "--runs") {
      settings.runs = std::strtoull(value().c_str(), nullptr, 10);
    } else if (option == "--sqlite-events") {
      settings.sqlite_events = std::strtoull(value().c_str(), nullptr, 10) / kBatch * kBatch;
    } else if (option == "--dir") {
      settings.dir = value();
    } else if (option == "--keep") {
      settings.keep = true;
    } else {
      fmt::print(stderr,
                 "usage: dedupe_bench [--smoke] [--events N] [--runs N] [--sqlite-events N] "
                 "[--dir DIR] [--keep]\n");
      return 2;
    }
  }
  if (settings.events < 2 * kBatch || settings.runs == 0) return 2;
  Report report;
  const std::string path = settings.dir + "/dedupe";
  fs::remove_all(path);
  fs::create_directories(settings.dir);
  const double steal = StealSeconds();
  Load(settings, path, report);
  ProbeSidecars(settings, path, report);
  OpenAndLookUp(settings, path, report);
  LatencyUnderFlush(settings, report);
  SqliteKey(settings, report);
  report.Add("steal during the run", StealSeconds() - steal, "s");
  fmt::print("{}\n", report.Json());
  if (!settings.keep) fs::remove_all(path);
  return 0;
}

}  // namespace
}  // namespace tallystick::bench

int main(int argc, char** argv) { return tallystick::bench::Main(argc, argv); }
