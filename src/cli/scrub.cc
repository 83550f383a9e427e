// scrub: every file of a database read again and verified; of a server, a pass is started.
#include <memory>

#include <fmt/format.h>
#include <unistd.h>

#include "base/result.h"
#include "cli/command.h"
#include "cli/http_client.h"
#include "cli/source.h"
#include "server/json_writer.h"
#include "tallystick/db.h"

namespace tallystick {
namespace {

std::string ReportText(const ScrubStatus& report) {
  std::string out;
  for (const ScrubFinding& finding : report.findings) {
    out +=
        fmt::format("FAULT: {}{}: {}\n", finding.file,
                    finding.offset.has_value() ? fmt::format(" at offset {}", *finding.offset) : "",
                    finding.what);
  }
  return out +
         fmt::format("{} files and {} bytes were read: {}\n", report.files, report.bytes,
                     report.faults == 0 ? "no fault" : fmt::format("{} faults", report.faults));
}

std::string ReportJson(const ScrubStatus& report) {
  std::string out = fmt::format(R"({{"bytes":{},"faults":{},"files":{},"findings":[)", report.bytes,
                                report.faults, report.files);
  for (const ScrubFinding& finding : report.findings) {
    if (!out.ends_with('[')) out += ',';
    out += R"({"file":)";
    AppendJsonString(out, finding.file);
    if (finding.offset.has_value()) out += fmt::format(R"(,"offset":{})", *finding.offset);
    out += R"(,"what":)";
    AppendJsonString(out, finding.what);
    out += '}';
  }
  return out + "]}\n";
}

int ScrubDirectory(const std::string& data, bool json) {
  OpenOptions options;
  options.create_if_missing = false;
  options.scrub_bytes_per_second = 0;  // nobody but this pass
  options.log = StderrLog();
  auto db = Db::Open(data, options);
  if (!db.ok()) return Fail(db.status());
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const auto report = db->Scrub([terminal](uint64_t done, uint64_t expected) {
    if (terminal) fmt::print(stderr, "\r{} of about {} bytes", done, expected);
  });
  if (terminal) fmt::print(stderr, "\r\x1b[K");
  if (!report.ok()) return Fail(report.status());
  if (!Print(json ? ReportJson(*report) : ReportText(*report))) return kExitFailed;
  if (const Status closed = db->Close(); !closed.ok()) return Fail(closed);
  return report->faults == 0 ? kExitOk : kExitFailed;
}

Status StartOnServer(const std::string& url) {
  TALLY_ASSIGN_OR_RETURN(HttpClient client, HttpClient::Create(url));
  TALLY_ASSIGN_OR_RETURN(const HttpResponse response,
                         client.PostJson("/v1/admin/scrub", "{}", "application/json"));
  return response.status == 200 ? Status::Ok() : StatusOfProblem(response.status, response.body);
}

int ScrubServer(const std::string& url) {
  if (const Status started = StartOnServer(url); !started.ok()) return Fail(started);
  return Print("a pass has been asked for; `scrub` in /v1/status tells what it finds\n")
             ? kExitOk
             : kExitFailed;
}

}  // namespace

void AddScrub(CLI::App& app, Action* action) {
  struct Options {
    Place place;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "scrub", "Read every file of a database again and verify it, or have a server do so");
  AddPlace(*command, &options->place);
  command->add_flag("--json", options->json, "With --data: the report as one JSON object");
  command->footer(
      "With --data the pass runs here at full speed; exit code 1 if it finds damage. Damaged "
      "sidecars and\nrollups are rebuilt. With --url the server starts a pass at its own rate, "
      "beside its work.\n"
      "Examples:\n  tallystick scrub --data data\n  tallystick scrub --url http://127.0.0.1:8080");
  command->callback([=] {
    *action = [=] {
      return options->place.data.empty() ? ScrubServer(options->place.url)
                                         : ScrubDirectory(options->place.data, options->json);
    };
  });
}

}  // namespace tallystick
