// Invariants:
//   1. Nothing is written, no directory made, before all of the source has been read and judged.
//   2. All first copies are answered before any further copy is sent: batches may change places,
//   and
//      the first copy of an event must be the one that counts.
//   3. The proof uses the sums of the survey, which come from the source's rows alone. For each
//   account
//      and meter: what the database held before, and what the source has and the database did not
//      have before, is what it holds now.
#include "tallystick/usagedb.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "engine/usagedb_sender.h"
#include "engine/usagedb_survey.h"
#include "engine/usagedb_totals.h"

namespace tallystick {
namespace {

constexpr size_t kFaultsMax = 100;
constexpr uint64_t kProgressRows = 1 << 16;

OpenOptions DbOptions(const UsageDbImportOptions& options) {
  OpenOptions open = options.open;
  open.limits.format_only = true;
  open.limits.timestamp_ahead_ms_max = INT64_MAX;
  open.background_bytes_per_second = 0;  // nobody else waits for the disk
  open.scrub_bytes_per_second = 0;
  constexpr uint32_t kGroupBytes = 8 << 20;  // a sync for several batches
  open.group_bytes_max =
      std::max(open.group_bytes_max, std::min(kGroupBytes, open.batch_bytes_max));
  open.commit_gap_us = 0;
  open.query_ms_max = 0;
  open.query_memory_bytes_max = 0;
  open.flush_on_close_ms_max = 3'600'000;  // so that the next start has nothing to replay
  return open;
}

class Importer {
 public:
  Importer(UsageDbSource& source, UsageDbSurvey& survey, Db& db, Env& env,
           const UsageDbImportOptions& options)
      : source_(source), survey_(survey), db_(db), env_(env), options_(options) {}

  Status Run() {
    TALLY_ASSIGN_OR_RETURN(before_, TotalsOfDb(db_));
    report().written = true;
    TALLY_RETURN_IF_ERROR(SendAll(/*first_copies=*/true));
    if (report().events < report().rows) TALLY_RETURN_IF_ERROR(SendAll(/*first_copies=*/false));
    return Prove();
  }

 private:
  UsageDbImportReport& report() { return survey_.report; }

  void Fault(std::string what) {
    ++report().fault_count;
    if (report().faults.size() < kFaultsMax) report().faults.push_back(std::move(what));
  }

  Status SendAll(bool first_copies) {
    UsageDbSender sender(db_, env_.clock(), options_.batch_events, options_.trouble_wait_ms,
                         [this](const UsageDbSender::Outcome& outcome) { Take(outcome); });
    uint64_t ordinal = 0;
    uint64_t end = 0;  // of the file
    bool changed = false;
    UsageDbSource::Visitor visitor;
    visitor.file = [&](size_t index) {
      const SurveyedFile& file = survey_.files[index];
      if (!first_copies && !file.has_copies) return false;
      changed |= ordinal != end;
      ordinal = file.begin;
      end = file.end;
      return true;
    };
    visitor.row = [&](const usagedb::Row& row) -> Status {
      if (ordinal >= end) return Changed();
      Progress(first_copies ? "importing" : "importing copies", ordinal);
      const RowFate fate = survey_.fates[ordinal++];
      const bool wanted = first_copies ? fate == RowFate::kFirst
                                       : fate == RowFate::kDuplicate || fate == RowFate::kConflict;
      if (!wanted) return Status::Ok();
      return sender.Add(row.event, {fate, AlreadyOf(row.event), row.event.quantity});
    };
    TALLY_RETURN_IF_ERROR(source_.Walk(visitor));
    TALLY_RETURN_IF_ERROR(sender.Finish());
    return !changed && ordinal == end ? Status::Ok() : Changed();
  }

  static Status Changed() {
    return Status::FailedPrecondition("source_changed",
                                      "the source has changed while it was imported");
  }

  void Progress(std::string_view phase, uint64_t rows) {
    if (options_.progress && rows % kProgressRows == 0) {
      options_.progress({phase, rows, survey_.fates.size()});
    }
  }

  // Where what was there before is added up. Neighbours are mostly of one account and meter.
  UsageTotal* AlreadyOf(const EventView& event) {
    if (last_ == already_.end() || last_->first.first != event.account_id ||
        last_->first.second != event.meter_id) {
      last_ =
          already_.try_emplace({std::string(event.account_id), std::string(event.meter_id)}).first;
    }
    return &last_->second;
  }

  void Take(const UsageDbSender::Outcome& answer) {
    const RowFate fate = answer.row.fate;
    const OutcomeKind kind = answer.outcome.kind;
    if (kind == OutcomeKind::kRejected) {
      return Fault(fmt::format("event {} was rejected: {}", answer.event_id,
                               answer.outcome.rejection.message));
    }
    if (fate == RowFate::kFirst) return TakeFirst(answer);
    const OutcomeKind expected =
        fate == RowFate::kDuplicate ? OutcomeKind::kDuplicate : OutcomeKind::kConflict;
    if (kind != expected) {
      Fault(
          fmt::format("a further copy of event {} was judged otherwise than the source's rows say",
                      answer.event_id));
    }
  }

