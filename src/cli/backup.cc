// backup, restore: a copy of a database at one position, and a database made of it.
#include "tallystick/backup.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "base/result.h"
#include "cli/command.h"
#include "cli/http_client.h"
#include "cli/json_rows.h"
#include "cli/source.h"
#include "server/backup_json.h"
#include "server/json_writer.h"
#include "tallystick/db.h"

namespace tallystick {
namespace {

struct Options {
  std::string data;
  std::string url;
  std::string target;  // of a restore: the backup
  bool copy = false;
  bool verify = false;
  bool json = false;
};

// A backup takes as long as it takes, and the server is silent meanwhile.
constexpr std::chrono::hours kBackupSilenceMax{24};

BackupProgress ShowProgress() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](uint64_t done, uint64_t all) {
    fmt::print(stderr, "\r{} of {} MiB{}", done >> 20, all >> 20, done == all ? "\r\x1b[K" : "");
  };
}

// The JSON of a backup, by a server or from a directory that is opened for it.
Result<std::string> TakeBackup(const Options& options) {
  if (!options.url.empty()) {
    TALLY_ASSIGN_OR_RETURN(HttpClient client, HttpClient::Create(options.url, kBackupSilenceMax));
    std::string body = R"({"target":)";
    AppendJsonString(body, options.target);
    body += fmt::format(R"(,"copy":{}}})", options.copy);
    TALLY_ASSIGN_OR_RETURN(
        HttpResponse response,
        client.PostJson("/v1/admin/backup", std::move(body), "application/json"));
    if (response.status != 200) return StatusOfProblem(response.status, response.body);
    return std::move(response.body);
  }
  OpenOptions open;
  open.create_if_missing = false;
  open.background_bytes_per_second = 0;
  open.log = StderrLog();
  TALLY_ASSIGN_OR_RETURN(Db db, Db::Open(options.data, open));
  TALLY_ASSIGN_OR_RETURN(const BackupReport report,
                         db.Backup(options.target, {.copy = options.copy}));
  TALLY_RETURN_IF_ERROR(db.Close());
  return BackupReportToJson(report);
}

Result<std::string> BackupText(const std::string& json) {
  TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(json, ""));
  const auto at = [&](const char* name) { return Member(answer.top, name); };
  return fmt::format(
      "backup in {}: as of LSN {}, {} files, {} bytes ({} copied, {} linked, {} kept, {} "
      "removed)\n",
      at("target"), at("lsn"), at("files"), at("bytes"), at("copied_files"), at("linked_files"),
      at("kept_files"), at("removed_files"));
}

int RunBackup(const Options& options) {
  const auto json = TakeBackup(options);
  if (!json.ok()) return Fail(json.status());
  const auto text = options.json ? Result<std::string>(*json + '\n') : BackupText(*json);
  if (!text.ok()) return Fail(text.status());
  return Print(*text) ? kExitOk : kExitFailed;
}

int RunVerify(const Options& options) {
  const auto info = VerifyBackup(options.target, nullptr, ShowProgress());
  if (!info.ok()) return Fail(info.status());
  const std::string text =
      options.json ? BackupInfoToJson(*info) + '\n'
                   : fmt::format("backup in {}: as of LSN {}, {} files, {} bytes: all well\n",
                                 info->directory, info->lsn.value, info->files, info->bytes);
  return Print(text) ? kExitOk : kExitFailed;
}

std::string RestoreJson(const RestoreReport& report) {
  std::string out = R"({"backup":)" + BackupInfoToJson(report.backup) + R"(,"directory":)";
  AppendJsonString(out, report.directory);
  return out + fmt::format(R"(,"incarnation":"{}"}})", report.incarnation) + '\n';
}

int RunRestore(const Options& options) {
  if (options.verify) return RunVerify(options);
  const auto report = RestoreBackup(options.target, options.data, nullptr, ShowProgress());
  if (!report.ok()) return Fail(report.status());
  const std::string text =
      options.json
          ? RestoreJson(*report)
          : fmt::format("restored to {}: as of LSN {}, {} files, {} bytes\n", report->directory,
                        report->backup.lsn.value, report->backup.files, report->backup.bytes);
  return Print(text) ? kExitOk : kExitFailed;
}

// Which of the two forms of the command line this is; nothing where it is neither.
std::optional<std::string> CheckBackupForm(const Options& options, size_t names) {
  const size_t wanted = options.verify || !options.url.empty() ? 1 : 2;
  if (options.verify && !options.url.empty()) return "--verify reads the target here: no --url";
  if (names != wanted) {
    return wanted == 1 ? "TARGET alone is expected" : "DIR and TARGET are expected";
  }
  return std::nullopt;
}

// CLI11 cannot say that one name or two are expected.
class BackupFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: tallystick backup [OPTIONS] DIR TARGET\n"
           "       tallystick backup [OPTIONS] --url URL TARGET\n"
           "       tallystick backup [OPTIONS] --verify TARGET\n";
  }
};

}  // namespace

void AddBackup(CLI::App& app, Action* action) {
  CLI::App* command = app.add_subcommand(
      "backup", "Copy a database, as it is at one moment, to another directory; or check a copy");
  command->formatter(std::make_shared<BackupFormatter>());
  const auto options = std::make_shared<Options>();
  const auto names = std::make_shared<std::vector<std::string>>();
  command
      ->add_option("names", *names,
                   "DIR TARGET: a database directory that no server has open, and where to copy "
                   "it. With --url or --verify: TARGET alone")
      ->required()
      ->expected(1, 2);
  command->add_option("--url", options->url,
                      "A server on this machine: http://HOST[:PORT]. It writes TARGET itself");
  command->add_flag("--verify", options->verify, "Read the backup in TARGET and check all of it");
  command->add_flag("--copy", options->copy, "Copy segments also where hard links could be made");
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "TARGET is absent, or an earlier backup of the same database, which is brought up to date.\n"
      "Its parent must exist. Exit code 1 if it fails; an earlier backup is then still whole.\n"
      "Examples:\n  tallystick backup data backups/data\n"
      "  tallystick backup --url http://127.0.0.1:8080 /backups/data\n"
      "  tallystick backup --verify /backups/data");
  command->callback([=] {
    *action = [=] {
      const auto fault = CheckBackupForm(*options, names->size());
      if (fault) return Fail(Status::InvalidArgument("usage", *fault), kExitUsage);
      options->target = names->back();
      options->data = names->front();
      return options->verify ? RunVerify(*options) : RunBackup(*options);
    };
  });
}

void AddRestore(CLI::App& app, Action* action) {
  CLI::App* command =
      app.add_subcommand("restore", "Make a database of a backup, in a directory that holds none");
  const auto options = std::make_shared<Options>();
  command->add_option("backup", options->target, "A directory that `tallystick backup` wrote")
      ->required();
  auto* directory = command->add_option(
      "directory", options->data, "The new database's directory; created, its parent must exist");
  auto* verify = command->add_flag("--verify-only", options->verify, "Only check the backup");
  directory->excludes(verify);
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "Everything is verified first. The new database has an incarnation of its own: cursors from\n"
      "before are refused. If it fails or is killed, run it again.\n"
      "Example:\n  tallystick restore backups/data data-restored");
  command->callback([=] {
    *action = [=] {
      if (options->verify || !options->data.empty()) return RunRestore(*options);
      return Fail(Status::InvalidArgument("usage", "a directory for the new database is needed"),
                  kExitUsage);
    };
  });
}

}  // namespace tallystick
