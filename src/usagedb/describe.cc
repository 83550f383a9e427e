#include "usagedb/describe.h"

#include <algorithm>
#include <set>
#include <string>

#include "usagedb/event_hash.h"

namespace tallystick::usagedb {
namespace {

// usageDb's sum stops at the ends of 128 bits.
int128 SaturatingSum(int128 a, int128 b) {
  int128 sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  const auto largest = static_cast<int128>(~uint128{0} >> 1);
  return b > 0 ? largest : -largest - 1;
}

}  // namespace

SegmentMeta MetaOf(std::span<const Row> rows) {
  SegmentMeta meta;
  meta.row_count = rows.size();
  meta.min_timestamp_ms = INT64_MAX;
  meta.max_timestamp_ms = INT64_MIN;
  meta.min_account_id = rows.front().event.account_id;
  meta.max_account_id = rows.back().event.account_id;
  std::set<std::string> products;
  std::set<std::string> meters;
  std::set<std::string> models;
  int128 sum = 0;
  for (const Row& row : rows) {
    const EventView& event = row.event;
    meta.min_timestamp_ms = std::min(meta.min_timestamp_ms, event.timestamp_ms);
    meta.max_timestamp_ms = std::max(meta.max_timestamp_ms, event.timestamp_ms);
    products.emplace(event.product_id);
    meters.emplace(event.meter_id);
    if (event.model_id.has_value()) models.emplace(*event.model_id);
    sum = SaturatingSum(sum, event.quantity.mantissa);
  }
  meta.product_ids.assign(products.begin(), products.end());
  meta.meter_ids.assign(meters.begin(), meters.end());
  meta.model_ids.assign(models.begin(), models.end());
  meta.quantity_sum = sum;
  return meta;
}

std::vector<udbidx01::DedupeEntry> KeysOf(std::span<const Row> rows) {
  std::vector<udbidx01::DedupeEntry> keys;
  keys.reserve(rows.size());
  Bytes scratch;
  for (const Row& row : rows) {
    keys.push_back(
        {HashOfId(row.event.event_id), HashOfPayload(row.event, &scratch), row.ingested_at_ms});
  }
  return keys;
}

}  // namespace tallystick::usagedb
