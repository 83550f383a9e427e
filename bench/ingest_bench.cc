// Ingest beside SQLite, in one run: `ingest_bench [--smoke] [--seconds S] [--server PROGRAM] [--dir
// DIR]`.
//
// SQLite: C API, WAL, synchronous=full, event_id as primary key WITHOUT ROWID, batches of 1,000 in
// one transaction. Tallystick: the same events, strict, embedded and over HTTP on loopback (the
// load generator runs on the same machine). Afterwards the server's bill is compared with what was
// sent: a figure counts only if nothing was lost.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "base/check.h"
#include "bench/bench_util.h"
#include "bench/http_load.h"
#include "tallystick/db.h"

namespace tallystick::bench {
namespace {

struct Settings {
  double seconds = 5;
  uint64_t sqlite_events = 300'000;
  uint64_t burst_events = 300'000;
  uint64_t sustained_events = 3'000'000;
  std::string server;  // empty: no HTTP
  std::string dir = "build/bench-data";
};

std::string FreshDir(const Settings& settings, const std::string& name) {
  const std::string path = settings.dir + "/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(settings.dir);
  return path;
}

// --- SQLite ---

void Exec(sqlite3* db, const char* sql) {
  char* error = nullptr;
  if (sqlite3_exec(db, sql, nullptr, nullptr, &error) != SQLITE_OK) {
    fmt::print(stderr, "sqlite: {}: {}\n", sql, error == nullptr ? "?" : error);
    std::exit(1);
  }
}

double SqliteRate(const Settings& settings) {
  const std::string path = FreshDir(settings, "sqlite");
  std::filesystem::create_directories(path);
  sqlite3* db = nullptr;
  TALLY_CHECK(sqlite3_open((path + "/db").c_str(), &db) == SQLITE_OK);
  Exec(db, "PRAGMA journal_mode=WAL");
  Exec(db, "PRAGMA synchronous=FULL");
  Exec(db,
       "CREATE TABLE usage(event_id TEXT PRIMARY KEY, account_id TEXT, product_id TEXT, meter_id "
       "TEXT,"
       " model_id TEXT, ts INTEGER, quantity INTEGER, unit TEXT, source TEXT, dims TEXT) WITHOUT "
       "ROWID");
  sqlite3_stmt* insert = nullptr;
  TALLY_CHECK(sqlite3_prepare_v2(db, "INSERT OR IGNORE INTO usage VALUES(?,?,?,?,?,?,?,?,?,?)", -1,
                                 &insert, nullptr) == SQLITE_OK);
  EventSource source;
  auto text = [&](int at, std::string_view value) {
    sqlite3_bind_text(insert, at, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
  };
  const double start = NowSeconds();
  for (uint64_t i = 0; i < settings.sqlite_events; i += 1000) {
    Exec(db, "BEGIN");
    for (uint64_t k = i; k < i + 1000; ++k) {
      const EventView& event = source.View(k);
      text(1, event.event_id);
      text(2, event.account_id);
      text(3, event.product_id);
      text(4, event.meter_id);
      text(5, *event.model_id);
      sqlite3_bind_int64(insert, 6, event.timestamp_ms);
      sqlite3_bind_int64(insert, 7, static_cast<int64_t>(event.quantity.mantissa));
      text(8, event.unit);
      text(9, event.source);
      text(10, R"({"region":"eu-west"})");
      TALLY_CHECK(sqlite3_step(insert) == SQLITE_DONE);
      sqlite3_reset(insert);
    }
    Exec(db, "COMMIT");
  }
  const double rate = static_cast<double>(settings.sqlite_events) / (NowSeconds() - start);
  sqlite3_finalize(insert);
  sqlite3_close(db);
  std::filesystem::remove_all(path);
  return rate;
}

// --- embedded ---

Db OpenOrDie(const std::string& path, const OpenOptions& options) {
  auto db = Db::Open(path, options);
  if (!db.ok()) {
    fmt::print(stderr, "open {}: {}\n", path, db.status().ToString());
    std::exit(1);
  }
  return std::move(db).value();
}

Batch MakeBatch(const Db& db, EventSource& source, uint64_t first, uint64_t count) {
  Batch batch = db.NewBatch();
  for (uint64_t k = first; k < first + count; ++k) batch.Add(source.View(k));
  return batch;
}

// The sum of the quantities of events 0..n-1, to be found again in the bill.
std::string ExpectedTotal(uint64_t n) {
  EventSource source;
  int128 sum = 0;
  for (uint64_t i = 0; i < n; ++i) sum += source.View(i).quantity.mantissa;
  return Quantity::FromInteger(sum).ToString();
}

void CheckTotal(const Db& db, uint64_t events) {
  auto total = db.Aggregate({.from_ms = 0, .to_ms = INT64_MAX});
  TALLY_CHECK(total.ok());
  TALLY_CHECK(total->lines[0].count == events);
  TALLY_CHECK(total->lines[0].quantity == ExpectedTotal(events));
}

// Eight batches in flight, so that parsing and committing overlap as they do in a server.
double EmbeddedRate(const Settings& settings, uint64_t events, Report& report, const char* name) {
  const std::string path = FreshDir(settings, "embedded");
  OpenOptions options;
  options.flush_on_close_ms_max = 0;  // so that the next start has something to replay
  Db db = OpenOrDie(path, options);
  EventSource source;
  std::atomic<int> in_flight = 0;
  std::mutex mutex;
  std::vector<double> latency;
  std::vector<uint64_t> again;  // first events of refused batches
  uint64_t refused = 0;
  latency.reserve(events / 1000 + 1);
  const double start = NowSeconds();
  auto send = [&](uint64_t first) {
    Batch batch = MakeBatch(db, source, first, std::min<uint64_t>(1000, events - first));
    for (int now = in_flight.load(); now >= 8; now = in_flight.load()) in_flight.wait(now);
    ++in_flight;
    const double sent = NowSeconds();
    db.IngestAsync(std::move(batch), [&, first, sent](Result<IngestResult> result) {
      {
        std::lock_guard lock(mutex);
        if (result.ok()) {
          TALLY_CHECK(result->rejected + result->duplicates + result->conflicts == 0);
          latency.push_back(NowSeconds() - sent);
        } else {
          TALLY_CHECK(result.status().code() == StatusCode::kUnavailable);
          again.push_back(first);
        }
      }
      --in_flight;
      in_flight.notify_one();
    });
  };
  auto send_again = [&] {
    std::vector<uint64_t> due;
    {
      std::lock_guard lock(mutex);
      due.swap(again);
    }
    if (due.empty()) return false;
    refused += due.size();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (const uint64_t first : due) send(first);
    return true;
  };
  for (uint64_t i = 0; i < events; i += 1000) {
    send(i);
    send_again();
  }
  do {
    for (int now = in_flight.load(); now > 0; now = in_flight.load()) in_flight.wait(now);
  } while (send_again());
  const double seconds = NowSeconds() - start;
  CheckTotal(db, events);
  const double rate = static_cast<double>(events) / seconds;
  const Percentiles p = PercentilesOf(latency);
  const DbStatus status = db.GetStatus();
  report.Add(name, rate, "events/s",
             fmt::format(
                 "batch p50 {:.2f} ms p99 {:.2f} ms, {} frames, {} flushes, {} refusals sent again",
                 p.p50 * 1e3, p.p99 * 1e3, status.frames_written, status.flushes, refused));
  TALLY_CHECK(db.Close().ok());
  return rate;
}

void ReplayRate(const Settings& settings, Report& report) {
  const double start = NowSeconds();
  Db db = OpenOrDie(settings.dir + "/embedded", {});
  const double seconds = NowSeconds() - start;
  const DbStatus status = db.GetStatus();
  report.Add("start: replay of the log", static_cast<double>(status.recovery_rows) / seconds,
             "events/s", fmt::format("{} rows in {:.2f} s", status.recovery_rows, seconds));
  CheckTotal(db, status.lsn.value);
}

// --- HTTP ---

class ServerProcess {
 public:
  ServerProcess(const Settings& settings, const std::string& data) {
    int out[2];
    TALLY_CHECK(pipe(out) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], 1);
      const int quiet = open("/dev/null", O_WRONLY);
      dup2(quiet, 2);
      close(out[0]);
      execl(settings.server.c_str(), "tallystick", "serve", "--data", data.c_str(), "--listen",
            "127.0.0.1:0", static_cast<char*>(nullptr));
      _exit(127);
    }
    close(out[1]);
    std::string line;
    char c;
    while (read(out[0], &c, 1) == 1 && c != '\n') line += c;
    const size_t colon = line.rfind(':');
    if (line.find("listening on") == std::string::npos || colon == std::string::npos) {
      fmt::print(stderr, "the server did not start: '{}'\n", line);
      std::exit(1);
    }
    port_ = static_cast<uint16_t>(std::atoi(line.c_str() + colon + 1));
  }
  ~ServerProcess() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  uint16_t port() const { return port_; }
  int pid() const { return pid_; }

