#include "server/hour_rows.h"

#include <fmt/format.h>

#include "base/result.h"
#include "server/csv_writer.h"
#include "server/json_writer.h"

namespace tallystick {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr size_t kHourBytesMax = 256 << 20;

int64_t HourOf(int64_t timestamp_ms) { return timestamp_ms - timestamp_ms % kHourMs; }

size_t BytesOf(const Event& event) {
  size_t bytes = sizeof(Event) + event.account_id.size() + event.product_id.size() +
                 event.meter_id.size() + event.source.size() + event.unit.size();
  for (const auto& [key, value] : event.dimensions) bytes += 64 + key.size() + value.size();
  return bytes;
}

}  // namespace

Status HourRows::Add(Event event) {
  const size_t bytes = BytesOf(event);
  Key key{std::move(event.account_id), std::move(event.subscription_id),
          std::move(event.product_id), std::move(event.meter_id),
          std::move(event.model_id),   std::move(event.source),
          std::move(event.unit),       std::move(event.dimensions)};
  const auto [sum, is_new] = sums_.try_emplace(std::move(key));
  sum->second.quantity.Add(event.quantity);
  sum->second.newest_ms = std::max(sum->second.newest_ms, event.ingested_at_ms);
  if (is_new) bytes_ += bytes;
  if (bytes_ <= kHourBytesMax) return Status::Ok();
  return Status::Unavailable(
      "query_too_large",
      fmt::format("the rows of the hour {} need more than {} bytes", hour_ms_, kHourBytesMax));
}

// Events come by time, so an hour's stand together.
Status HourRows::ReadHour() {
  if (!next_ && !ended_) {
    TALLY_ASSIGN_OR_RETURN(next_, events_.Next());
  }
  bytes_ = 0;
  while (next_) {
    if (sums_.empty()) hour_ms_ = HourOf(next_->timestamp_ms);
    if (HourOf(next_->timestamp_ms) != hour_ms_) return Status::Ok();
    TALLY_RETURN_IF_ERROR(Add(*std::exchange(next_, std::nullopt)));
    TALLY_ASSIGN_OR_RETURN(next_, events_.Next());
  }
  ended_ = true;
  return Status::Ok();
}

Result<bool> HourRows::AppendNext(std::string& out) {
  if (sums_.empty()) TALLY_RETURN_IF_ERROR(ReadHour());
  if (sums_.empty()) return false;
  auto first = sums_.extract(sums_.begin());
  Event row;
  std::tie(row.account_id, row.subscription_id, row.product_id, row.meter_id, row.model_id,
           row.source, row.unit, row.dimensions) = std::move(first.key());
  row.event_id = fmt::format("rollup_{}", hour_ms_);
  row.timestamp_ms = hour_ms_;
  row.ingested_at_ms = first.mapped().newest_ms;
  const std::string quantity = first.mapped().quantity.ToString();
  if (format_ == RowFormat::kCsv) {
    AppendEventCsv(out, row, quantity);
  } else {
    AppendEventJson(out, row, quantity);
  }
  return true;
}

void HourRows::AppendTail(std::string& out) const {
  AppendJsonUintField(out, "lsn", events_.lsn().value);
  AppendJsonKey(out, "rows");
  AppendRowSourcesJson(out, events_.rows());
}

}  // namespace tallystick
