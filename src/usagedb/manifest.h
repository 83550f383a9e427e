// usageDb's manifest: which segments count, up to which log, and which periods are closed.
//
// JSON; the fields are those of docs/formats/usagedb.md. Numbers are read from their characters: a
// checksum needs all of 64 bits, a sum all of 128. Unknown fields are ignored, as usageDb does;
// what older versions did not write has the default below.
//
// Thread rule: free functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tallystick/quantity.h"
#include "tallystick/status.h"

namespace tallystick::usagedb {

struct SegmentMeta {
  std::string segment_id;  // the file's name without its ending: letters, digits and '_'
  bool is_rollup = false;
  int64_t min_timestamp_ms = 0;  // both inclusive
  int64_t max_timestamp_ms = 0;
  uint32_t bucket = 0;
  uint64_t row_count = 0;
  std::optional<std::string> min_account_id;
  std::optional<std::string> max_account_id;
  std::vector<std::string> product_ids;  // sets
  std::vector<std::string> meter_ids;
  std::vector<std::string> model_ids;
  std::optional<int128> quantity_sum;
  uint64_t checksum = 0;
};

struct ClosedPeriod {
  std::string account_id;
  uint16_t year = 0;
  uint8_t month = 0;
  int64_t closed_at_ms = 0;
  std::optional<int128> frozen_quantity;
  std::optional<uint64_t> frozen_event_count;
  std::optional<int64_t> watermark_at_close_ms;
};

struct UsageDbManifest {
  uint32_t db_version = 0;
  uint32_t bucket_count = 64;
  std::vector<SegmentMeta> raw_segments;
  std::vector<SegmentMeta> rollup_segments;
  int64_t hourly_rollup_ms = 0;
  uint64_t last_sealed_wal_id = 0;
  bool says_last_sealed = true;  // false: read from an old manifest, which has no such field
  std::vector<ClosedPeriod> closed_periods;
};

// kCorruption with the position, or the field that is missing or wrong.
Result<UsageDbManifest> ParseManifest(std::string_view json);

// As usageDb prints it. Rollups and closed periods are not written: the lists are empty.
std::string PrintManifest(const UsageDbManifest& manifest);

// u32 of the first bytes of BLAKE3 of the account, modulo. REQUIRES: bucket_count > 0.
uint32_t BucketOf(std::string_view account_id, uint32_t bucket_count);

// Text as serde_json prints it, with its quotes.
void AppendJsonText(std::string& out, std::string_view text);

}  // namespace tallystick::usagedb
