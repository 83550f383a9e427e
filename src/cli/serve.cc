// serve: a database over HTTP until SIGTERM or SIGINT.
#include <memory>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "cli/command.h"
#include "server/server.h"
#include "tallystick/db.h"

namespace tallystick {
namespace {

struct ServeOptions {
  std::string data;
  std::string listen = "127.0.0.1:8080";
  std::string identity_scope = "global";
  std::string unknown_fields = "reject";
  std::string log_level = "info";
  OpenOptions open;
  ServerOptions server;
};

// "127.0.0.1:8080", "[::1]:0"
bool SplitListen(std::string_view text, std::string* host, uint16_t* port) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  std::string_view address = text.substr(0, colon);
  const std::string digits(text.substr(colon + 1));
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  } else if (address.find(':') != std::string_view::npos) {
    return false;
  }
  const bool number = !digits.empty() && digits.size() <= 5 &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  if (address.empty() || !number || std::stoul(digits) > 65535) return false;
  *host = address;
  *port = static_cast<uint16_t>(std::stoul(digits));
  return true;
}

LogSink SpdlogSink(const std::string& level) {
  auto logger = std::make_shared<spdlog::logger>("tallystick",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  return [logger](LogLevel at, std::string_view message) {
    const auto severity = at == LogLevel::kInfo      ? spdlog::level::info
                          : at == LogLevel::kWarning ? spdlog::level::warn
                                                     : spdlog::level::err;
    logger->log(severity, spdlog::string_view_t(message.data(), message.size()));
  };
}

int RunServe(ServeOptions options) {
  if (!SplitListen(options.listen, &options.server.listen_host, &options.server.listen_port)) {
    return Fail(
        Status::InvalidArgument("invalid_options",
                                fmt::format("--listen: `{}` is not ADDRESS:PORT", options.listen)),
        kExitUsage);
  }
  options.open.identity_scope =
      options.identity_scope == "account" ? IdentityScope::kAccount : IdentityScope::kGlobal;
  options.server.unknown_fields =
      options.unknown_fields == "ignore" ? UnknownFields::kIgnore : UnknownFields::kReject;
  options.open.log = SpdlogSink(options.log_level);
  if (const Status valid = options.open.Validate(); !valid.ok()) return Fail(valid, kExitUsage);
  if (const Status valid = options.server.Validate(); !valid.ok()) return Fail(valid, kExitUsage);

  // Before anything runs, so that a signal during recovery is not lost.
  boost::asio::io_context io{1};
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  int stopped_by = 0;
  signals.async_wait([&](const boost::system::error_code&, int signal) { stopped_by = signal; });

  auto db = Db::Open(options.data, options.open);
  if (!db.ok()) return Fail(db.status());
  auto server = Server::Start(*db, options.server, options.open.log);
  if (!server.ok()) return Fail(server.status());
  if (!Print(fmt::format("listening on {}\n", (*server)->url()))) return kExitFailed;
  io.run();

  options.open.log(LogLevel::kInfo, fmt::format("signal {}: stopping", stopped_by));
  (*server)->Stop();
  if (const Status closed = db->Close(); !closed.ok()) return Fail(closed);
  options.open.log(LogLevel::kInfo, "stopped");
  return kExitOk;
}

void AddDatabaseOptions(CLI::App& command, ServeOptions* options) {
  OpenOptions& open = options->open;
  const auto size = CLI::AsSizeValue(false);
  const std::string group = "Database";
  const auto number = [&](const char* name, auto& value, const char* text) {
    return command.add_option(name, value, text)->capture_default_str()->group(group);
  };
  command
      .add_option("--identity-scope", options->identity_scope,
                  "What makes an event id unique; fixed at creation")
      ->check(CLI::IsMember({"global", "account"}))
      ->capture_default_str()
      ->group(group);
  number("--memtables-max", open.memtables_max,
         "Full memtables that wait to be flushed; beyond: 503 memory_full");
  number("--key-tables-max", open.key_tables_max,
         "Key tables that wait for a sidecar; beyond: 503 memory_full");
  number("--memtable-age-ms-max", open.memtable_age_ms_max,
         "Rows this old are flushed although their memtable is not full; 0: never");
  number("--flush-on-close-ms-max", open.flush_on_close_ms_max,
         "Time for a flush when stopped; 0: none");
  number("--background-bytes-per-second", open.background_bytes_per_second,
         "Rate of flush and rebuild; 0: no limit")
      ->transform(size);
  number("--scrub-bytes-per-second", open.scrub_bytes_per_second,
         "Rate at which all files are read again and verified; 0: never")
      ->transform(size);
  number("--scrub-interval-s", open.scrub_interval_s, "From one such pass to the next");
  number("--cache-bytes-max", open.cache_bytes_max, "Memory of segment blocks")->transform(size);
  number("--dedupe-memory-bytes-max", open.dedupe_memory_bytes_max,
         "Memory of sidecar filters; the rest is read from disk")
      ->transform(size);
  number("--query-ms-max", open.query_ms_max,
         "Time for a read; beyond: 503 query_timeout; 0: no limit");
  number("--query-memory-bytes-max", open.query_memory_bytes_max,
         "Memory of a read; beyond: 503 query_too_large; 0: no limit")
      ->transform(size);
  number("--compaction-fan-in", open.compaction_fan_in,
         "Neighbouring segments that are merged into one; 0: none are");
  number("--compaction-rows-max", open.compaction_rows_max, "Rows of a merged segment");
  number("--runs-slow", open.runs_slow,
         "Segments that wait to be merged; beyond: commits are spaced out; 0: never");
  number("--runs-max", open.runs_max,
         "Segments that wait to be merged; from then on 503 compaction_behind; 0: no limit");
  number("--wal-file-bytes", open.wal_file_bytes, "Size of a log file, and of its memtable")
      ->transform(size);
  number("--memtable-rows-max", open.memtable_rows_max, "Rows of a memtable");
  number("--queue-bytes-max", open.queue_bytes_max,
         "Bytes waiting for the log; beyond: 503 queue_full")
      ->transform(size);
  number("--queue-events-max", open.queue_events_max, "Events waiting for the log");
  number("--commit-gap-us", open.commit_gap_us,
         "A write starts at the earliest so long after the last");
  number("--group-bytes-max", open.group_bytes_max, "A group of requests closes at this size")
      ->transform(size);
  number("--mark-idle-ms", open.mark_idle_ms, "Idle time after which the log's end is marked");
  number("--id-bytes-max", open.limits.id_bytes_max, "Longest id that an event may carry");
  number("--timestamp-ahead-ms-max", open.limits.timestamp_ahead_ms_max,
         "How far in the future an event may lie");
}

void AddServerOptions(CLI::App& command, ServeOptions* options) {
  ServerOptions& server = options->server;
  const auto size = CLI::AsSizeValue(false);
  const std::string group = "Server";
  const auto number = [&](const char* name, auto& value, const char* text) {
    return command.add_option(name, value, text)->capture_default_str()->group(group);
  };
  command
      .add_option("--unknown-fields", options->unknown_fields,
                  "What to do with an event that has a field of another name")
      ->check(CLI::IsMember({"reject", "ignore"}))
      ->capture_default_str()
      ->group(group);
  number("--header-bytes-max", server.header_bytes_max, "Head of a request; beyond: 431")
      ->transform(size);
  number("--header-count-max", server.header_count_max, "Headers of a request; beyond: 431");
  number("--body-bytes-max", server.body_bytes_max, "Body as sent; beyond: 413")->transform(size);
  number("--expanded-bytes-max", server.expanded_bytes_max, "Body after gzip or zstd; beyond: 413")
      ->transform(size);
  number("--body-memory-bytes-max", server.body_memory_bytes_max,
         "All bodies being read; beyond: 503")
      ->transform(size);
  number("--batch-events-max", server.batch_events_max, "Events of a batch; beyond: 413");
  number("--header-timeout-ms", server.header_timeout_ms, "Time for a head; beyond: 408");
  number("--body-timeout-ms", server.body_timeout_ms, "Time for a body; beyond: 408");
  number("--body-progress-timeout-ms", server.body_progress_timeout_ms,
         "In this time a body moves on by the following; else 408");
  number("--body-progress-bytes-min", server.body_progress_bytes_min,
         "What a body moves on by, or it ends")
      ->transform(size);
  number("--idle-timeout-ms", server.idle_timeout_ms, "Time between requests; then closed");
  number("--write-timeout-ms", server.write_timeout_ms,
         "An answer of which nothing is taken; then closed");
  number("--stop-timeout-ms", server.stop_timeout_ms, "Time for what runs when asked to stop");
  number("--connections-max", server.connections_max, "Open connections; beyond: 503 and closed");
  number("--pipeline-max", server.pipeline_max, "Answers pending on a connection");
  number("--query-threads", server.query_threads, "Threads that answer reads");
  number("--queries-waiting-max", server.queries_waiting_max, "Reads waiting; beyond: 503");
  number("--lsn-wait-ms-max", server.lsn_wait_ms_max,
         "Time that a read waits for its min_lsn; beyond: 503 lsn_not_reached");
  number("--half-closed-ms-max", server.half_closed_ms_max,
         "Time for a read whose client ended its sending; then given up");
}

}  // namespace

