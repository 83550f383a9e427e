// Invariants:
//  1. Segments that stay do not overlap, and stay only before the first lost LSN.
//  2. Every LSN that any file has is in exactly one step.
//     Conflicts whose originals are lost are in none: they are lost as well.
//  3. Figures are those of the rows that would be written, read through the same RepairRows. Only a
//     whole segment that is rewritten because of its place counts by its footer.
#include "engine/repair_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "engine/repair_orphans.h"

namespace tallystick {
namespace {

constexpr size_t kListedMax = 1000;  // ranges and accounts of a loss

void Add(SegmentTotals* to, const SegmentTotals& totals) {
  to->rows += totals.rows;
  to->quarantined += totals.quarantined;
  to->quantity.Add(totals.quantity);
}

ExactSum Difference(ExactSum a, const ExactSum& b) {
  a.Add(b.Negated());
  return a;
}

SegmentTotals TotalsOf(const FoundSegment& segment) {
  const SegmentInfo& info = segment.rows->info();
  return {info.rows, info.quarantined, segment.quantity};
}

class Planner {
 public:
  Planner(FileSystem& fs, const Layout& layout, const RepairOptions& options, RepairPlan* plan)
      : fs_(fs), layout_(layout), options_(options), plan_(*plan), facts_(plan->facts) {}

  Status Run();

 private:
  // Known rows of a damaged file, and those of them that are kept.
  struct Account {
    const KnownRows* known = nullptr;
    SegmentTotals kept;
    bool exact = true;  // no segment is kept of which only a part is in question
  };

  void ChooseWhole();
  void TakeWhole(LsnRange gap);
  Status LeaveOutOrphans();
  void MakeSteps();
  Status AddUp();
  Status AddRows(LsnRange range);
  void AddSegment(const FoundSegment& segment);
  void ReportGaps();
  void ReportLosses();
  void ReportLoss(const Account& account, const LsnSet& lost);
  void ReportWays();

