// A month of events in the order of time: UUID-like ids, 10,000 accounts with Zipf weights, two
// meters, four models, one dimension of five values, quantities from 1 to 5,000.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bench_util.h"
#include "tallystick/event.h"

namespace tallystick::bench {

inline constexpr uint64_t kAccounts = 10'000;
inline constexpr int64_t kStartMs = 1'780'272'000'000;  // 2026-06-01
inline constexpr int64_t kMonthMs = 30ll * 24 * 3600 * 1000;

inline constexpr std::string_view kMeters[] = {"input_tokens", "output_tokens"};
inline constexpr std::string_view kModels[] = {"model-large", "model-medium", "model-small",
                                               "model-vision"};
inline constexpr std::string_view kRegions[] = {"ap-south", "eu-central", "eu-west", "us-east",
                                                "us-west"};

inline std::string AccountOfRank(uint32_t rank) { return fmt::format("account-{:05}", rank); }

// Event i of the month; later ones follow it, a millisecond apart.
class MonthOfEvents {
 public:
  explicit MonthOfEvents(uint64_t events) : events_(events), weights_(kAccounts) {
    double sum = 0;
    for (uint64_t rank = 1; rank <= kAccounts; ++rank) {
      sum += 1.0 / static_cast<double>(rank);
      weights_[rank - 1] = sum;
    }
  }

  const EventView& View(uint64_t i) {
    const uint64_t mixed = Mix(i ^ 0x5eed);
    id_.resize(EventSource::kIdBytes);
    EventSource::WriteId(i, id_.data());
    const double point = static_cast<double>(Mix(mixed) >> 11) * 0x1p-53 * weights_.back();
    const auto at = std::ranges::upper_bound(weights_, point);
    const auto rank = std::min<uint64_t>(at - weights_.begin() + 1, kAccounts);
    account_ = AccountOfRank(static_cast<uint32_t>(rank));
    dimensions_ = {{"region", kRegions[mixed % 5]}};
    view_.event_id = id_;
    view_.account_id = account_;
    view_.product_id = "inference";
    view_.meter_id = kMeters[(mixed >> 16) % 2];
    view_.model_id = kModels[(mixed >> 24) % 4];
    view_.timestamp_ms = TimeOf(i);
    quantity_ = 1 + static_cast<int64_t>((mixed >> 32) % 5000);
    view_.quantity = Quantity::FromInteger(quantity_);
    view_.dimensions = dimensions_;
    return view_;
  }
  int64_t TimeOf(uint64_t i) const {
    if (i >= events_) return kStartMs + kMonthMs + static_cast<int64_t>(i - events_);
    return kStartMs + static_cast<int64_t>(i * static_cast<uint64_t>(kMonthMs) / events_);
  }
  int64_t quantity() const { return quantity_; }
  std::string_view region() const { return dimensions_[0].value; }

 private:
  const uint64_t events_;
  std::vector<double> weights_;  // summed up, by rank
  std::string id_, account_;
  std::vector<Dimension> dimensions_;
  int64_t quantity_ = 0;
  EventView view_;
};

}  // namespace tallystick::bench
