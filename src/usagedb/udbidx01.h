// usageDb's own dedupe sidecar, UDBIDX01, byte for byte: import, export, inspect. Tallystick's own
// is N.idx (sidecar_writer.h). docs/formats/udbidx01.md has the byte table.
//
// Thread rule: free functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/coding.h"
#include "base/types.h"
#include "env/env.h"
#include "model/row.h"

namespace tallystick::udbidx01 {

inline constexpr char kMagic[8] = {'U', 'D', 'B', 'I', 'D', 'X', '0', '1'};
inline constexpr uint64_t kEntryBytes = 40;
// No segment has more rows, usageDb's or ours.
inline constexpr uint64_t kEntriesMax = uint64_t{1} << 28;

// 128 bits, 128 bits, 64 bits. Hashes are kept as the bytes of the file, which are those of BLAKE3.
struct DedupeEntry {
  EventHash id_hash;       // BLAKE3 of the event id alone, first 16 bytes
  EventHash payload_hash;  // BLAKE3 of usageDb's encoding of the event, first 16 bytes
  int64_t ingested_at_ms = 0;
  friend bool operator==(const DedupeEntry&, const DedupeEntry&) = default;
};
static_assert(sizeof(DedupeEntry) == kEntryBytes && std::is_trivially_copyable_v<DedupeEntry>);

// The sidecar of a segment file: "dir/raw_x.seg" -> "dir/raw_x.idx".
std::string IndexPath(std::string_view segment_path);

// Creates `path`, which must not exist, and syncs it; the caller syncs the directory. On an error
// no partial file is left. kInvalidArgument beyond kEntriesMax.
Status WriteDedupeIndex(FileSystem& fs, const std::string& path,
                        std::span<const DedupeEntry> entries);

// No file: no value and no error, the sign to fall back to the segment. Else the entries, or
// kCorruption that says what is wrong.
Result<std::optional<std::vector<DedupeEntry>>> ReadDedupeIndex(FileSystem& fs,
                                                                const std::string& path);

// The file's bytes.
Bytes EncodeDedupeIndex(std::span<const DedupeEntry> entries);
// Total: any bytes give entries or kCorruption, and a count that the bytes do not hold costs
// nothing.
Result<std::vector<DedupeEntry>> DecodeDedupeIndex(ByteSpan file);

// First 16 bytes of BLAKE3 of usageDb's encoding (bincode) of the row. kInvalidArgument
// `quantity_not_whole` names the event whose quantity usageDb could not hold.
Result<EventHash> UsageDbPayloadHash(const RowView& row);

// What usageDb would have kept of a row committed at that time. kInvalidArgument as above.
Result<DedupeEntry> EntryOf(const RowView& row, int64_t commit_time_us);

}  // namespace tallystick::udbidx01
