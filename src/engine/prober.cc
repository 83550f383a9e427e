// Invariants:
//  1. ProbeResult::covered names only segments that were asked through verified pages.
//  2. A conflict's own key is looked up in the same segments as the event's.
#include "engine/prober.h"

#include <algorithm>
#include <optional>

#include "base/result.h"
#include "model/identity.h"
#include "query/row_scan.h"

namespace tallystick {

// One look at the segments of one version.
class Prober::Pass {
 public:
  Pass(std::shared_ptr<const DataVersion> version, Lsn dropped, const Rebuilding& rebuilding,
       const BatchBuilder& batch)
      : version_(std::move(version)), dropped_(dropped), rebuilding_(rebuilding), batch_(batch) {}

  struct Bad {
    const LiveSegment* segment;
    std::shared_ptr<SidecarReader> sidecar;
    Status status;
  };

  // none: a page would have to be read, and `may_read` is false.
  Result<std::optional<ProbeResult>> Run(const IngestOptions& options, bool may_read) {
    TALLY_RETURN_IF_ERROR(ChooseSegments());
    for (uint32_t i = 0; i < batch_.entries().size(); ++i) {
      if (batch_.entries()[i].rejected()) continue;
      keys_.push_back(batch_.entries()[i].id_hash);
      entry_of_.push_back(i);
    }
    TALLY_ASSIGN_OR_RETURN(const bool whole, Look(may_read, /*conflicts=*/false));
    if (!whole) return std::optional<ProbeResult>();
    if (!conflicting_.empty()) TALLY_RETURN_IF_ERROR(LookForConflicts());
    if (options.originals) FindOriginals();
    std::ranges::sort(hits_, {}, [](const Hit& hit) { return hit.out.entry; });
    for (const Hit& hit : hits_) result_.hits.push_back(hit.out);
    return std::optional<ProbeResult>(std::move(result_));
  }

  // What made Run fail, where that was a sidecar.
  const std::optional<Bad>& bad() const { return bad_; }

 private:
  struct Place {
    const LiveSegment* segment = nullptr;
    uint32_t row = 0;
  };
  struct Hit {
    ProbeHit out;
    Place original;
    Place conflict;
  };
  struct Asked {
    const LiveSegment* segment;
    std::shared_ptr<SidecarReader> sidecar;
  };

  // Those that answer, up to the first that does not. Behind it key tables must.
  Status ChooseSegments() {
    for (const auto& segment : version_->segments) {
      auto sidecar = segment->sidecar();
      if (sidecar == nullptr) {
        if (segment->listed().last_lsn > dropped_) break;
        return rebuilding_(*segment);
      }
      result_.covered = segment->listed().last_lsn;
      asked_.push_back({segment.get(), std::move(sidecar)});
    }
    return Status::Ok();
  }

  Result<bool> Look(bool may_read, bool conflicts) {
    for (const Asked& run : asked_) {
      candidates_.clear();
      run.sidecar->Filter(keys_, &candidates_);
      if (candidates_.empty()) continue;
      if (!may_read) return false;
      found_.assign(candidates_.size(), std::nullopt);
      if (Status status = run.sidecar->Find(keys_, candidates_, found_); !status.ok()) {
        bad_ = Bad{run.segment, run.sidecar, status};
        return status;
      }
      for (size_t k = 0; k < candidates_.size(); ++k) {
        if (!found_[k].has_value()) continue;
        if (conflicts) {
          Hit& hit = hits_[conflicting_[candidates_[k]]];
          hit.out.conflict_kept = true;
          hit.conflict = {run.segment, found_[k]->row};
        } else {
          AddHit(entry_of_[candidates_[k]], *run.segment, *found_[k]);
        }
      }
    }
    return true;
  }

  void AddHit(uint32_t index, const LiveSegment& segment, const SidecarReader::Found& found) {
    Hit hit;
    hit.out.entry = index;
    hit.out.same_payload = found.payload_hash == batch_.entries()[index].payload_hash;
    hit.original = {&segment, found.row};
    if (!hit.out.same_payload) conflicting_.push_back(static_cast<uint32_t>(hits_.size()));
    hits_.push_back(hit);
  }

