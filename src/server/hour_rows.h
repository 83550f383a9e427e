// HourRows: events added up by hour, printed as if they were events. What usageDb answers where
// whole rows of its rollups are asked for.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/decimal.h"
#include "server/row_stream.h"
#include "tallystick/query.h"

namespace tallystick {

// One row for each hour and each account, subscription, product, meter, model, source, unit and
// dimensions, in this order: event_id "rollup_<hour ms>", kind "Usage", timestamp_ms the hour,
// ingested_at_ms the newest of its events, quantity the sum. Holds one hour at a time; one that
// needs too much memory is kUnavailable `query_too_large`.
class HourRows final : public RowSource {
 public:
  HourRows(EventStream events, RowFormat format) : events_(std::move(events)), format_(format) {}

  Result<bool> AppendNext(std::string& out) override;
  void AppendTail(std::string& out) const override;

 private:
  using Key = std::tuple<std::string, std::optional<std::string>, std::string, std::string,
                         std::optional<std::string>, std::string, std::string,
                         std::vector<std::pair<std::string, std::string>>>;
  struct Sum {
    ExactSum quantity;
    int64_t newest_ms = 0;
  };
  using Sums = std::map<Key, Sum>;

  Status ReadHour();
  Status Add(Event event);

  EventStream events_;
  const RowFormat format_;
  std::optional<Event> next_;  // the first of the next hour
  bool ended_ = false;
  int64_t hour_ms_ = 0;
  Sums sums_;         // of the hour, not yet printed
  size_t bytes_ = 0;  // that they need, about
};

}  // namespace tallystick