void AddServe(CLI::App& app, Action* action) {
  const auto options = std::make_shared<ServeOptions>();
  // Within the five seconds of an orderly stop, the database's own closing needs some.
  options->server.stop_timeout_ms = 3500;
  CLI::App* command = app.add_subcommand("serve", "Serve a database over HTTP");
  command->fallthrough();  // for --config
  command
      ->add_option("--data", options->data, "The database directory; created if it does not exist")
      ->required();
  command->add_option("--listen", options->listen, "ADDRESS:PORT; port 0: a free one")
      ->capture_default_str();
  command->add_option("--log-level", options->log_level, "Least severe lines of the log on stderr")
      ->check(CLI::IsMember({"info", "warning", "error"}))
      ->capture_default_str();
  AddDatabaseOptions(*command, options.get());
  AddServerOptions(*command, options.get());
  command->footer(
      "--config FILE reads the same options from TOML, '_' for '-': listen = \"0.0.0.0:8080\",\n"
      "cache_bytes_max = \"1 GiB\". The command line wins over the file.\n"
      "Prints `listening on http://HOST:PORT` when it takes requests. SIGTERM and SIGINT stop it "
      "in order.\n"
      "Example:\n  tallystick serve --data data --listen 127.0.0.1:8080");
  command->callback([=] { *action = [=] { return RunServe(*options); }; });
}

}  // namespace tallystick
