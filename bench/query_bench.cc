// Reading: an account's month, everybody's month, a filter over all rows, a page of events; beside
// SQLite in this process and, where there is one, DuckDB. The answers of all sides must be equal.
//
//   query_bench [--smoke] [--events N] [--duckdb PYTHON] [--dir DIR] [--keep]
//
// A month of events in the order of time: UUID-like ids, 10,000 accounts with Zipf weights, two
// meters, four models, one dimension of five values, quantities from 1 to 5,000. PYTHON is an
// interpreter that has the module duckdb; bench/duckdb_query.py is found from the root of the tree.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
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
constexpr uint64_t kEventsMax = 100'000'000;
constexpr uint64_t kSegmentRows = 5'000'000;
constexpr uint64_t kCacheBytes = 4ull << 30;  // of ours and of SQLite's: everything is to be warm
constexpr size_t kRunsMin = 3, kRunsMax = 1000;
constexpr uint32_t kPageEvents = 100;
constexpr uint32_t kPageRank = 10;
constexpr uint32_t kPacedRank = 100;
constexpr uint32_t kRanks[] = {1, 10, 100, 1000, 5000};

constexpr std::string_view kRegion = "eu-west";  // the one that is filtered for

struct Settings {
  uint64_t events = 5'000'000;
  double seconds = 1;           // that a question is repeated for
  double paced_seconds = 10;    // of ingest beside a question
  double paced_rate = 200'000;  // events a second
  std::string duckdb;           // a Python that has it; empty: left out
  std::string dir = "build/bench-data";
  bool keep = false;
};

// --- questions and measurements ---

// What is asked, of all sides. Answers are text: columns joined by |, rows by ;.
struct Question {
  std::string name;
  std::string sql;  // of SQLite and DuckDB alike
  std::function<Result<std::string>(const Db&, ReadPath)> ask;
  bool all_rows = false;  // rows a second say something
  bool by_path = true;    // kAuto and kRows are two ways
};

struct Measured {
  double p50_us = 0;
  size_t runs = 0;
  std::string answer;
};

Measured Measure(double seconds, const std::function<std::string()>& run) {
  Measured out;
  out.answer = run();  // warm
  std::vector<double> micros;
  const double start = NowSeconds();
  while (micros.size() < kRunsMin || (micros.size() < kRunsMax && NowSeconds() - start < seconds)) {
    const double began = NowSeconds();
    std::string answer = run();
    micros.push_back((NowSeconds() - began) * 1e6);
    TALLY_CHECK(answer == out.answer);
  }
  out.runs = micros.size();
  out.p50_us = PercentilesOf(micros).p50;
  return out;
}

// What the queries needed at most, of all that were asked.
uint64_t largest_memory_bytes = 0;

Result<std::string> AskUsage(const Db& db, UsageQuery query, ReadPath path) {
  query.from_ms = kStartMs;
  query.to_ms = kStartMs + kMonthMs;
  query.path = path;
  auto result = db.Aggregate(query);
  if (!result.ok()) return result.status();
  largest_memory_bytes = std::max(largest_memory_bytes, result->memory_bytes);
  std::string out;
  for (const UsageLine& line : result->lines) {
    if (!out.empty()) out += ';';
    fmt::format_to(std::back_inserter(out), "{}|{}|{}", fmt::join(line.keys, "|"), line.quantity,
                   line.count);
  }
  return out;
}

Result<std::string> AskPage(const Db& db, const std::string& account) {
  EventsQuery query;
  query.account_id = account;
  query.from_ms = kStartMs;
  query.to_ms = kStartMs + kMonthMs;
  auto events = db.ListEvents(query);
  if (!events.ok()) return events.status();
  std::string out;
  for (uint32_t i = 0; i < kPageEvents; ++i) {
    const auto event = events->Next();
    if (!event.ok()) return event.status();
    if (!*event) break;
    if (!out.empty()) out += ';';
    fmt::format_to(std::back_inserter(out), "{}|{}", (*event)->event_id, (*event)->timestamp_ms);
  }
  return out;
}

UsageQuery AccountMonth(uint32_t rank) {
  UsageQuery query;
  query.account_id = AccountOfRank(rank);
  query.group_by = {Field::Parse("meter_id")};
  return query;
}

