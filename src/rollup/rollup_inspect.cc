#include "rollup/rollup_inspect.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "rollup/rollup_reader.h"
#include "tallystick/event.h"

namespace tallystick {
namespace {

constexpr uint64_t kCacheBytes = 1 << 20;  // the index, to find the blocks

std::string_view KindName(const RollupLine& line) {
  return EventKindName(static_cast<EventKind>(line.key.kind));
}

void PrintText(const RollupReader& reader, const Rollup& rollup,
               const std::vector<uint64_t>& offsets, std::string_view verdict, std::string* out) {
  const RollupFooter& footer = reader.footer();
  auto to = std::back_inserter(*out);
  fmt::format_to(to,
                 "{}\n  rollup of segment {} of database {}, format version {}, LSN {} to {}, {} "
                 "rows, footer checksum {:016x}\n"
                 "  {} bytes: {} lines in {} blocks, of {} accounts and of all together\n",
                 reader.path(), footer.number.value, footer.database_id.ToHex(),
                 kRollupFormatVersion, footer.first_lsn.value, footer.last_lsn.value, footer.rows,
                 footer.segment_checksum, reader.bytes(), footer.lines, footer.blocks(),
                 footer.entries - 1);
  uint64_t without = 0;
  for (size_t entry = 0; entry + 1 < rollup.starts.size(); ++entry) {
    const uint64_t begin = rollup.starts[entry], end = rollup.starts[entry + 1];
    if (begin == end) {
      ++without;
    } else {
      fmt::format_to(to, "  {}: lines {} to {}\n",
                     entry == 0 ? "all accounts" : fmt::format("account {}", entry - 1), begin,
                     end - 1);
    }
  }
  if (without > 0) fmt::format_to(to, "  {} of these have no lines\n", without);
  for (size_t i = 0; i < rollup.lines.size(); ++i) {
    const RollupLine& line = rollup.lines[i];
    if (i % kLinesPerBlock == 0) {
      fmt::format_to(to,
                     "  block {} at offset {}: line, product, meter, unit, model, source, kind, "
                     "hour (ms), sum, events\n",
                     i / kLinesPerBlock, offsets[i / kLinesPerBlock]);
    }
    fmt::format_to(to, "  {} {} {} {} {} {} {} {} {} {}\n", i, line.key.product, line.key.meter,
                   line.key.unit, line.key.model, line.key.source, KindName(line),
                   line.key.hour_start_ms, line.sum.ToString(), line.count);
  }
  fmt::format_to(to, "  {}\n", verdict);
}

void PrintJson(const RollupReader& reader, const Rollup& rollup,
               const std::vector<uint64_t>& offsets, std::string_view verdict, std::string* out) {
  const RollupFooter& footer = reader.footer();
  auto to = std::back_inserter(*out);
  fmt::format_to(to, R"({{"blocks":[)");
  for (size_t i = 0; i < rollup.lines.size(); ++i) {
    const RollupLine& line = rollup.lines[i];
    if (i % kLinesPerBlock == 0) {
      fmt::format_to(to, R"({}{{"lines":[)", i == 0 ? "" : ",");
    } else {
      *out += ',';
    }
    fmt::format_to(
        to,
        R"({{"count":{},"hour_start_ms":{},"kind":"{}","meter":{},"model":{},"product":{},)"
        R"("source":{},"sum":"{}","unit":{}}})",
        line.count, line.key.hour_start_ms, KindName(line), line.key.meter, line.key.model,
        line.key.product, line.key.source, line.sum.ToString(), line.key.unit);
    if ((i + 1) % kLinesPerBlock == 0 || i + 1 == rollup.lines.size()) {
      fmt::format_to(to, R"(],"offset":{}}})", offsets[i / kLinesPerBlock]);
    }
  }
  fmt::format_to(to,
                 R"(],"bytes":{},"database_id":"{}","entries":{},"first_lsn":{},)"
                 R"("footer_checksum":"{:016x}","format_version":{},"last_lsn":{},"lines":{},)"
                 R"("number":{},"rows":{},"starts":[{}],"verdict":"{}"}})",
                 reader.bytes(), footer.database_id.ToHex(), footer.entries, footer.first_lsn.value,
                 footer.segment_checksum, kRollupFormatVersion, footer.last_lsn.value, footer.lines,
                 footer.number.value, footer.rows, fmt::join(rollup.starts, ","), verdict);
}

}  // namespace

Status InspectRollup(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  BlockCache cache(kCacheBytes);
  TALLY_ASSIGN_OR_RETURN(const auto reader, RollupReader::OpenAlone(fs, path, cache));
  const auto print = [&](const Rollup& rollup, const std::vector<uint64_t>& offsets,
                         std::string_view verdict) {
    (json ? PrintJson : PrintText)(*reader, rollup, offsets, verdict, out);
  };
  const auto rollup = ReadRollup(*reader);
  if (!rollup.ok()) {
    print({}, {}, "damaged");
    return rollup.status();
  }
  std::vector<uint64_t> offsets(reader->footer().blocks());
  for (uint64_t block = 0; block < offsets.size(); ++block) {
    TALLY_ASSIGN_OR_RETURN(offsets[block], reader->OffsetOf(block));
  }
  print(*rollup, offsets, "every byte verifies");
  return Status::Ok();
}

}  // namespace tallystick