  Status LookForConflicts() {
    keys_.clear();
    for (const uint32_t hit : conflicting_) {
      const BatchBuilder::Entry& entry = batch_.entries()[hits_[hit].out.entry];
      keys_.push_back(ConflictKey(entry.id_hash, batch_.canonical(entry)));
    }
    return Look(/*may_read=*/true, /*conflicts=*/true).status();
  }

  // Only for the answer: where a row cannot be read its LSN stays unsaid.
  void FindOriginals() {
    auto lsn_of = [](const Place& place) {
      if (place.segment == nullptr) return Lsn{0};
      const auto lsn = place.segment->rows().LsnOfRow(place.row);
      if (!lsn.ok()) IgnoreError(NoteDamage(*place.segment, lsn.status()), "the LSN stays unsaid");
      return lsn.ok() ? *lsn : Lsn{0};
    };
    for (Hit& hit : hits_) {
      hit.out.original = lsn_of(hit.original);
      hit.out.conflict = lsn_of(hit.conflict);
    }
  }

  const std::shared_ptr<const DataVersion> version_;
  const Lsn dropped_;
  const Rebuilding& rebuilding_;
  const BatchBuilder& batch_;
  ProbeResult result_;
  std::vector<Asked> asked_;
  std::vector<EventHash> keys_;
  std::vector<uint32_t> entry_of_;  // by key
  std::vector<Hit> hits_;
  std::vector<uint32_t> conflicting_;  // indexes into hits_; in the second look, by key
  std::vector<uint32_t> candidates_;
  std::vector<std::optional<SidecarReader::Found>> found_;
  std::optional<Bad> bad_;
};

void Prober::Start(Request request, bool may_block) {
  const BatchBuilder& batch = BatchBuilder::Of(request.batch);
  if (may_block) {
    auto probe = Probe(batch, request.options);
    if (!probe.ok()) return committer_.Refuse(std::move(request), probe.status());
    request.probe = *std::move(probe);
    return committer_.Enqueue(std::move(request));
  }
  // Dropped first: a table that is dropped later makes the committer send the request back.
  const Lsn dropped = committer_.dropped_lsn();
  Pass pass(versions_.Current(), dropped, rebuilding_, batch);
  auto probe = pass.Run(request.options, /*may_read=*/false);
  if (!probe.ok()) return committer_.Refuse(std::move(request), probe.status());
  if (!probe->has_value()) return Queue(std::move(request));
  request.probe = **std::move(probe);
  committer_.Enqueue(std::move(request));
}

void Prober::Queue(Request request) {
  {
    MutexLock lock(mutex_);
    queue_.push_back(std::move(request));
    ++queued_in_all_;
  }
  if (wake_) wake_();
}

Result<ProbeResult> Prober::Probe(const BatchBuilder& batch, const IngestOptions& options) {
  while (true) {
    const Lsn dropped = committer_.dropped_lsn();
    Pass pass(versions_.Current(), dropped, rebuilding_, batch);
    auto probe = pass.Run(options, /*may_read=*/true);
    if (probe.ok()) return **std::move(probe);
    if (!pass.bad().has_value()) return probe.status();
    // Once more without it: a key table may know its rows, else the request is refused.
    on_bad_sidecar_(*pass.bad()->segment, pass.bad()->sidecar.get(), pass.bad()->status);
  }
}

StepResult Prober::Step() {
  std::optional<Request> request;
  {
    MutexLock lock(mutex_);
    if (queue_.empty()) return StepResult::Wait();
    request = std::move(queue_.front());
    queue_.pop_front();
  }
  Start(*std::move(request), /*may_block=*/true);
  return StepResult::Again();
}

uint64_t Prober::queued_in_all() const {
  MutexLock lock(mutex_);
  return queued_in_all_;
}

}  // namespace tallystick