std::vector<Question> Questions() {
  const std::string month =
      fmt::format("timestamp_ms >= {} AND timestamp_ms < {}", kStartMs, kStartMs + kMonthMs);
  std::vector<Question> questions;
  for (const uint32_t rank : kRanks) {
    questions.push_back(
        {.name = fmt::format("account of rank {}, month by meter", rank),
         .sql = fmt::format("SELECT meter_id, SUM(quantity), COUNT(*) FROM events WHERE "
                            "account_id = '{}' AND {} GROUP BY meter_id ORDER BY meter_id",
                            AccountOfRank(rank), month),
         .ask = [rank](const Db& db, ReadPath path) {
           return AskUsage(db, AccountMonth(rank), path);
         }});
  }
  questions.push_back(
      {.name = "all accounts, month by meter and model",
       .sql = fmt::format("SELECT meter_id, model_id, SUM(quantity), COUNT(*) FROM events WHERE {} "
                          "GROUP BY meter_id, model_id ORDER BY meter_id, model_id",
                          month),
       .ask =
           [](const Db& db, ReadPath path) {
             UsageQuery query;
             query.group_by = {Field::Parse("meter_id"), Field::Parse("model_id")};
             return AskUsage(db, query, path);
           },
       .all_rows = true});
  questions.push_back(
      {.name = "one region, month by meter",
       .sql = fmt::format("SELECT meter_id, SUM(quantity), COUNT(*) FROM events WHERE {} AND "
                          "region = '{}' GROUP BY meter_id ORDER BY meter_id",
                          month, kRegion),
       .ask =
           [](const Db& db, ReadPath path) {
             UsageQuery query;
             query.group_by = {Field::Parse("meter_id")};
             query.filters = {{Field::Parse("dimensions.region"), {std::string(kRegion)}}};
             return AskUsage(db, query, path);
           },
       .all_rows = true});
  questions.push_back(
      {.name = fmt::format("{} events of the account of rank {}", kPageEvents, kPageRank),
       .sql = fmt::format("SELECT event_id, timestamp_ms FROM events WHERE account_id = '{}' AND "
                          "{} ORDER BY timestamp_ms LIMIT {}",
                          AccountOfRank(kPageRank), month, kPageEvents),
       .ask = [](const Db& db, ReadPath) { return AskPage(db, AccountOfRank(kPageRank)); },
       .by_path = false});
  return questions;
}

// --- the sides ---