  FileSystem& fs_;
  const Layout& layout_;
  const RepairOptions& options_;
  RepairPlan& plan_;
  const RepairFacts& facts_;
  std::vector<const FoundSegment*> whole_;  // chosen, in LSN order, without overlap
  Lsn first_lost_;                          // 0: none
  std::vector<Account> accounts_;
  SegmentTotals before_;  // of the rows before the first lost one
  LsnSet orphans_;
  bool all_known_ = true;
  ExactSum quantity_lost_;
};

// Whole segments that no manifest names, to fill a gap: the longest first, of equal ones the
// newest.
void Planner::TakeWhole(LsnRange gap) {
  Lsn next = gap.first;
  while (next <= gap.last) {
    const FoundSegment* best = nullptr;
    for (const FoundSegment& segment : facts_.segments) {
      const LsnRange range = segment.range();
      if (!segment.whole() || segment.misnamed || range.first < next || range.last > gap.last) {
        continue;
      }
      const auto rank = [](const FoundSegment& s) {
        return std::tuple(s.range().first.value, ~s.range().last.value,
                          ~s.rows->info().number.value);
      };
      if (best == nullptr || rank(segment) < rank(*best)) best = &segment;
    }
    if (best == nullptr) return;
    whole_.push_back(best);
    next = {best->range().last.value + 1};
  }
}

void Planner::ChooseWhole() {
  for (const FoundSegment& segment : facts_.segments) {
    if (segment.listed && segment.whole()) whole_.push_back(&segment);
  }
  const auto by_lsn = [](const FoundSegment* segment) { return segment->range().first; };
  std::ranges::sort(whole_, {}, by_lsn);
  LsnSet taken;
  for (const FoundSegment* segment : whole_) taken.Add(segment->range());
  const LsnSet gaps = taken.MissingOf({{1}, facts_.last_lsn});
  for (const LsnRange& gap : gaps.ranges()) TakeWhole(gap);
  std::ranges::sort(whole_, {}, by_lsn);
}

Status Planner::LeaveOutOrphans() {
  TALLY_ASSIGN_OR_RETURN(orphans_,
                         FindOrphanedConflicts(fs_, layout_, facts_, whole_, first_lost_,
                                               options_.segment_rows_max, plan_.rows.get()));
  plan_.rows->LeaveOut(orphans_);
  std::erase_if(whole_, [this](const FoundSegment* segment) {
    return !orphans_.Within(segment->range()).empty();
  });
  return Status::Ok();
}

void Planner::MakeSteps() {
  Lsn next{1};
  const auto rewrite = [&](Lsn last) {
    if (next > last || plan_.rows->present().Within({next, last}).empty()) return;
    plan_.steps.push_back({nullptr, {next, last}});
  };
  for (const FoundSegment* segment : whole_) {
    const LsnRange range = segment->range();
    if (first_lost_.value != 0 && range.first > first_lost_) break;
    rewrite({range.first.value - 1});
    plan_.steps.push_back({segment, range});
    next = {range.last.value + 1};
  }
  rewrite(facts_.last_lsn);
}

void Planner::AddSegment(const FoundSegment& segment) {
  const SegmentTotals totals = TotalsOf(segment);
  const LsnRange range = segment.range();
  Add(&plan_.kept, totals);
  if (first_lost_.value == 0 || range.last < first_lost_) Add(&before_, totals);
  for (Account& account : accounts_) {
    const LsnRange& known = account.known->range;
    if (range.first >= known.first && range.last <= known.last) {
      Add(&account.kept, totals);
    } else if (range.first <= known.last && range.last >= known.first) {
      account.exact = false;
    }
  }
}

Status Planner::AddRows(LsnRange range) {
  return plan_.rows->ForEachChunk(
      range, options_.segment_rows_max, [this](const RepairChunk& chunk) {
        for (size_t i = 0; i < chunk.records.size(); ++i) {
          RowView row;
          if (!DecodeCanonical(chunk.records[i].canonical, &row)) {
            return Status::Corruption(fmt::format("row {} is no event", chunk.lsns[i].value));
          }
          SegmentTotals one{.rows = 1};
          if (chunk.records[i].disposition == Disposition::kQuarantined) {
            one.quarantined = 1;
          } else {
            one.quantity.Add(row.quantity);
          }
          const Lsn lsn = chunk.lsns[i];
          Add(&plan_.kept, one);
          if (first_lost_.value == 0 || lsn < first_lost_) Add(&before_, one);
          for (Account& account : accounts_) {
            const LsnRange& known = account.known->range;
            if (lsn >= known.first && lsn <= known.last) Add(&account.kept, one);
          }
        }
        return Status::Ok();
      });
}

Status Planner::AddUp() {
  for (const KnownRows& known : facts_.known) accounts_.push_back({.known = &known});
  Lsn next{1};
  for (const FoundSegment* segment : whole_) {
    const LsnRange range = segment->range();
    if (next < range.first) TALLY_RETURN_IF_ERROR(AddRows({next, {range.first.value - 1}}));
    AddSegment(*segment);
    next = {range.last.value + 1};
  }
  if (next > facts_.last_lsn) return Status::Ok();
  return AddRows({next, facts_.last_lsn});
}

void Planner::ReportGaps() {
  if (facts_.manifest.has_value()) return;
  for (const LsnRange& range : plan_.lost.ranges()) {
    plan_.report.findings.push_back(FindingOf(
        "lsn_gap", plan_.report.directory,
        fmt::format("no file has the rows {} to {}", range.first.value, range.last.value)));
  }
}

void Planner::ReportLoss(const Account& account, const LsnSet& lost) {
  const KnownRows& known = *account.known;
  RepairLoss& loss = plan_.report.losses.emplace_back();
  loss.file = known.file;
  loss.rows = lost.count();
  const auto ranges = lost.ranges();
  loss.lsns.assign(ranges.begin(), ranges.begin() + std::min(ranges.size(), kListedMax));
  loss.lsns_left_out = ranges.size() - loss.lsns.size();
  if (account.exact && known.counted.has_value()) {
    loss.counted = *known.counted - (account.kept.rows - account.kept.quarantined);
  }
  if (account.exact && known.quantity.has_value()) {
    const ExactSum quantity = Difference(*known.quantity, account.kept.quantity);
    loss.quantity = quantity.ToString();
    quantity_lost_.Add(quantity);
  } else {
    all_known_ = false;
  }
  loss.timestamps_ms = known.timestamps_ms;
  const size_t accounts = std::min(known.accounts.size(), kListedMax);
  loss.accounts.assign(known.accounts.begin(), known.accounts.begin() + accounts);
  loss.accounts_left_out = known.accounts.size() - accounts;
}

// Each lost LSN is said once: by the first damaged file that had it, else by the log.
void Planner::ReportLosses() {
  LsnSet said;
  for (const Account& account : accounts_) {
    const LsnSet lost = plan_.lost.Within(account.known->range);
    if (lost.empty()) continue;
    bool again = false;
    for (const LsnRange& range : lost.ranges()) again = again || !said.Within(range).empty();
    if (again) continue;
    ReportLoss(account, lost);
    said.Add(lost);
  }
  LsnSet rest;
  for (const LsnRange& range : plan_.lost.ranges()) rest.Add(said.MissingOf(range));
  // What is behind the listed segments was in the log; without a manifest nobody knows.
  const Lsn flushed = facts_.manifest.has_value() ? facts_.manifest->flushed_lsn : Lsn{0};
  const KnownRows of_segments{.file = "no file", .range = {{1}, flushed}};
  const KnownRows of_log{.file = facts_.manifest.has_value() ? layout_.wal_dir : "no file",
                         .range = {{flushed.value + 1}, facts_.last_lsn}};
  for (const KnownRows* known : {&of_segments, &of_log}) {
    const LsnSet lost = rest.Within(known->range);
    if (!lost.empty()) ReportLoss({.known = known}, lost);
  }
  if (orphans_.empty()) return;
  const KnownRows conflicts{.file = "conflicts whose original is lost",
                            .range = {},
                            .counted = 0,
                            .quantity = ExactSum()};
  ReportLoss({.known = &conflicts}, orphans_);
}

void Planner::ReportWays() {
  RepairReport& report = plan_.report;
  report.ways.push_back(
      {.name = "keep",
       .what =
           report.first_renumbered.value == 0
               ? "every row that can be read is kept, under its LSN; this is what --apply does"
               : "every row that can be read is kept, those behind the first lost one under new "
                 "LSNs; this is what --apply does",
       .rows_kept = plan_.kept.rows,
       .rows_lost = report.rows_lost,
       .quantity_kept = plan_.kept.quantity.ToString()});
  if (first_lost_.value == 0) return;
  report.ways.push_back(
      {.name = "cut",
       .what = "everything from the first lost row on is given up; only for comparison, it is not "
               "offered",
       .rows_kept = before_.rows,
       .rows_lost = plan_.kept.rows + report.rows_lost - before_.rows,
       .quantity_kept = before_.quantity.ToString()});
}

Status Planner::Run() {
  ChooseWhole();
  plan_.lost = plan_.rows->present().MissingOf({{1}, facts_.last_lsn});
  if (!plan_.lost.empty()) {
    first_lost_ = plan_.lost.ranges().front().first;
    TALLY_RETURN_IF_ERROR(LeaveOutOrphans());
  }
  MakeSteps();
  TALLY_RETURN_IF_ERROR(AddUp());

  RepairReport& report = plan_.report;
  report.database_id = facts_.identity.database_id.ToHex();
  report.findings = facts_.findings;
  ReportGaps();
  report.damaged = facts_.damaged() || !plan_.lost.empty();
  for (const RepairStep& step : plan_.steps) {
    if (step.kept == nullptr) continue;
    ++report.segments_kept;
    InspectSiblings(fs_, layout_, *step.kept, &report.findings);
  }
  report.rows_kept = plan_.kept.rows;
  report.rows_quarantined = plan_.kept.quarantined;
  report.quantity_kept = plan_.kept.quantity.ToString();
  report.rows_lost = plan_.lost.count() + orphans_.count();
  report.manifest_lost = report.damaged && !facts_.manifest.has_value();
  report.more_lost = facts_.more_lost;
  report.last_lsn = {plan_.kept.rows};
  if (first_lost_.value != 0 &&
      !plan_.rows->present().Within({first_lost_, facts_.last_lsn}).empty()) {
    report.first_renumbered = first_lost_;
  }
  if (!report.damaged) return Status::Ok();
  if (!orphans_.empty()) {
    report.findings.push_back(FindingOf(
        "conflict_orphaned", report.directory,
        fmt::format("{} conflicts whose originals are lost are lost as well; they were in no total",
                    orphans_.count())));
    report.findings.back().kind = RepairFinding::Kind::kNote;
  }
  ReportLosses();
  if (all_known_ && !facts_.more_lost) report.quantity_lost = quantity_lost_.ToString();
  ReportWays();
  return Status::Ok();
}

}  // namespace

Result<std::unique_ptr<RepairPlan>> MakeRepairPlan(FileSystem& fs, const Layout& layout,
                                                   const RepairOptions& options) {
  auto plan = std::make_unique<RepairPlan>();
  plan->report.directory = layout.root;
  TALLY_ASSIGN_OR_RETURN(plan->facts, InspectForRepair(fs, layout, options));
  plan->rows = std::make_unique<RepairRows>(fs, plan->facts);
  TALLY_RETURN_IF_ERROR(Planner(fs, layout, options, plan.get()).Run());
  return plan;
}

}  // namespace tallystick
