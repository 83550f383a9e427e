// inspect and verify: what stands in the files, and whether it adds up.
#include <algorithm>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "base/result.h"
#include "cli/command.h"
#include "cli/source.h"
#include "dedupe/sidecar_inspect.h"
#include "env/env.h"
#include "manifest/manifest_inspect.h"
#include "rollup/rollup_inspect.h"
#include "segment/segment_inspect.h"
#include "server/json_writer.h"
#include "tallystick/db.h"
#include "wal/wal_inspect.h"

namespace tallystick {
namespace {

using Inspector = Status (*)(FileSystem&, const std::string& path, bool json, std::string* out);

// A kind of file: what it is called, where a database keeps it, and how its names end.
struct Kind {
  const char* name;
  const char* folder;
  const char* suffix;
};

bool IsOfKind(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

// The files meant by `path`: itself, or the numbered files in it or in the kind's folder, in order.
Result<std::vector<std::string>> FilesOf(FileSystem& fs, const std::string& path,
                                         const Kind& kind) {
  auto names = fs.List(path);
  if (!names.ok()) return std::vector<std::string>{path};
  std::string folder = path;
  if (std::ranges::find(*names, kind.folder) != names->end()) {
    folder = JoinPath(path, kind.folder);
    names = fs.List(folder);
    if (!names.ok()) return names.status();
  }
  std::erase_if(*names, [&](const std::string& name) { return !IsOfKind(name, kind.suffix); });
  std::ranges::sort(*names, [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  if (names->empty()) {
    return Status::NotFound("no_files", fmt::format("no {} files in {}", kind.name, path));
  }
  for (std::string& name : *names) name = JoinPath(folder, name);
  return names;
}

int RunInspect(const std::string& path, const Kind& kind, bool json, Inspector inspector) {
  FileSystem& fs = Env::Real().fs();
  const auto files = FilesOf(fs, path, kind);
  if (!files.ok()) return Fail(files.status());
  int code = kExitOk;
  for (const std::string& file : *files) {
    std::string out;
    const Status status = inspector(fs, file, json, &out);
    if (!out.empty() && !out.ends_with('\n')) out += '\n';
    if (!Print(out)) return kExitFailed;
    if (!status.ok()) code = Fail(status);
  }
  return code;
}

std::string ReportJson(const VerifyReport& report) {
  std::string out = fmt::format(R"({{"accounts":{},"conflicts":{},"faults":[)", report.accounts,
                                report.conflicts);
  for (const std::string& fault : report.faults) {
    if (!out.ends_with('[')) out += ',';
    AppendJsonString(out, fault);
  }
  out += fmt::format(R"(],"lsn":{},"rows":{}}})", report.lsn.value, report.rows);
  return out + '\n';
}

std::string ReportText(const VerifyReport& report) {
  std::string out;
  for (const std::string& fault : report.faults) out += "FAULT: " + fault + '\n';
  out += fmt::format(
      "{} rows, {} accounts, {} conflicts, as of LSN {}: {}\n", report.rows, report.accounts,
      report.conflicts, report.lsn.value,
      report.faults.empty() ? "everything agrees" : fmt::format("{} faults", report.faults.size()));
  return out;
}

int RunVerify(const std::string& data, bool json) {
  OpenOptions options;
  options.create_if_missing = false;
  options.log = StderrLog();
  auto db = Db::Open(data, options);
  if (!db.ok()) return Fail(db.status());
  const bool progress = isatty(STDERR_FILENO) != 0;
  const auto report = db->Verify([progress](uint64_t done, uint64_t all) {
    if (progress) fmt::print(stderr, "\r{} of {} rows", done, all);
  });
  if (progress) fmt::print(stderr, "\r\x1b[K");
  if (!report.ok()) return Fail(report.status());
  if (!Print(json ? ReportJson(*report) : ReportText(*report))) return kExitFailed;
  if (const Status closed = db->Close(); !closed.ok()) return Fail(closed);
  return report->faults.empty() ? kExitOk : kExitFailed;
}

void AddInspector(CLI::App& inspect, Action* action, const Kind& kind, const char* description,
                  Inspector inspector) {
  struct Options {
    std::string path;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = inspect.add_subcommand(kind.name, description);
  command->add_option("path", options->path, "A file, or a database directory: all of them")
      ->required()
      ->check(CLI::ExistingPath);
  command->add_flag("--json", options->json, "One JSON object a file");
  command->footer(fmt::format("Example:\n  tallystick inspect {} data", kind.name));
  command->callback(
      [=] { *action = [=] { return RunInspect(options->path, kind, options->json, inspector); }; });
}

}  // namespace

void AddInspect(CLI::App& app, Action* action) {
  CLI::App* inspect =
      app.add_subcommand("inspect", "Read the files of a database without opening it");
  inspect->require_subcommand(1);
  inspect->footer(
      "Exit code 1 if anything is wrong with a file.\nExample:\n  tallystick inspect wal data");
  AddInspector(*inspect, action, {"wal", "wal", ""}, "Log files: header, frames, how each ends",
               InspectWal);
  AddInspector(*inspect, action, {"manifest", "manifest", ""},
               "Manifests: the live files, counters", InspectManifest);
  AddInspector(*inspect, action, {"segment", "segments", ".seg"},
               "Segments: rows, columns and what each costs; all of it is verified",
               InspectSegment);
  AddInspector(*inspect, action, {"sidecar", "segments", ".idx"},
               "Dedupe sidecars, ours and usageDb's: every entry; all of it is verified",
               InspectSidecar);
  AddInspector(*inspect, action, {"rollup", "segments", ".sum"},
               "Rollups: the lines of each account; all of the file is verified", InspectRollup);
}

void AddVerify(CLI::App& app, Action* action) {
  struct Options {
    std::string data;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "verify", "Recount everything from the rows and compare with what queries say");
  command->add_option("--data", options->data, "A database directory that no server has open")
      ->required();
  command->add_flag("--json", options->json, "The report as JSON, for programs");
  command->footer("Exit code 1 if anything disagrees.\nExample:\n  tallystick verify --data data");
  command->callback([=] { *action = [=] { return RunVerify(options->data, options->json); }; });
}

}  // namespace tallystick
