// ingest: a file's events to a server or a directory, in batches.
//
// 1. Every event stands alone: a line that cannot be read, or that is refused, is reported with its
//    number, and stops nothing else unless --stop-on-error is given.
// 2. A batch whose answer did not come is sent again, whole; the event ids make that harmless.
// 3. The exit code tells whether everything was taken.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/parse.hpp>

#include "base/result.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/csv_mapping.h"
#include "cli/ingest_sink.h"
#include "cli/line_reader.h"
#include "env/env.h"

namespace tallystick {
namespace {

constexpr size_t kBatchBytesMax = 4 << 20;
constexpr int64_t kProgressMicros = 200'000;

struct IngestOptions {
  Place place;
  std::string file;
  bool csv = false;
  CsvMapping mapping;
  uint32_t batch = 1000;
  uint32_t retry_for_s = 60;
  bool stop_on_error = false;
  bool json = false;
};

// One event as JSON, or why there is none.
struct Item {
  uint64_t line = 0;
  std::string event;
  std::string fault;
};
using NextItem = std::function<std::optional<Item>()>;

// Why the line is not one JSON value, or "".
std::string JsonFault(const std::string& text) {
  if (!IsUtf8(text)) return "invalid_json: not UTF-8";
  boost::system::error_code error;
  boost::json::parse_options options;
  options.max_depth = 64;
  boost::json::parse(text, error, {}, options);
  return error ? "invalid_json: " + error.message() : "";
}

NextItem JsonLines(std::istream& in) {
  return [reader = LineReader(in)]() mutable -> std::optional<Item> {
    while (auto line = reader.Next()) {
      if (line->too_long) return Item{line->number, "", "the line is longer than 1 MiB"};
      if (line->text.find_first_not_of(" \t") == std::string::npos) continue;
      Item item{line->number, std::move(line->text), ""};
      item.fault = JsonFault(item.event);
      return item;
    }
    return std::nullopt;
  };
}

Result<NextItem> CsvRows(std::istream& in, const CsvMapping& mapping) {
  TALLY_ASSIGN_OR_RETURN(CsvToJson to_json, CsvToJson::Create(mapping));
  CsvReader reader(in);
  auto header = reader.Next();
  if (!header) return Status::InvalidArgument("invalid_mapping", "the CSV file is empty");
  if (!header->fault.empty()) {
    return Status::InvalidArgument("invalid_mapping", "the CSV header: " + header->fault);
  }
  if (header->cells[0].starts_with("\xef\xbb\xbf")) header->cells[0].erase(0, 3);
  TALLY_RETURN_IF_ERROR(to_json.SetHeader(header->cells));
  return NextItem(
      [reader, to_json = std::move(to_json), row = uint64_t{0}]() mutable -> std::optional<Item> {
        const auto record = reader.Next();
        if (!record) return std::nullopt;
        ++row;
        Item item{record->line, "", record->fault};
        if (!item.fault.empty()) return item;
        const Status status = to_json.AppendEvent(row, record->cells, item.event);
        if (!status.ok()) item.fault = status.message();
        if (item.fault.empty() && !IsUtf8(item.event)) item.fault = "not UTF-8";
        return item;
      });
}

void Wait(uint32_t seconds) {
  boost::asio::io_context io;
  boost::asio::steady_timer timer(io, std::chrono::seconds(seconds));
  boost::system::error_code ignored;
  timer.wait(ignored);
}

class Ingest {
 public:
  Ingest(const IngestOptions& options, IngestSink& sink)
      : options_(options), sink_(sink), progress_(isatty(STDERR_FILENO) != 0) {}

  // The first error that ends the run; ok also where events were refused.
  Status Run(const NextItem& next) {
    while (!stopped_) {
      auto item = next();
      if (!item) break;
      if (!item->fault.empty()) {
        // What stands before the broken line is sent first, so that messages come in order.
        TALLY_RETURN_IF_ERROR(Flush());
        ++broken_;
        Report(item->line, "broken", "", item->fault);
        continue;
      }
      bytes_ += item->event.size();
      lines_.push_back(item->line);
      events_.push_back(std::move(item->event));
      if (events_.size() >= options_.batch || bytes_ >= kBatchBytesMax) {
        TALLY_RETURN_IF_ERROR(Flush());
      }
    }
    return stopped_ ? Status::Ok() : Flush();
  }

