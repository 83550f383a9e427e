// import-usagedb, export-usagedb: the way in from usageDb 0.4.0, and back.
#include "tallystick/usagedb.h"

#include <memory>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/source.h"
#include "cli/table.h"
#include "server/json_writer.h"

namespace tallystick {
namespace {

struct Options {
  std::string source;
  std::string data;
  std::string target;
  bool dry_run = false;
  bool skip_damaged = false;
  bool leave_out = false;
  bool json = false;
};

OnUsageDbProgress ProgressOnTerminal() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](const UsageDbProgress& progress) {
    fmt::print(stderr, "\r\x1b[K{}: {} of {} rows", progress.phase, progress.done, progress.all);
  };
}

void EndProgress() {
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r\x1b[K");
}

uint64_t PerSecond(uint64_t rows, int64_t micros) {
  return micros <= 0
             ? 0
             : static_cast<uint64_t>(static_cast<double>(rows) * 1e6 / static_cast<double>(micros));
}

// --- the import's report as JSON: keys in alphabetical order ---

class JsonObject {
 public:
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  JsonObject& Uint(std::string_view name, uint64_t value) {
    AppendJsonUintField(out_, name, value);
    return *this;
  }
  JsonObject& Int(std::string_view name, int64_t value) {
    AppendJsonIntField(out_, name, value);
    return *this;
  }
  JsonObject& Text(std::string_view name, std::string_view text) {
    AppendJsonTextField(out_, name, text);
    return *this;
  }
  JsonObject& Raw(std::string_view name, std::string_view json) {
    AppendJsonKey(out_, name);
    out_ += json;
    return *this;
  }
  template <typename T, typename Print>
  JsonObject& List(std::string_view name, const std::vector<T>& items, Print&& print) {
    AppendJsonKey(out_, name);
    out_ += '[';
    for (const T& item : items) {
      if (&item != items.data()) out_ += ',';
      print(item);
    }
    out_ += ']';
    return *this;
  }
  void End() { out_ += '}'; }

 private:
  std::string& out_;
};

std::string ReportJson(const UsageDbImportReport& report) {
  std::string out;
  const auto text = [&out](const std::string& item) { AppendJsonString(out, item); };
  const auto damage = [&out](const UsageDbDamage& item) {
    JsonObject(out).Text("file", item.file).Text("what", item.what).End();
  };
  const auto leftover = [&out](const UsageDbLeftover& item) {
    JsonObject(out)
        .Uint("events", item.events)
        .Text("fault", item.fault)
        .Text("file", item.file)
        .End();
  };
  const auto copy = [&out](const UsageDbCopy& item) {
    JsonObject(out)
        .Text("event_id", item.event_id)
        .Text("file", item.file)
        .Uint("place", item.place)
        .End();
  };
  const auto refused = [&out](const UsageDbRefused& item) {
    JsonObject(out)
        .Text("code", item.code)
        .Text("event_id", item.event_id)
        .Text("file", item.file)
        .Text("message", item.message)
        .Uint("place", item.place)
        .End();
  };
  const auto period = [&out](const UsageDbClosedPeriod& item) {
    JsonObject object(out);
    object.Text("account_id", item.account_id).Int("closed_at_ms", item.closed_at_ms);
    object.Raw("frozen_event_count", item.frozen_event_count.has_value()
                                         ? std::to_string(*item.frozen_event_count)
                                         : "null");
    object.Text("frozen_quantity", item.frozen_quantity).Text("period", item.period).End();
  };
  JsonObject(out)
      .Uint("accepted", report.accepted)
      .Uint("accounts", report.accounts)
      .Uint("already_there", report.already_there)
      .List("closed_periods", report.closed_periods, period)
      .List("conflicting", report.conflicting, copy)
      .Uint("conflicts", report.conflicts)
      .List("damaged", report.damaged, damage)
      .Uint("damages", report.damages)
      .Uint("duplicates", report.duplicates)
      .Uint("events", report.events)
      .Uint("fault_count", report.fault_count)
      .List("faults", report.faults, text)
      .Raw("held_more", report.held_more ? "true" : "false")
      .Int("importing_us", report.importing_us)
      .Uint("leftover_events", report.leftover_events)
      .List("leftover_segments", report.leftover_segments, leftover)
      .List("leftovers", report.leftovers, text)
      .Uint("logs", report.logs)
      .Uint("lsn", report.lsn.value)
      .Text("manifest_file", report.manifest_file)
      .Text("message", report.status.message())
      .Uint("meters", report.meters)
      .Text("quantity", report.quantity)
      .Int("reading_us", report.reading_us)
      .Uint("refused", report.refused)
      .List("refused_events", report.refused_events, refused)
      .Uint("rows", report.rows)
      .Uint("segments", report.segments)
      .List("sidecar_faults", report.sidecar_faults, damage)
      .Uint("sidecars_corrupt", report.sidecars_corrupt)
      .Uint("sidecars_hit", report.sidecars_hit)
      .Uint("sidecars_missing", report.sidecars_missing)
      .Text("state", report.status.ok() ? "ok" : report.status.reason())
      .Raw("written", report.written ? "true" : "false")
      .End();
  return out + '\n';
}

// --- and as text ---

template <typename T, typename Print>
void ListText(std::string& out, const std::vector<T>& items, uint64_t all, Print&& print) {
  for (const T& item : items) out += Printable(print(item)) + '\n';
  if (all > items.size()) out += fmt::format("  ... and {} more\n", all - items.size());
}

std::string SourceText(const UsageDbImportReport& report) {
  std::string out = fmt::format(
      "source: {}, {} segments, {} logs\n"
      "  {} rows, {} rows/s: {} events of {} accounts and {} meters, quantity {}\n"
      "  {} further copies: {} the same (dropped), {} with another payload (quarantined)\n"
      "  sidecars: {} hit, {} missing, {} corrupt\n",
      Printable(report.manifest_file.empty() ? "no manifest" : report.manifest_file),
      report.segments, report.logs, report.rows, PerSecond(report.rows, report.reading_us),
      report.events, report.accounts, report.meters, report.quantity,
      report.duplicates + report.conflicts, report.duplicates, report.conflicts,
      report.sidecars_hit, report.sidecars_missing, report.sidecars_corrupt);
  ListText(out, report.conflicting, report.conflicts, [](const UsageDbCopy& copy) {
    return fmt::format("  conflict: {} ({}, {})", copy.event_id, copy.file, copy.place);
  });
  ListText(out, report.refused_events, report.refused, [](const UsageDbRefused& event) {
    return fmt::format("  cannot be held: {} ({}, {}): {}: {}", event.event_id, event.file,
                       event.place, event.code, event.message);
  });
  ListText(out, report.sidecar_faults, 0, [](const UsageDbDamage& fault) {
    return fmt::format("  sidecar: {}: {}", fault.file, fault.what);
  });
  ListText(out, report.damaged, report.damages, [](const UsageDbDamage& fault) {
    return fmt::format("  DAMAGED: {}: {}", fault.file, fault.what);
  });
  ListText(out, report.closed_periods, 0, [](const UsageDbClosedPeriod& period) {
    return fmt::format("  closed period: {} {}, frozen at {}", period.account_id, period.period,
                       period.frozen_quantity.empty() ? "nothing" : period.frozen_quantity);
  });
  ListText(out, report.leftovers, 0,
           [](const std::string& file) { return "  left over, not imported: " + file; });
  ListText(out, report.leftover_segments, 0, [](const UsageDbLeftover& found) {
    if (!found.fault.empty()) {
      return fmt::format("  left over, cannot be read: {}: {}", found.file, found.fault);
    }
    return fmt::format("  LEFT OVER: {}: {} events that nothing imported has", found.file,
                       found.events);
  });
  return out;
}

std::string ReportText(const UsageDbImportReport& report) {
  std::string out = SourceText(report);
  if (!report.written) {
    out += "database: nothing was written\n";
  } else {
    out +=
        fmt::format("database: {} events accepted, {} were there already{}, {} events/s, LSN {}\n",
                    report.accepted, report.already_there,
                    report.held_more ? " (and it holds others beside)" : "",
                    PerSecond(report.events, report.importing_us), report.lsn.value);
    ListText(out, report.faults, report.fault_count,
             [](const std::string& fault) { return "  FAULT: " + fault; });
    if (report.faults.empty()) {
      out += "  proved: counts and sums of every account and meter are those of the source\n";
    }
  }
  return out;
}

int RunImport(const Options& options) {
  UsageDbImportOptions import;
  import.open.log = StderrLog();
  import.dry_run = options.dry_run;
  import.skip_damaged = options.skip_damaged;
  import.progress = ProgressOnTerminal();
  const auto report = ImportUsageDb(options.source, options.data, import);
  EndProgress();
  if (!report.ok()) return Fail(report.status());
  if (!Print(options.json ? ReportJson(*report) : ReportText(*report))) return kExitFailed;
  return report->status.ok() ? kExitOk : Fail(report->status);
}

std::string ExportJson(const UsageDbExportReport& report) {
  std::string out;
  JsonObject(out)
      .Uint("bytes", report.bytes)
      .Uint("events", report.events)
      .Uint("left_out", report.left_out)
      .List("left_out_ids", report.left_out_ids,
            [&out](const std::string& id) { AppendJsonString(out, id); })
      .Uint("lsn", report.lsn.value)
      .Uint("quarantined", report.quarantined)
      .Uint("segments", report.segments)
      .End();
  return out + '\n';
}

int RunExport(const Options& options) {
  UsageDbExportOptions export_options;
  export_options.open.log = StderrLog();
  export_options.leave_out = options.leave_out;
  export_options.progress = ProgressOnTerminal();
  const auto report = ExportUsageDb(options.data, options.target, export_options);
  EndProgress();
  if (!report.ok()) return Fail(report.status());
  if (options.json) return Print(ExportJson(*report)) ? kExitOk : kExitFailed;
  std::string out = fmt::format(
      "{} events in {} segments ({} bytes), as of LSN {}; left out: {} quarantined copies, {} "
      "events "
      "that usageDb cannot hold\n",
      report->events, report->segments, report->bytes, report->lsn.value, report->quarantined,
      report->left_out);
  ListText(out, report->left_out_ids, report->left_out,
           [](const std::string& id) { return "  left out: " + id; });
  return Print(out) ? kExitOk : kExitFailed;
}

void AddImport(CLI::App& app, Action* action) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("import-usagedb", "Take over a data directory of usageDb 0.4.0");
  command->add_option("source", options->source, "usageDb's data directory; it must not run")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_option("--data", options->data, "The database directory; created")->required();
  command->add_flag("--dry-run", options->dry_run, "Read and report everything, write nothing");
  command->add_flag("--skip-damaged", options->skip_damaged,
                    "Import what verifies, and say what was left out");
  command->add_flag("--json", options->json, "The report as a JSON object");
  command->footer(
      "May be run again after it was interrupted: nothing is counted twice. Exit code 1 if\n"
      "anything of the source could not be read (a corrupt sidecar too, which costs nothing),\n"
      "if events cannot be held, if segments that no manifest names have events of their own,\n"
      "or if the sums do not agree.\n"
      "Example:\n  tallystick import-usagedb /var/lib/usagedb --data data --dry-run");
  command->callback([=] { *action = [=] { return RunImport(*options); }; });
}

void AddExport(CLI::App& app, Action* action) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("export-usagedb", "Write a data directory that usageDb 0.4.0 opens");
  command->add_option("target", options->target, "The directory for it; created")->required();
  command->add_option("--data", options->data, "A database directory that no server has open")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_flag("--leave-out", options->leave_out,
                    "Leave out, and count, events that usageDb cannot hold");
  command->add_flag("--json", options->json, "The report as a JSON object");
  command->footer("Example:\n  tallystick export-usagedb --data data exported");
  command->callback([=] { *action = [=] { return RunExport(*options); }; });
}

}  // namespace

void AddUsageDb(CLI::App& app, Action* action) {
  AddImport(app, action);
  AddExport(app, action);
}

}  // namespace tallystick