// Makes one batch and sends it until it is taken.
void IngestBatch(Db& db, MonthOfEvents& source, uint64_t from, uint64_t to, uint64_t* refused) {
  while (true) {
    Batch batch = db.NewBatch();
    for (uint64_t i = from; i < to; ++i) batch.Add(source.View(i));
    const auto result = db.Ingest(std::move(batch));
    if (result.ok()) {
      TALLY_CHECK(result->accepted == to - from);
      return;
    }
    TALLY_CHECK(result.status().code() == StatusCode::kUnavailable);
    ++*refused;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

OpenOptions LoadOptions(const Settings& settings) {
  OpenOptions options;
  const uint64_t rows =
      std::clamp<uint64_t>(settings.events, options.batch_events_max, kSegmentRows);
  options.memtable_rows_max = static_cast<uint32_t>(rows);
  // A row's record is some 190 bytes.
  options.wal_file_bytes =
      std::clamp<uint64_t>((rows * 215 + (1 << 20)) / 4096 * 4096, 32 << 20, 1 << 30);
  options.background_bytes_per_second = 0;
  options.memtables_max = options.key_tables_max = 2;
  options.flush_on_close_ms_max = 3'600'000;  // all rows are to be in segments
  return options;
}

void Load(const Settings& settings, const std::string& path, Report& report) {
  Db db = Db::Open(path, LoadOptions(settings)).value();
  MonthOfEvents source(settings.events);
  uint64_t refused = 0;
  const double start = NowSeconds();
  for (uint64_t i = 0; i < settings.events; i += kBatch) {
    IngestBatch(db, source, i, i + kBatch, &refused);
  }
  TALLY_CHECK(db.Close().ok());
  report.Add("load, flush and close", static_cast<double>(settings.events) / (NowSeconds() - start),
             "events/s", fmt::format("{} refusals sent again", refused));
}

// SQLite with the table of events, an index of account and time, and a cache that holds all.
class Sqlite {
 public:
  Sqlite(const Settings& settings, const std::string& path) {
    fs::create_directories(path);
    TALLY_CHECK(sqlite3_open((path + "/db").c_str(), &db_) == SQLITE_OK);
    // Loading is not what is measured.
    Exec("PRAGMA journal_mode=OFF");
    Exec("PRAGMA synchronous=OFF");
    Exec(fmt::format("PRAGMA cache_size=-{}", kCacheBytes >> 10));
    Exec(
        "CREATE TABLE events(event_id TEXT, account_id TEXT, timestamp_ms INTEGER, meter_id TEXT, "
        "model_id TEXT, region TEXT, quantity INTEGER)");
    sqlite3_stmt* insert = Prepare("INSERT INTO events VALUES(?,?,?,?,?,?,?)");
    MonthOfEvents source(settings.events);
    Exec("BEGIN");
    for (uint64_t i = 0; i < settings.events; ++i) {
      const EventView& event = source.View(i);
      BindText(insert, 1, event.event_id);
      BindText(insert, 2, event.account_id);
      sqlite3_bind_int64(insert, 3, event.timestamp_ms);
      BindText(insert, 4, event.meter_id);
      BindText(insert, 5, *event.model_id);
      BindText(insert, 6, source.region());
      sqlite3_bind_int64(insert, 7, source.quantity());
      TALLY_CHECK(sqlite3_step(insert) == SQLITE_DONE);
      sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    Exec("COMMIT");
    // No ANALYZE: with it, a filter over all accounts goes through this index, ten times slower.
    Exec("CREATE INDEX account_time ON events(account_id, timestamp_ms)");
  }
  ~Sqlite() { sqlite3_close(db_); }
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;

  Measured Ask(const Question& question, double seconds) {
    sqlite3_stmt* select = Prepare(question.sql);
    const Measured measured = Measure(seconds, [select] {
      std::string out;
      while (sqlite3_step(select) == SQLITE_ROW) {
        if (!out.empty()) out += ';';
        for (int column = 0; column < sqlite3_column_count(select); ++column) {
          if (column > 0) out += '|';
          out += reinterpret_cast<const char*>(sqlite3_column_text(select, column));
        }
      }
      TALLY_CHECK(sqlite3_reset(select) == SQLITE_OK);
      return out;
    });
    sqlite3_finalize(select);
    return measured;
  }

 private:
  void Exec(const std::string& sql) {
    TALLY_CHECK(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  }
  sqlite3_stmt* Prepare(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    TALLY_CHECK(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
    return statement;
  }
  static void BindText(sqlite3_stmt* statement, int at, std::string_view text) {
    sqlite3_bind_text(statement, at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
  }

  sqlite3* db_ = nullptr;
};

using Answers = std::map<std::string, Measured>;  // by the question's name

std::vector<std::string> Split(const std::string& line) {
  std::vector<std::string> parts(1);
  for (const char c : line) {
    if (c == '\t') {
      parts.emplace_back();
    } else if (c != '\n') {
      parts.back() += c;
    }
  }
  return parts;
}

void WriteCsv(const Settings& settings, const std::string& path) {
  std::FILE* const out = std::fopen(path.c_str(), "w");
  TALLY_CHECK(out != nullptr);
  MonthOfEvents source(settings.events);
  for (uint64_t i = 0; i < settings.events; ++i) {
    const EventView& event = source.View(i);
    fmt::print(out, "{},{},{},{},{},{},{}\n", event.event_id, event.account_id, event.timestamp_ms,
               event.meter_id, *event.model_id, source.region(), source.quantity());
  }
  TALLY_CHECK(std::fclose(out) == 0);
}

// All of DuckDB's answers, by the script. None on a failure, which it has told on standard error.
std::optional<Answers> AskDuckdb(const Settings& settings, const std::vector<Question>& questions,
                                 Report& report) {
  const std::string path = settings.dir + "/duckdb";
  fs::remove_all(path);
  fs::create_directories(path);
  WriteCsv(settings, path + "/events.csv");
  std::FILE* const asked = std::fopen((path + "/questions").c_str(), "w");
  TALLY_CHECK(asked != nullptr);
  for (const Question& question : questions) {
    fmt::print(asked, "{}\t{}\n", question.name, question.sql);
  }
  TALLY_CHECK(std::fclose(asked) == 0);
  const std::string command =
      fmt::format("'{}' bench/duckdb_query.py '{}/events.csv' '{}/db' {} < '{}/questions'",
                  settings.duckdb, path, path, settings.seconds, path);
  std::FILE* const answered = popen(command.c_str(), "r");
  TALLY_CHECK(answered != nullptr);
  Answers answers;
  std::string version;
  char* line = nullptr;
  size_t capacity = 0;
  while (getline(&line, &capacity, answered) > 0) {
    const std::vector<std::string> parts = Split(line);
    if (parts.size() == 2) version = parts[1];
    if (parts.size() != 4) continue;
    answers[parts[0]] = {std::atof(parts[1].c_str()), std::strtoull(parts[2].c_str(), nullptr, 10),
                         parts[3]};
  }
  std::free(line);
  const bool ended_well = pclose(answered) == 0;
  fs::remove_all(path);
  if (!ended_well || answers.size() != questions.size()) return std::nullopt;
  report.Add("DuckDB takes part", 1, "", version);
  return answers;
}

// --- the figures ---

std::string Sides(const Measured& sqlite, const Measured* duckdb) {
  std::string out = fmt::format("SQLite {:.4g} us", sqlite.p50_us);
  if (duckdb != nullptr) out += fmt::format(", DuckDB {:.4g} us", duckdb->p50_us);
  return out;
}

// False where the sides do not agree.
bool Compare(const Settings& settings, const Question& question, const Db& db, Sqlite& sqlite,
             const std::optional<Answers>& duckdb, Report& report) {
  const Measured theirs = sqlite.Ask(question, settings.seconds);
  const Measured* const duck = duckdb ? &duckdb->at(question.name) : nullptr;
  bool equal = duck == nullptr || duck->answer == theirs.answer;
  std::vector<std::pair<std::string, ReadPath>> paths = {{", auto, p50", ReadPath::kAuto},
                                                         {", rows, p50", ReadPath::kRows}};
  if (!question.by_path) paths = {{", p50", ReadPath::kAuto}};
  const auto rate = [&](double micros) {
    return static_cast<double>(settings.events) / (micros / 1e6);
  };
  for (const auto& [suffix, path] : paths) {
    const Measured ours =
        Measure(settings.seconds, [&, path = path] { return question.ask(db, path).value(); });
    equal &= ours.answer == theirs.answer;
    report.Add(question.name + suffix, ours.p50_us, "us",
               fmt::format("{}; {} runs", Sides(theirs, duck), ours.runs));
    if (question.all_rows) {
      report.Add(
          question.name + suffix + ", rate", rate(ours.p50_us), "rows/s",
          fmt::format(
              "SQLite {:.4g} rows/s{}", rate(theirs.p50_us),
              duck == nullptr ? "" : fmt::format(", DuckDB {:.4g} rows/s", rate(duck->p50_us))));
    }
  }
  report.Add(question.name + ", SQLite, p50", theirs.p50_us, "us",
             fmt::format("{} runs", theirs.runs));
  if (duck != nullptr) {
    report.Add(question.name + ", DuckDB, p50", duck->p50_us, "us",
               fmt::format("{} runs", duck->runs));
  }
  if (!equal) fmt::print(stderr, "query_bench: the answers to `{}` differ\n", question.name);
  return equal;
}

// One client that sends batches at a steady pace until it is told to stop.
struct PacedClient {
  std::atomic<bool> stop = false;
  uint64_t events = 0;
  uint64_t refused = 0;
  std::vector<double> millis;  // of a batch, its making included

  void Run(const Settings& settings, Db& db) {
    MonthOfEvents source(settings.events);
    const double start = NowSeconds();
    while (!stop) {
      const double due = start + static_cast<double>(events) / settings.paced_rate;
      if (const double left = due - NowSeconds(); left > 0) {
        std::this_thread::sleep_for(std::chrono::duration<double>(left));
      }
      const double sent = NowSeconds();
      const uint64_t from = settings.events + events;  // behind the month: no answer changes
      IngestBatch(db, source, from, from + kBatch, &refused);
      millis.push_back((NowSeconds() - sent) * 1e3);
      events += kBatch;
    }
  }
};

// An account's month over and over for some seconds; latencies in microseconds.
Percentiles Repeat(const Db& db, double seconds) {
  const UsageQuery query = AccountMonth(kPacedRank);
  const std::string expected = AskUsage(db, query, ReadPath::kAuto).value();
  std::vector<double> micros;
  const double start = NowSeconds();
  while (NowSeconds() - start < seconds) {
    const double began = NowSeconds();
    const std::string answer = AskUsage(db, query, ReadPath::kAuto).value();
    micros.push_back((NowSeconds() - began) * 1e6);
    TALLY_CHECK(answer == expected);
  }
  return PercentilesOf(micros);
}

void BesideIngest(const Settings& settings, Db& db, const std::string& sides, Report& report) {
  const std::string name = fmt::format("account of rank {}, month by meter", kPacedRank);
  const Percentiles idle = Repeat(db, settings.paced_seconds);
  report.Add(name + ", nothing beside it, p50", idle.p50, "us", sides);
  report.Add(name + ", nothing beside it, p99", idle.p99, "us", sides);
  PacedClient client;
  const double start = NowSeconds();
  std::thread thread([&] { client.Run(settings, db); });
  const Percentiles busy = Repeat(db, settings.paced_seconds);
  client.stop = true;
  thread.join();
  const double rate = static_cast<double>(client.events) / (NowSeconds() - start);
  const std::string note =
      fmt::format("one client, {:.0f} of {:.0f} events/s, {} refusals sent again; {}", rate,
                  settings.paced_rate, client.refused, sides);
  report.Add(name + ", ingest beside it, p50", busy.p50, "us", note);
  report.Add(name + ", ingest beside it, p99", busy.p99, "us", note);
  const Percentiles commit = PercentilesOf(client.millis);
  report.Add("a batch of 1,000 meanwhile, p50", commit.p50, "ms", "its making included");
  report.Add("a batch of 1,000 meanwhile, p99", commit.p99, "ms", "its making included");
}

int Run(const Settings& settings) {
  Report report;
  const std::string path = settings.dir + "/query", sqlite_path = settings.dir + "/query-sqlite";
  fs::remove_all(path);
  fs::remove_all(sqlite_path);
  fs::create_directories(settings.dir);
  const double steal = StealSeconds();
  const std::vector<Question> questions = Questions();
  Load(settings, path, report);
  std::optional<Answers> duckdb;
  if (!settings.duckdb.empty()) {
    duckdb = AskDuckdb(settings, questions, report);
    if (!duckdb) {
      fmt::print(stderr, "query_bench: `{} bench/duckdb_query.py` failed\n", settings.duckdb);
      return 1;
    }
  }
  auto sqlite = std::make_unique<Sqlite>(settings, sqlite_path);

  OpenOptions options;
  options.cache_bytes_max = kCacheBytes;
  options.query_ms_max = 0;
  Db db = Db::Open(path, options).value();
  const DbStatus status = db.GetStatus();
  TALLY_CHECK(status.segment_rows == settings.events);  // none in memory
  report.Add("segments", static_cast<double>(status.segments), "", "rows in memory: none");
  bool equal = true;
  for (const Question& question : questions) {
    equal &= Compare(settings, question, db, *sqlite, duckdb, report);
  }
  report.Add("answers that all sides agree on", equal ? 1 : 0, "", "1: all");
  report.Add("memory of the largest query", static_cast<double>(largest_memory_bytes), "bytes");

  const std::string paced = fmt::format("account of rank {}, month by meter", kPacedRank);
  const auto at = std::ranges::find(questions, paced, &Question::name);
  const Measured theirs = sqlite->Ask(*at, settings.seconds);
  const std::string sides = Sides(theirs, duckdb ? &duckdb->at(paced) : nullptr) + " alone";
  sqlite.reset();
  BesideIngest(settings, db, sides, report);
  TALLY_CHECK(db.Close().ok());
  report.Add("steal during the run", StealSeconds() - steal, "s");
  fmt::print("{}\n", report.Json());
  fs::remove_all(sqlite_path);
  if (!settings.keep) fs::remove_all(path);
  return equal ? 0 : 1;
}

int Main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    auto value = [&] { return std::string(i + 1 < argc ? argv[++i] : ""); };
    if (option == "--smoke") {
      settings.events = 20'000;
      settings.seconds = 0.01;
      settings.paced_seconds = 0.1;
      settings.dir = "build/bench-smoke";
    } else if (option == "--events") {
      settings.events = std::strtoull(value().c_str(), nullptr, 10) / kBatch * kBatch;
    } else if (option == "--duckdb") {
      settings.duckdb = value();
    } else if (option == "--dir") {
      settings.dir = value();
    } else if (option == "--keep") {
      settings.keep = true;
    } else {
      fmt::print(stderr,
                 "usage: query_bench [--smoke] [--events N] [--duckdb PYTHON] [--dir DIR] "
                 "[--keep]\n");
      return 2;
    }
  }
  if (settings.events == 0 || settings.events > kEventsMax) {
    fmt::print(stderr, "query_bench: --events must be from {} to {}\n", kBatch, kEventsMax);
    return 2;
  }
  return Run(settings);
}

}  // namespace
}  // namespace tallystick::bench

int main(int argc, char** argv) { return tallystick::bench::Main(argc, argv); }
