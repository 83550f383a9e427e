// What usageDb keeps of a segment's rows beside them: its entry of the manifest and its sidecar.
//
// Thread rule: free functions.
#pragma once

#include <span>
#include <vector>

#include "usagedb/manifest.h"
#include "usagedb/segment.h"
#include "usagedb/udbidx01.h"

namespace tallystick::usagedb {

// All of the entry but segment_id, bucket and checksum. REQUIRES: rows in the order of a segment,
// at least one; whole quantities.
SegmentMeta MetaOf(std::span<const Row> rows);

// One for each row, in their order. REQUIRES: what HashOfPayload requires.
std::vector<udbidx01::DedupeEntry> KeysOf(std::span<const Row> rows);

}  // namespace tallystick::usagedb
