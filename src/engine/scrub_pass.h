// ScrubPass: one reading of every file that counts, from its first byte to its last, in bounded
// pieces and beside everything else that goes on.
//
//   IDENTITY, manifest   the bytes are those that the engine holds
//   N.idx                CheckSidecar; its entries are kept as a sum
//   N.sum                every block, every line in order
//   wal/N                every frame that is durable
//                        (where there is no log yet: last of all)
//   N.seg                CheckSegment; every row is hashed again, and the sum of these entries must
//                        be that of N.idx; the lines of N.sum must be those that the rows give
//
// Segments are taken in turn from one drawn at random. Files are opened anew by their names, so
// that a file that has gone is noticed. Nothing goes through the block cache. What goes out of use
// while it is read (a log file that was flushed, a segment that left the version) is left alone,
// and no fault. New files wait for the next pass: they were read back when they were written.
//
// Thread rule: one thread; the counters are the caller's to guard.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dedupe/sidecar_check.h"
#include "engine/layout.h"
#include "engine/log_keeper.h"
#include "engine/manifest_store.h"
#include "engine/sidecar_keeper.h"
#include "engine/version_store.h"
#include "manifest/manifest.h"
#include "segment/segment_check.h"
#include "tallystick/db.h"
#include "tallystick/options.h"
#include "wal/wal_check.h"

namespace tallystick {

// What a pass reads and whom it tells. All of it outlives the pass.
struct ScrubSources {
  Env& env;
  const Layout& layout;
  const OpenOptions& options;
  const Identity& identity;
  const ManifestStore& manifests;
  const VersionStore& versions;
  const LogKeeper& log;
  SidecarKeeper& sidecars;
  std::function<FrameNumber()> next_frame;  // all below it are durable, once there is a log
  std::function<bool()> stopped;  // the database is being closed: what takes long gives up
};

// "PATH at offset N: what" taken apart.
ScrubFinding FindingOf(const std::string& path, const Status& status);

class ScrubPass {
 public:
  using OnFault = std::function<void(const ScrubFinding&)>;
  ScrubPass(const ScrubSources& sources, OnFault on_fault);
  ~ScrubPass();

  enum class Outcome : uint8_t {
    kAgain,
    kNoLogYet,  // all but the log is done, for which recovery has found no room; try again later
    kDone,
  };
  // One bounded piece; a rollup is read, and recomputed, in one.
  Outcome Step();

  const std::string& file() const { return file_; }  // at hand
  uint64_t files() const { return files_; }          // done
  uint64_t bytes() const { return bytes_; }          // read
  uint64_t bytes_expected() const { return bytes_expected_; }
  // Of the sidecars and rollups, whose damage would keep ingest waiting or reads slow.
  bool in_siblings() const { return stage_ == Stage::kSidecars || stage_ == Stage::kRollups; }

 private:
  enum class Stage : uint8_t {
    kIdentity,
    kManifest,
    kSidecars,
    kRollups,
    kLog,
    kRows,
    kLateLog,
    kDone
  };
  // The sum of the hashes of entries, in any order.
  struct EntrySum {
    uint64_t low = 0;
    uint64_t high = 0;
    void Add(const SidecarEntry& entry);
    friend bool operator==(const EntrySum&, const EntrySum&) = default;
  };
  // Weak, so that what leaves the version gives its space back at once.
  struct Item {
    std::weak_ptr<const LiveSegment> segment;
    std::weak_ptr<SidecarReader> summed;  // the one that `entries` is of
    EntrySum entries;
  };
  struct SidecarJob;
  struct RowsJob;

  void StepIdentity();
  void StepManifest();
  void StepSidecar();
  bool BeginSidecar(const LiveSegment& segment);
  void StepRollup();
  void StepLog();
  bool BeginLogFile();
  void StepRows();
  bool BeginRows(const LiveSegment& segment);
  Result<bool> ReadRows();
  void CompareSidecar(const LiveSegment& segment);
  void CompareRollup(const LiveSegment& segment);

  // The item's segment as long as it is in the version.
  std::shared_ptr<const LiveSegment> Live(const Item& item) const;
  std::string PathOf(const LiveSegment& segment, std::string (*name)(FileNumber)) const;
  Status CompareFile(const std::string& path, ByteSpan expected);
  void Fault(const std::string& path, const Status& status);
  void BadRows(const LiveSegment& segment, const Status& status);
  void BadSidecar(const LiveSegment& segment, const SidecarReader* installed, const Status& status);
  void BadRollup(const LiveSegment& segment, const RollupReader* installed, const Status& status);
  void BadLog(const Status& status);
  // On to the next segment of the stage, with the last one to the next stage.
  void NextItem();
  void NextStage();

  const ScrubSources sources_;
  const OnFault on_fault_;
  BlockCache cache_;  // its own
  std::vector<Item> items_;
  Stage stage_ = Stage::kIdentity;
  size_t item_ = 0;
  std::string file_;
  uint64_t files_ = 0;
  uint64_t bytes_ = 0;
  uint64_t bytes_expected_ = 0;

  std::unique_ptr<SidecarJob> sidecar_;
  std::unique_ptr<RowsJob> rows_;
  bool log_is_late_ = false;  // there was none when it was due: it is read last
  std::unique_ptr<WalFileChecker> log_;
  FileNumber log_number_;  // of the file at hand, or of the last one
  FrameNumber log_end_;
};

}  // namespace tallystick
