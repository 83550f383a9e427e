// What an operator can do with the dedupe sidecars of a database that no process has open. A server
// needs none of it: it notices a missing or damaged sidecar and rebuilds it by itself.
//
// Errors: kFailedPrecondition `locked`, kNotFound `database_not_found`, kCorruption and kIoError of
// the manifest or of a segment.
// Thread rule: one call at a time on a directory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tallystick/options.h"
#include "tallystick/status.h"

namespace tallystick {

struct SidecarReport {
  uint64_t segment = 0;  // its number
  std::string file;      // of the sidecar, or the one that was written
  uint64_t entries = 0;
  uint64_t left_out = 0;  // export: quarantined rows
  // ok; kNotFound: there is none; else what is wrong with it, or why it could not be made.
  Status status;
};
using SidecarReports = std::vector<SidecarReport>;                  // in LSN order
using OnSidecarReport = std::function<void(const SidecarReport&)>;  // as each is done; may be empty

// Verifies each sidecar whole, and hashes the rows of its segment again to compare.
Result<SidecarReports> CheckSidecars(const std::string& directory, const OpenOptions& options,
                                     const OnSidecarReport& done);

// Makes the missing and the damaged ones anew from their segments; with `all`, every one.
Result<SidecarReports> RebuildSidecars(const std::string& directory, const OpenOptions& options,
                                       bool all, const OnSidecarReport& done);

// Writes for each segment a sidecar in the layout of usageDb 0.4.0 to target/N.idx, one entry for
// each counted row in the segment's order. A quantity that is no whole 128-bit integer has no hash
// there: that segment's file is refused, naming the event. `target` is created; files in it with
// these names must not exist.
Result<SidecarReports> ExportSidecars(const std::string& directory, const OpenOptions& options,
                                      const std::string& target, const OnSidecarReport& done);

}  // namespace tallystick
