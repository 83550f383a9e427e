// compact: merge the segments of a database that no server has open.
#include <memory>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/source.h"
#include "tallystick/db.h"

namespace tallystick {
namespace {

struct Options {
  std::string data;
  uint64_t bytes_per_second = 0;
  bool json = false;
};

void PrintProgress(const DbStatus& status) {
  if (status.compacting.empty()) return;
  const CompactionProgress& merge = status.compacting.back();
  fmt::print(stderr, "\r\x1b[Kmerging {} segments, {}: {} of {} rows", merge.inputs, merge.phase,
             merge.rows_done, merge.rows);
}

std::string Text(const DbStatus& before, const DbStatus& after) {
  return fmt::format("{} rows: {} segments of {} bytes became {} of {}; {} merges wrote {} bytes\n",
                     after.segment_rows, before.segments, before.segment_file_bytes, after.segments,
                     after.segment_file_bytes, after.compactions, after.compaction_bytes_written);
}

std::string Json(const DbStatus& before, const DbStatus& after) {
  return fmt::format(
      R"({{"bytes_after":{},"bytes_before":{},"bytes_written":{},"compactions":{},"damaged":{},)"
      R"("rows":{},"segments_after":{},"segments_before":{}}})"
      "\n",
      after.segment_file_bytes, before.segment_file_bytes, after.compaction_bytes_written,
      after.compactions, after.segments_damaged, after.segment_rows, after.segments,
      before.segments);
}

int Compact(const Options& chosen) {
  OpenOptions options;
  options.create_if_missing = false;
  options.background_bytes_per_second = chosen.bytes_per_second;
  options.log = StderrLog();
  auto db = Db::Open(chosen.data, options);
  if (!db.ok()) return Fail(db.status());
  const DbStatus before = db->GetStatus();
  const bool progress = isatty(STDERR_FILENO) != 0;
  const Status merged = db->Compact([progress](const DbStatus& status) {
    if (progress) PrintProgress(status);
  });
  if (progress) fmt::print(stderr, "\r\x1b[K");
  const DbStatus after = db->GetStatus();
  if (const Status closed = db->Close(); !closed.ok()) return Fail(closed);
  if (!merged.ok()) return Fail(merged);
  if (!Print(chosen.json ? Json(before, after) : Text(before, after))) return kExitFailed;
  if (after.segments_damaged == 0) return kExitOk;
  fmt::print(stderr, "tallystick: {} segments are damaged and were left out\n",
             after.segments_damaged);
  return kExitFailed;
}

}  // namespace

void AddCompact(CLI::App& app, Action* action) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "compact", "Merge all segments of a database that may be merged, due or not");
  command->add_option("data", options->data, "A database directory that no server has open")
      ->required()
      ->check(CLI::ExistingDirectory);
  command
      ->add_option("--background-bytes-per-second", options->bytes_per_second,
                   "Rate of writing; 0: no limit")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "A server merges by itself whatever is due; this is for a database at rest. May be stopped "
      "and\n"
      "started again at any time. Exit code 1 if a merge failed or a segment is damaged.\n"
      "Example:\n  tallystick compact data");
  command->callback([=] { *action = [=] { return Compact(*options); }; });
}

}  // namespace tallystick