  void Summary() {
    ClearProgress();
    const double seconds = std::max(Seconds(), 1e-6);
    const uint64_t read = done_ + broken_;
    if (options_.json) {
      Print(fmt::format(
          "{{\"accepted\":{},\"broken\":{},\"conflicts\":{},\"duplicates\":{},"
          "\"read\":{},\"rejected\":{}}}\n",
          total_.accepted, broken_, total_.conflicts, total_.duplicates, read, total_.rejected));
      return;
    }
    Print(
        fmt::format("{} events in {:.1f} s ({:.0f}/s): {} accepted, {} duplicates, {} conflicts, "
                    "{} rejected, {} broken lines\n",
                    read, seconds, static_cast<double>(read) / seconds, total_.accepted,
                    total_.duplicates, total_.conflicts, total_.rejected, broken_));
  }

  bool AllTaken() const { return broken_ + total_.conflicts + total_.rejected == 0; }

 private:
  Status Flush() {
    if (events_.empty() || stopped_) return Status::Ok();
    TALLY_ASSIGN_OR_RETURN(const SentBatch sent, SendWithRetries());
    total_.accepted += sent.accepted;
    total_.duplicates += sent.duplicates;
    total_.conflicts += sent.conflicts;
    total_.rejected += sent.rejected;
    done_ += events_.size();
    for (const SentBatch::Fault& fault : sent.faults) {
      if (fault.index >= lines_.size())
        return Status::Corruption("the answer names no event of ours");
      Report(lines_[fault.index], fault.outcome, fault.event_id, fault.explanation);
    }
    events_.clear();
    lines_.clear();
    bytes_ = 0;
    Progress();
    return Status::Ok();
  }

  Result<SentBatch> SendWithRetries() {
    const int64_t give_up = Now() + int64_t{options_.retry_for_s} * 1'000'000;
    while (true) {
      auto sent = sink_.Send(events_);
      const Status status = sent.status();
      // A server that was never there is a mistake in the URL, not an overload.
      const bool never_there = !answered_ && status.reason() == "no_connection";
      answered_ = answered_ || status.reason() != "no_connection";
      if (status.code() != StatusCode::kUnavailable || never_there) return sent;
      const uint32_t pause_s = sink_.retry_after_s();
      if (Now() + int64_t{pause_s} * 1'000'000 > give_up) return sent;
      ClearProgress();
      fmt::print(stderr, "tallystick: {} ({}); again in {} s\n", status.message(), status.reason(),
                 pause_s);
      Wait(pause_s);
    }
  }

  void Report(uint64_t line, std::string_view outcome, std::string_view event_id,
              std::string_view explanation) {
    ClearProgress();
    std::string text = fmt::format("line {}: {}", line, outcome);
    if (!event_id.empty()) text += fmt::format(" `{}`", event_id);
    if (!explanation.empty()) text += fmt::format(": {}", explanation);
    fmt::print(stderr, "{}\n", text);
    if (options_.stop_on_error) stopped_ = true;
  }

  void Progress() {
    if (!progress_ || Now() - shown_micros_ < kProgressMicros) return;
    shown_micros_ = Now();
    fmt::print(stderr, "\r{} events, {:.0f}/s", done_,
               static_cast<double>(done_) / std::max(Seconds(), 1e-6));
    progress_shown_ = true;
  }

  void ClearProgress() {
    if (progress_shown_) fmt::print(stderr, "\r\x1b[K");
    progress_shown_ = false;
  }

  static int64_t Now() { return Env::Real().clock().MonotonicMicros(); }
  double Seconds() const { return static_cast<double>(Now() - start_micros_) / 1e6; }

