// verify: whether everything adds up, of a whole database or of an account.
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "base/result.h"
#include "cli/command.h"
#include "cli/print_answer.h"
#include "cli/table.h"
#include "server/json_writer.h"
#include "tallystick/db.h"

namespace tallystick {
namespace {

std::string ReportJson(const VerifyReport& report) {
  std::string out = fmt::format(R"({{"accounts":{},"conflicts":{},"faults":[)", report.accounts,
                                report.conflicts);
  for (const std::string& fault : report.faults) {
    if (!out.ends_with('[')) out += ',';
    AppendJsonString(out, fault);
  }
  out += fmt::format(R"(],"lsn":{},"rollup_lines":{},"rows":{}}})", report.lsn.value,
                     report.rollup_lines, report.rows);
  return out + '\n';
}

std::string ReportText(const VerifyReport& report) {
  std::string out;
  for (const std::string& fault : report.faults) out += "FAULT: " + fault + '\n';
  out += fmt::format(
      "{} rows, {} rollup lines, {} accounts, {} conflicts, as of LSN {}: {}\n", report.rows,
      report.rollup_lines, report.accounts, report.conflicts, report.lsn.value,
      report.faults.empty() ? "everything agrees" : fmt::format("{} faults", report.faults.size()));
  return out;
}

int VerifyDatabase(const std::string& data, bool json) {
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

Result<std::string> AccountText(const JsonRow& answer) {
  std::string out;
  TALLY_ASSIGN_OR_RETURN(const auto faults, ReadJsonTexts(Member(answer, "faults")));
  for (const std::string& fault : faults) out += "FAULT: " + Printable(fault) + '\n';
  Table table({"computed", "total"});
  table.Add({"from rollups", Member(answer, "rollup_total")});
  table.Add({"from rows", Member(answer, "raw_total")});
  table.Add({"row by row", Member(answer, "each_total")});
  out += table.ToString();
  out += fmt::format("as of LSN {}: {}\n", Member(answer, "lsn"),
                     Member(answer, "matches") == "true" ? "everything agrees" : "DIFFERENCE");
  return out;
}

// Exit code 1 on a difference, whatever is printed.
int VerifyAccount(const ReadOptions& options) {
  const auto reply = Ask(options, VerifyRequest(options));
  if (!reply.ok()) return Fail(reply.status());
  const auto answer = ReadJsonRows(reply->text, "");
  if (!answer.ok()) return Fail(answer.status());
  const auto text =
      options.json ? Result<std::string>(reply->text + '\n') : AccountText(answer->top);
  if (!text.ok()) return Fail(text.status());
  if (!Print(*text)) return kExitFailed;
  return Member(answer->top, "matches") == "true" ? kExitOk : kExitFailed;
}

}  // namespace

void AddVerify(CLI::App& app, Action* action) {
  const auto options = std::make_shared<ReadOptions>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Recount from the rows and compare with what queries say: everything, or an account");
  AddAccount(*command, options.get(),
             "Compare this account's totals, computed in three ways; without it the whole database "
             "is verified, which needs --data",
             false);
  AddRange(*command, options.get());
  AddCommon(*command, options.get());
  command->footer(
      "Exit code 1 if anything disagrees.\n"
      "Examples:\n"
      "  tallystick verify --data data\n"
      "  tallystick verify acme --url http://127.0.0.1:8080 --from 2026-06-01T00:00:00Z "
      "--to 2026-07-01T00:00:00Z");
  command->callback([=] {
    *action = [=] {
      if (!options->account.empty()) return VerifyAccount(*options);
      for (const char* option : {"--from", "--to", "--as-of-lsn", "--as-of", "--min-lsn"}) {
        if (command->count(option) == 0) continue;
        return Fail(Status::InvalidArgument("missing_option",
                                            fmt::format("{} is for an account: name one", option)),
                    kExitUsage);
      }
      if (options->place.data.empty()) {
        return Fail(Status::InvalidArgument(
                        "missing_option",
                        "a server verifies one account: name it; a whole database needs --data"),
                    kExitUsage);
      }
      return VerifyDatabase(options->place.data, options->json);
    };
  });
}

}  // namespace tallystick
