// Prober: asks the sidecars of all segments which events of a batch are known.
//
// A batch is probed run by run: all of its keys against one filter, then the pages for what the
// filter lets through. What needs no page is answered in the caller's thread; the rest goes to the
// prober's tasks (or stays with a caller that may block).
//
// Fail closed: a segment whose keys nobody knows (no sidecar, no key table) refuses the request
// with `dedupe_rebuilding`. A probe that fails takes the sidecar out of use, so that it is rebuilt.
//
// Thread rule: any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "base/mutex.h"
#include "engine/committer.h"
#include "engine/request.h"
#include "engine/version_store.h"
#include "model/batch_builder.h"

namespace tallystick {

class Prober {
 public:
  // Called when a segment's sidecar turned out not to be readable; takes it out of use.
  using OnBadSidecar = std::function<void(const LiveSegment&, const SidecarReader*, const Status&)>;

  // What a request is refused with while a segment has no sidecar.
  using Rebuilding = std::function<Status(const LiveSegment&)>;

  Prober(VersionStore& versions, Committer& committer, OnBadSidecar on_bad_sidecar,
         Rebuilding rebuilding)
      : versions_(versions),
        committer_(committer),
        on_bad_sidecar_(std::move(on_bad_sidecar)),
        rebuilding_(std::move(rebuilding)) {}

  // Probes an admitted request, and passes it to the committer or refuses it. `may_block` false: a
  // request that needs pages is left to the tasks.
  void Start(Request request, bool may_block);
  // Leaves an admitted request to the tasks.
  void Queue(Request request);

  // The segments' part of the verdict on a batch now.
  Result<ProbeResult> Probe(const BatchBuilder& batch, const IngestOptions& options);

  StepResult Step();
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }
  uint64_t queued_in_all() const;

 private:
  class Pass;

  VersionStore& versions_;
  Committer& committer_;
  const OnBadSidecar on_bad_sidecar_;
  const Rebuilding rebuilding_;
  std::function<void()> wake_;
  mutable Mutex mutex_;
  std::deque<Request> queue_ GUARDED_BY(mutex_);
  uint64_t queued_in_all_ GUARDED_BY(mutex_) = 0;
};

}  // namespace tallystick
