#include "rollup/rollup_inspect.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

#include "base/result.h"
#include "rollup/rollup_cursor.h"
#include "tallystick/event.h"

namespace tallystick {
namespace {

std::string_view KindName(const RollupLine& line) {
  return EventKindName(static_cast<EventKind>(line.key.kind));
}

// What is said of the entries and lines of a rollup.
struct Listing {
  std::string entries;
  std::string lines;
};

Result<Listing> ListText(const RollupReader& reader) {
  TALLY_ASSIGN_OR_RETURN(RollupCursor cursor, RollupCursor::Open(reader));
  Listing listing;
  auto entries = std::back_inserter(listing.entries), lines = std::back_inserter(listing.lines);
  uint64_t without = 0;
  for (uint64_t entry = 0; entry < reader.footer().entries; ++entry) {
    const LineRange range = cursor.LinesOf(entry);
    if (range.empty()) {
      ++without;
    } else {
      fmt::format_to(entries, "  {}: lines {} to {}\n",
                     entry == 0 ? "all accounts" : fmt::format("account {}", entry - 1),
                     range.begin, range.end - 1);
    }
  }
  if (without > 0) fmt::format_to(entries, "  {} of these have no lines\n", without);
  for (uint64_t i = 0; i < reader.footer().lines; ++i) {
    TALLY_RETURN_IF_ERROR(cursor.Next());
    const RollupLine& line = cursor.line();
    if (i % kLinesPerBlock == 0) {
      fmt::format_to(lines,
                     "  block {} at offset {}: line, product, meter, unit, model, source, kind, "
                     "hour (ms), sum, events\n",
                     i / kLinesPerBlock, cursor.offset());
    }
    fmt::format_to(lines, "  {} {} {} {} {} {} {} {} {} {}\n", i, line.key.product, line.key.meter,
                   line.key.unit, line.key.model, line.key.source, KindName(line),
                   line.key.hour_start_ms, line.sum.ToString(), line.count);
  }
  return listing;
}

Result<Listing> ListJson(const RollupReader& reader) {
  TALLY_ASSIGN_OR_RETURN(RollupCursor cursor, RollupCursor::Open(reader));
  const RollupFooter& footer = reader.footer();
  Listing listing{.entries = "0", .lines = ""};
  auto entries = std::back_inserter(listing.entries), lines = std::back_inserter(listing.lines);
  for (uint64_t entry = 0; entry < footer.entries; ++entry) {
    fmt::format_to(entries, ",{}", cursor.LinesOf(entry).end);
  }
  for (uint64_t i = 0; i < footer.lines; ++i) {
    TALLY_RETURN_IF_ERROR(cursor.Next());
    const RollupLine& line = cursor.line();
    if (i % kLinesPerBlock == 0) {
      fmt::format_to(lines, R"({}{{"lines":[)", i == 0 ? "" : ",");
    } else {
      listing.lines += ',';
    }
    fmt::format_to(
        lines,
        R"({{"count":{},"hour_start_ms":{},"kind":"{}","meter":{},"model":{},"product":{},)"
        R"("source":{},"sum":"{}","unit":{}}})",
        line.count, line.key.hour_start_ms, KindName(line), line.key.meter, line.key.model,
        line.key.product, line.key.source, line.sum.ToString(), line.key.unit);
    if ((i + 1) % kLinesPerBlock == 0 || i + 1 == footer.lines) {
      fmt::format_to(lines, R"(],"offset":{}}})", cursor.offset());
    }
  }
  return listing;
}

void PrintText(const RollupReader& reader, const Listing& listing, std::string_view verdict,
               std::string* out) {
  const RollupFooter& footer = reader.footer();
  fmt::format_to(std::back_inserter(*out),
                 "{}\n  rollup of segment {} of database {}, format version {}, LSN {} to {}, {} "
                 "rows, footer checksum {:016x}\n"
                 "  {} bytes: {} lines in {} blocks, of {} accounts and of all together\n"
                 "{}{}  {}\n",
                 reader.path(), footer.number.value, footer.database_id.ToHex(),
                 kRollupFormatVersion, footer.first_lsn.value, footer.last_lsn.value, footer.rows,
                 footer.segment_checksum, reader.bytes(), footer.lines, footer.blocks(),
                 footer.entries - 1, listing.entries, listing.lines, verdict);
}

void PrintJson(const RollupReader& reader, const Listing& listing, std::string_view verdict,
               std::string* out) {
  const RollupFooter& footer = reader.footer();
  fmt::format_to(std::back_inserter(*out),
                 R"({{"blocks":[{}],"bytes":{},"database_id":"{}","entries":{},"first_lsn":{},)"
                 R"("footer_checksum":"{:016x}","format_version":{},"last_lsn":{},"lines":{},)"
                 R"("number":{},"rows":{},"starts":[{}],"verdict":"{}"}})",
                 listing.lines, reader.bytes(), footer.database_id.ToHex(), footer.entries,
                 footer.first_lsn.value, footer.segment_checksum, kRollupFormatVersion,
                 footer.last_lsn.value, footer.lines, footer.number.value, footer.rows,
                 listing.entries, verdict);
}

}  // namespace

Status InspectRollup(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  BlockCache cache(0);  // all is read past it
  TALLY_ASSIGN_OR_RETURN(const auto reader, RollupReader::OpenAlone(fs, path, cache));
  const auto print = json ? PrintJson : PrintText;
  const auto listing = json ? ListJson(*reader) : ListText(*reader);
  if (!listing.ok()) {
    print(*reader, {}, "damaged", out);
    return listing.status();
  }
  print(*reader, *listing, "every byte verifies", out);
  return Status::Ok();
}

}  // namespace tallystick