  const IngestOptions& options_;
  IngestSink& sink_;
  const bool progress_;
  const int64_t start_micros_ = Now();
  int64_t shown_micros_ = start_micros_;
  bool progress_shown_ = false;
  bool answered_ = false;  // the sink has answered at least once
  bool stopped_ = false;

  std::vector<std::string> events_;  // the batch, and the line of each
  std::vector<uint64_t> lines_;
  size_t bytes_ = 0;

  SentBatch total_;  // without the faults
  uint64_t done_ = 0;
  uint64_t broken_ = 0;
};

int RunIngest(const IngestOptions& options) {
  std::ifstream file;
  if (options.file != "-") {
    file.open(options.file, std::ios::binary);
    if (!file) return Fail(Status::IoError(fmt::format("cannot open {}", options.file)));
  }
  std::istream& in = options.file == "-" ? std::cin : file;
  NextItem next;
  if (options.csv) {
    auto rows = CsvRows(in, options.mapping);
    if (!rows.ok()) return Fail(rows.status(), kExitUsage);
    next = std::move(*rows);
  } else {
    next = JsonLines(in);
  }

  auto sink = IngestSink::Open(options.place.url, options.place.data);
  if (!sink.ok()) return Fail(sink.status());
  Ingest ingest(options, **sink);
  Status status = ingest.Run(next);
  if (status.ok() && in.bad()) status = Status::IoError(fmt::format("reading {}", options.file));
  ingest.Summary();
  const Status closed = (*sink)->Close();
  if (!status.ok()) return Fail(status);
  if (!closed.ok()) return Fail(closed);
  return ingest.AllTaken() ? kExitOk : kExitNotAllTaken;
}

}  // namespace

void AddIngest(CLI::App& app, Action* action) {
  const auto options = std::make_shared<IngestOptions>();
  CLI::App* command =
      app.add_subcommand("ingest", "Send a file's events; run again, it counts nothing twice");
  command
      ->add_option("file", options->file,
                   "JSON lines (one event a line) or, with --csv, CSV; -: stdin")
      ->required();
  AddPlace(*command, &options->place);
  auto* csv = command->add_flag("--csv", options->csv, "The file is CSV, with a header");
  command->add_option("--map", options->mapping.maps, "FIELD=COLUMN, may be repeated")
      ->expected(1)
      ->take_all()
      ->needs(csv);
  command->add_option("--set", options->mapping.sets, "FIELD=VALUE for every row, may be repeated")
      ->expected(1)
      ->take_all()
      ->needs(csv);
  command
      ->add_option("--id-format", options->mapping.id_format,
                   "event_id of a row: text with {row} (data row from 1) and {COLUMN}")
      ->needs(csv);
  command->add_flag("--assume-utc", options->mapping.assume_utc, "CSV times without a zone are UTC")
      ->needs(csv);
  command->add_option("--batch", options->batch, "Events a request")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command
      ->add_option("--retry-for", options->retry_for_s,
                   "Seconds to try a batch again while the server is busy or gone")
      ->capture_default_str();
  command->add_flag("--stop-on-error", options->stop_on_error,
                    "Stop behind the batch in which something was broken, rejected or conflicting");
  command->add_flag("--json", options->json, "The summary as JSON, for programs");
  command->footer(
      "Exit code 3 if anything was broken, rejected or conflicting.\nExample:\n"
      "  tallystick ingest events.jsonl --url http://127.0.0.1:8080\n"
      "  tallystick ingest calls.csv --csv --data data --id-format call-{row} --assume-utc \\\n"
      "      --map account_id=CUSTOMER --map timestamp_ms=TIME --map quantity=TOKENS \\\n"
      "      --set product_id=inference --set meter_id=tokens");
  command->callback([=] {
    *action = [=]() -> int {
      if (options->csv) {
        if (const auto mapping = CsvToJson::Create(options->mapping); !mapping.ok()) {
          return Fail(mapping.status(), kExitUsage);
        }
      }
      return RunIngest(*options);
    };
  });
}

}  // namespace tallystick
