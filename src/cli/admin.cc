// inspect: what stands in the files.
#include <algorithm>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/result.h"
#include "cli/command.h"
#include "dedupe/sidecar_inspect.h"
#include "env/env.h"
#include "manifest/backup_file.h"
#include "manifest/manifest_inspect.h"
#include "rollup/rollup_inspect.h"
#include "segment/segment_inspect.h"
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
  if (suffix == kBackupFileName) return name == suffix;
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
  AddInspector(*inspect, action, {"backup", "", kBackupFileName},
               "A backup's BACKUP: its LSN, and every file with its checksum", InspectBackup);
  AddInspector(*inspect, action, {"rollup", "segments", ".sum"},
               "Rollups: the lines of each account; all of the file is verified", InspectRollup);
}

}  // namespace tallystick