  void TakeFirst(const UsageDbSender::Outcome& answer) {
    switch (answer.outcome.kind) {
      case OutcomeKind::kAccepted:
        ++report().accepted;
        return;
      case OutcomeKind::kDuplicate:
        answer.row.already->Add(answer.row.quantity);
        ++report().already_there;
        return;
      default:
        Fault(fmt::format("event {} was not counted: the database has another one with this id",
                          answer.event_id));
    }
  }

  Status Prove() {
    if (options_.progress) options_.progress({"proving", 0, report().events});
    TALLY_ASSIGN_OR_RETURN(const UsageTotals after, TotalsOfDb(db_));
    report().lsn = db_.VisibleLsn();
    UsageTotals expected = before_;
    for (const auto& [key, total] : survey_.totals) expected[key].Add(total);
    for (const auto& [key, total] : already_) {
      if (total.count == 0) continue;
      UsageTotal& line = expected[key];
      line.sum.Add(total.sum.Negated());
      line.count -= total.count;
      report().held_more |= before_[key] != total;
    }
    for (const auto& [key, total] : before_) {
      const auto same = already_.find(key);
      report().held_more |= same == already_.end() ? total.count > 0 : same->second != total;
    }
    Compare(expected, after);
    return Status::Ok();
  }

  void Compare(const UsageTotals& expected, const UsageTotals& after) {
    for (const auto& [key, total] : expected) {
      const auto found = after.find(key);
      const UsageTotal got = found == after.end() ? UsageTotal{} : found->second;
      if (got == total) continue;
      Fault(fmt::format("account {}, meter {}: {} events with {} were to be there, {} with {} are",
                        key.first, key.second, total.count, total.sum.ToString(), got.count,
                        got.sum.ToString()));
    }
    for (const auto& [key, total] : after) {
      if (expected.contains(key)) continue;
      Fault(fmt::format("account {}, meter {}: {} events with {} are there that nobody sent",
                        key.first, key.second, total.count, total.sum.ToString()));
    }
  }

  UsageDbSource& source_;
  UsageDbSurvey& survey_;
  Db& db_;
  Env& env_;
  const UsageDbImportOptions& options_;
  UsageTotals before_;
  UsageTotals already_;
  UsageTotals::iterator last_ = already_.end();
};

// What the report says as a whole.
Status Verdict(const UsageDbImportReport& report, bool skip_damaged) {
  if (report.damages > 0) {
    return Status(StatusCode::kCorruption, "damaged",
                  fmt::format("{} faults of the source{}", report.damages,
                              report.written ? ": what they hit was left out"
                              : skip_damaged ? ""
                                             : "; nothing was written"));
  }
  if (!report.faults.empty()) {
    return Status::FailedPrecondition(
        "not_proven", "the database does not hold what the source does: " + report.faults.front());
  }
  if (report.leftover_events > 0) {
    return Status(StatusCode::kCorruption, "leftover_events",
                  fmt::format("{} events stand only in segments that no manifest names, and were "
                              "left out",
                              report.leftover_events));
  }
  if (report.refused > 0) {
    return Status::InvalidArgument(
        "refused", fmt::format("{} events cannot be held, and were left out", report.refused));
  }
  if (report.sidecars_corrupt > 0) {
    return Status(StatusCode::kCorruption, "sidecar_corrupt",
                  fmt::format("{} sidecars of the source are damaged; its rows are not",
                              report.sidecars_corrupt));
  }
  return Status::Ok();
}

Status Import(UsageDbSource& source, UsageDbSurvey& survey, const std::string& directory, Env& env,
              const UsageDbImportOptions& options) {
  TALLY_ASSIGN_OR_RETURN(Db db, Db::Open(directory, DbOptions(options)));
  if (db.GetStatus().identity_scope != IdentityScope::kGlobal) {
    return Status::FailedPrecondition(
        "identity_scope", directory + " identifies events by account and id, usageDb by id alone");
  }
  const int64_t start = env.clock().MonotonicMicros();
  TALLY_RETURN_IF_ERROR(Importer(source, survey, db, env, options).Run());
  survey.report.importing_us = env.clock().MonotonicMicros() - start;
  return db.Close();
}

}  // namespace

Result<UsageDbImportReport> ImportUsageDb(const std::string& source, const std::string& directory,
                                          const UsageDbImportOptions& options) {
  Env& env = options.open.env != nullptr ? *options.open.env : Env::Real();
  if (options.batch_events == 0 || options.batch_events > options.open.batch_events_max ||
      options.keys_per_pass == 0) {
    return Status::InvalidArgument(
        "invalid_options",
        fmt::format("batch_events is {}, must be 1..{}; keys_per_pass is {}", options.batch_events,
                    options.open.batch_events_max, options.keys_per_pass));
  }
  TALLY_ASSIGN_OR_RETURN(const auto opened, UsageDbSource::Open(env.fs(), source));
  const int64_t start = env.clock().MonotonicMicros();
  TALLY_ASSIGN_OR_RETURN(UsageDbSurvey survey, SurveyUsageDb(*opened, options));
  survey.report.reading_us = env.clock().MonotonicMicros() - start;
  const bool refused = survey.report.damages > 0 && !options.skip_damaged;
  if (!options.dry_run && !refused) {
    TALLY_RETURN_IF_ERROR(Import(*opened, survey, directory, env, options));
  }
  survey.report.status = Verdict(survey.report, options.skip_damaged);
  return std::move(survey.report);
}

}  // namespace tallystick
