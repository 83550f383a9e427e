// For tests: a sidecar that is sound in itself, and not of its segment's rows.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "dedupe/sidecar_reader.h"
#include "dedupe/sidecar_writer.h"
#include "engine/sidecar_rebuild.h"
#include "segment/segment_reader.h"
#include "testing/rig.h"

namespace tallystick {

// The rows of the nth segment, whose sidecar is there.
inline Result<std::unique_ptr<SegmentReader>> OpenRows(Rig& rig, size_t nth, BlockCache& cache) {
  FileSystem& fs = rig.machine.fs();
  const auto binding = SidecarReader::ReadBinding(fs, rig.Files(".idx")[nth]);
  if (!binding.ok()) return binding.status();
  return SegmentReader::Open(fs, rig.Files(".seg")[nth],
                             {binding->database_id, binding->number, binding->footer_checksum},
                             cache);
}

// Writes the nth segment's sidecar anew, of its keys as `forge` leaves them. REQUIRES: closed.
inline void ForgeSidecar(Rig& rig, size_t nth,
                         const std::function<void(std::vector<SidecarEntry>&)>& forge) {
  FileSystem& fs = rig.machine.fs();
  const std::string path = rig.Files(".idx")[nth];
  BlockCache cache(1 << 20);
  const auto binding = SidecarReader::ReadBinding(fs, path);
  ASSERT_TRUE(binding.ok());
  const auto rows = OpenRows(rig, nth, cache);
  ASSERT_TRUE(rows.ok());
  auto entries = KeysOfSegment(**rows, IdentityScope::kGlobal);
  ASSERT_TRUE(entries.ok());
  forge(*entries);
  ASSERT_TRUE(fs.Remove(path).ok());
  ASSERT_TRUE(WriteSidecar(fs, path, *binding, *std::move(entries), nullptr).ok());
  ASSERT_TRUE(fs.SyncDir(Rig::kSegments).ok());
}

}  // namespace tallystick