 private:
  int pid_ = -1;
  uint16_t port_ = 0;
};

struct Shape {
  const char* name;
  int connections;
  int events;
};

double HttpShape(const Settings& settings, const Shape& shape, Report& report, double against) {
  const std::string data = FreshDir(settings, "http");
  ServerProcess server(settings, data);
  LoadSpec spec{.port = server.port(),
                .connections = shape.connections,
                .events_per_request = shape.events,
                .seconds = settings.seconds};
  auto run = [&](const std::string& name, double rate) {
    spec.requests_per_second = rate;
    const double cpu = CpuSecondsOfProcess(server.pid()), steal = StealSeconds();
    LoadResult load = RunLoad(spec);
    spec.first_event = load.next_event;
    if (!load.fault.empty()) {
      fmt::print(stderr, "{}: {}\n", name, load.fault);
      std::exit(1);
    }
    const Percentiles p = PercentilesOf(load.latency_s);
    const double events_per_s = static_cast<double>(load.events) / load.seconds;
    report.Add(name, events_per_s, "events/s",
               fmt::format("p50 {:.2f} p99 {:.2f} p99.9 {:.2f} ms, server {:.2f} us CPU an event, "
                           "steal {:.2f} s, {:.2f} x SQLite, {} refusals sent again",
                           p.p50 * 1e3, p.p99 * 1e3, p.p999 * 1e3,
                           (CpuSecondsOfProcess(server.pid()) - cpu) /
                               static_cast<double>(load.events) * 1e6,
                           StealSeconds() - steal, events_per_s / against, load.refused));
    return static_cast<double>(load.requests) / load.seconds;
  };
  const double requests_per_s = run(shape.name, 0);
  run(std::string(shape.name) + ", half load", requests_per_s / 2);
  return requests_per_s;
}

int Main(int argc, char** argv) {
  Settings settings;
  bool smoke = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--smoke") {
      smoke = true;
      settings.seconds = 0.2;
      settings.sqlite_events = settings.burst_events = settings.sustained_events = 2000;
    } else if (i + 1 < argc && flag == "--seconds") {
      settings.seconds = std::atof(argv[++i]);
    } else if (i + 1 < argc && flag == "--server") {
      settings.server = argv[++i];
    } else if (i + 1 < argc && flag == "--dir") {
      settings.dir = argv[++i];
    } else if (i + 1 < argc && flag == "--events") {
      settings.sustained_events = std::strtoull(argv[++i], nullptr, 10);
    } else {
      fmt::print(stderr,
                 "usage: ingest_bench [--smoke] [--seconds S] [--events N] [--server PROGRAM] "
                 "[--dir DIR]\n");
      return 2;
    }
  }
  settings.dir += "/ingest";  // is removed in the end
  Report report;
  const double sqlite = SqliteRate(settings);
  report.Add("SQLite in process, batches of 1000", sqlite, "events/s",
             "WAL, synchronous=full, WITHOUT ROWID");
  EmbeddedRate(settings, settings.burst_events, report, "embedded, batches of 1000, one memtable");
  EmbeddedRate(settings, settings.sustained_events, report, "embedded, batches of 1000, sustained");
  ReplayRate(settings, report);
  if (!settings.server.empty()) {
    for (const Shape& shape : {Shape{"HTTP 1 x 1000", 1, 1000}, Shape{"HTTP 4 x 1000", 4, 1000},
                               Shape{"HTTP 8 x 1000", 8, 1000}, Shape{"HTTP 32 x 1", 32, 1}}) {
      HttpShape(settings, shape, report, sqlite);
    }
  }
  std::filesystem::remove_all(settings.dir);
  fmt::print("result hash {}\n{}\n", ExpectedTotal(smoke ? 2000 : 100'000), report.Json());
  return 0;
}

}  // namespace
}  // namespace tallystick::bench

int main(int argc, char** argv) { return tallystick::bench::Main(argc, argv); }
