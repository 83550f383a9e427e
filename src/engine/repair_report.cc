// A repair's report as text and as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "tallystick/repair.h"

namespace tallystick {
namespace {

constexpr size_t kShownMax = 20;  // ranges and accounts in the text; the JSON has more

std::string RangesText(const RepairLoss& loss) {
  std::string out;
  const size_t shown = std::min(loss.lsns.size(), kShownMax);
  for (size_t i = 0; i < shown; ++i) {
    const LsnRange& range = loss.lsns[i];
    out += i == 0 ? "" : ", ";
    out += fmt::format("{}", range.first.value);
    if (range.last != range.first) out += fmt::format("-{}", range.last.value);
  }
  const uint64_t more = loss.lsns.size() - shown + loss.lsns_left_out;
  if (more > 0) out += fmt::format(" and {} more ranges", more);
  return out;
}

std::string LossText(const RepairLoss& loss) {
  std::string out = fmt::format("  {}: {} rows, LSN {}\n", loss.file, loss.rows, RangesText(loss));
  auto to = std::back_inserter(out);
  fmt::format_to(
      to, "    quantity: {}{}\n", loss.quantity.value_or("not known"),
      loss.counted.has_value() ? fmt::format(", of {} counted events", *loss.counted) : "");
  if (loss.timestamps_ms.has_value()) {
    fmt::format_to(to, "    timestamps: {} to {} ms\n", loss.timestamps_ms->first,
                   loss.timestamps_ms->second);
  }
  if (loss.accounts.empty()) return out + "    accounts: not known\n";
  uint64_t in_all = 0;
  for (const auto& [account, rows] : loss.accounts) in_all += rows;
  out += in_all + loss.accounts_left_out > loss.rows ? "    accounts (rows at most):"
                                                     : "    accounts (rows):";
  const size_t shown = std::min(loss.accounts.size(), kShownMax);
  for (size_t i = 0; i < shown; ++i) {
    fmt::format_to(to, " {} ({})", loss.accounts[i].first, loss.accounts[i].second);
  }
  const uint64_t more = loss.accounts.size() - shown + loss.accounts_left_out;
  if (more > 0) fmt::format_to(to, " and {} more", more);
  return out + '\n';
}

void AppendFindings(const RepairReport& report, RepairFinding::Kind kind, std::string_view title,
                    std::string* out) {
  bool first = true;
  for (const RepairFinding& finding : report.findings) {
    if (finding.kind != kind) continue;
    if (first) *out += fmt::format("{}\n", title);
    first = false;
    const bool named = finding.what.find(finding.file) != std::string::npos;
    *out +=
        fmt::format("  {}{} ({})\n", named ? "" : finding.file + ": ", finding.what, finding.code);
  }
}

void AppendLosses(const RepairReport& report, std::string* out) {
  if (report.rows_lost == 0 && !report.more_lost) {
    *out += report.manifest_lost ? "No lost row is known.\n" : "No row is lost.\n";
    return;
  }
  if (report.rows_lost == 0) {
    *out += "LOST, perhaps: rows behind those that are kept; nothing is left to count them by.\n";
  } else {
    *out += fmt::format("LOST: {} rows, quantity {}\n", report.rows_lost,
                        report.quantity_lost.value_or("not known"));
  }
  for (const RepairLoss& loss : report.losses) *out += LossText(loss);
  if (report.rows_lost > 0 && report.more_lost) {
    *out += "  Rows behind these may have been lost too; nothing is left to count them by.\n";
  }
  *out +=
      "  The ids of lost rows are forgotten: an event that is sent again is accepted, and counted "
      "once.\n"
      "  Restore a backup instead, if there is one, or have the events of that time sent again.\n";
}

std::string Escaped(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string_view KindName(RepairFinding::Kind kind) {
  switch (kind) {
    case RepairFinding::Kind::kDamage:
      return "damage";
    case RepairFinding::Kind::kRebuilt:
      return "rebuilt_by_start";
    case RepairFinding::Kind::kNote:
      return "note";
  }
  return "";
}

template <typename T>
std::string OrNull(const std::optional<T>& value) {
  return value.has_value() ? fmt::format("{}", *value) : "null";
}
std::string TextOrNull(const std::optional<std::string>& value) {
  return value.has_value() ? Escaped(*value) : "null";
}

template <typename List, typename One>
std::string Array(const List& list, One&& one) {
  std::string out = "[";
  for (const auto& item : list) {
    if (out.size() > 1) out += ',';
    out += one(item);
  }
  return out + ']';
}

std::string FindingJson(const RepairFinding& finding) {
  return fmt::format(R"({{"code":{},"file":{},"kind":{},"offset":{},"what":{}}})",
                     Escaped(finding.code), Escaped(finding.file), Escaped(KindName(finding.kind)),
                     OrNull(finding.offset), Escaped(finding.what));
}

std::string LossJson(const RepairLoss& loss) {
  const auto account = [](const auto& pair) {
    return fmt::format(R"({{"account_id":{},"rows":{}}})", Escaped(pair.first), pair.second);
  };
  const auto range = [](const LsnRange& lsns) {
    return fmt::format("[{},{}]", lsns.first.value, lsns.last.value);
  };
  const std::string times =
      loss.timestamps_ms.has_value()
          ? fmt::format("[{},{}]", loss.timestamps_ms->first, loss.timestamps_ms->second)
          : "null";
  return fmt::format(R"({{"accounts":{},"accounts_left_out":{},"counted":{},"file":{},"lsns":{},)"
                     R"("lsns_left_out":{},"quantity":{},"rows":{},"timestamps_ms":{}}})",
                     Array(loss.accounts, account), loss.accounts_left_out, OrNull(loss.counted),
                     Escaped(loss.file), Array(loss.lsns, range), loss.lsns_left_out,
                     TextOrNull(loss.quantity), loss.rows, times);
}

std::string WayJson(const RepairWay& way) {
  return fmt::format(R"({{"name":{},"quantity_kept":{},"rows_kept":{},"rows_lost":{},"what":{}}})",
                     Escaped(way.name), Escaped(way.quantity_kept), way.rows_kept, way.rows_lost,
                     Escaped(way.what));
}

}  // namespace

std::string RepairReportText(const RepairReport& report) {
  std::string out = fmt::format("{}: database {}\n", report.directory, report.database_id);
  AppendFindings(report, RepairFinding::Kind::kDamage, "Damaged:", &out);
  AppendFindings(report, RepairFinding::Kind::kRebuilt,
                 "Will be rebuilt by the next start, without a repair:", &out);
  AppendFindings(report, RepairFinding::Kind::kNote, "To be noted:", &out);
  if (!report.damaged) {
    return out + fmt::format("{} rows, quantity {}: {}.\n", report.rows_kept, report.quantity_kept,
                             report.applied
                                 ? "the earlier repair is complete, nothing is left to do"
                                 : "nothing to repair");
  }
  AppendLosses(report, &out);
  out += fmt::format("Kept: {} rows ({} of them conflicts), quantity {}, up to LSN {}\n",
                     report.rows_kept, report.rows_quarantined, report.quantity_kept,
                     report.last_lsn.value);
  if (report.first_renumbered.value != 0) {
    out +=
        fmt::format("Rows behind LSN {} get new LSNs: what was noted of an LSN is another row's.\n",
                    report.first_renumbered.value - 1);
  }
  for (const RepairWay& way : report.ways) {
    out += fmt::format("Way \"{}\": {} rows kept (quantity {}), {} lost: {}\n", way.name,
                       way.rows_kept, way.quantity_kept, way.rows_lost, way.what);
  }
  if (!report.applied) return out + "Nothing was changed.\n";
  return out +
         fmt::format(
             "Applied: {} segments kept, {} written; incarnation {}; {} files set aside in {}\n",
             report.segments_kept, report.segments_written, report.incarnation,
             report.files_set_aside, report.set_aside);
}

std::string RepairReportJson(const RepairReport& report) {
  std::string out = fmt::format(
      R"({{"applied":{},"damaged":{},"database_id":{},"directory":{},"files_set_aside":{},)"
      R"("findings":{},"first_renumbered":{},"incarnation":{},"last_lsn":{},"losses":{},)"
      R"("manifest_lost":{},)",
      report.applied, report.damaged, Escaped(report.database_id), Escaped(report.directory),
      report.files_set_aside, Array(report.findings, FindingJson), report.first_renumbered.value,
      Escaped(report.incarnation), report.last_lsn.value, Array(report.losses, LossJson),
      report.manifest_lost);
  return out + fmt::format(R"("more_lost":{},"quantity_kept":{},"quantity_lost":{},"rows_kept":{},)"
                           R"("rows_lost":{},"rows_quarantined":{},"segments_kept":{},)"
                           R"("segments_written":{},"set_aside":{},"ways":{}}})"
                           "\n",
                           report.more_lost, Escaped(report.quantity_kept),
                           TextOrNull(report.quantity_lost), report.rows_kept, report.rows_lost,
                           report.rows_quarantined, report.segments_kept, report.segments_written,
                           Escaped(report.set_aside), Array(report.ways, WayJson));
}

}  // namespace tallystick
