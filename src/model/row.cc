#include "model/row.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr uint8_t kHasSubscription = 1;
constexpr uint8_t kHasModel = 2;
constexpr uint8_t kHasCorrection = 4;
constexpr uint8_t kKnownFlags = kHasSubscription | kHasModel | kHasCorrection;

// The fewest bytes that hold the value in two's complement; none for zero.
uint8_t MantissaBytes(int128 value) {
  if (value == 0) return 0;
  const uint128 magnitude = static_cast<uint128>(value < 0 ? ~value : value);
  const auto high = static_cast<uint64_t>(magnitude >> 64);
  const auto low = static_cast<uint64_t>(magnitude);
  const int bits = high != 0 ? 128 - __builtin_clzll(high) : low != 0 ? 64 - __builtin_clzll(low) : 0;
  return static_cast<uint8_t>(bits / 8 + 1);
}

int128 LoadMantissa(ByteSpan bytes) {
  if (bytes.empty()) return 0;
  const bool negative = (static_cast<uint8_t>(bytes.back()) & 0x80) != 0;
  int128 value = negative ? -1 : 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

size_t TextBytes(std::string_view text) { return VarintBytes(text.size()) + text.size(); }

std::byte* StoreText(std::byte* out, std::string_view text) {
  out = StoreVarint(out, text.size());
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

struct Sorted {
  std::array<Dimension, 16> few;
  std::vector<Dimension> many;
  std::span<Dimension> all;
};

void SortDimensions(std::span<const Dimension> dimensions, Sorted* sorted) {
  if (dimensions.size() <= sorted->few.size()) {
    sorted->all = std::span(sorted->few).first(dimensions.size());
  } else {
    sorted->many.resize(dimensions.size());
    sorted->all = sorted->many;
  }
  std::ranges::copy(dimensions, sorted->all.begin());
  if (sorted->all.size() > 1) std::ranges::sort(sorted->all, {}, &Dimension::key);
}

}  // namespace

void EncodeCanonical(const EventView& event, Bytes& out) {
  const uint8_t mantissa_bytes = MantissaBytes(event.quantity.mantissa);
  Sorted dimensions;
  SortDimensions(event.dimensions, &dimensions);

  size_t bytes = kCanonicalFixedBytes + mantissa_bytes + TextBytes(event.event_id) +
                 TextBytes(event.account_id) + TextBytes(event.product_id) +
                 TextBytes(event.meter_id) + TextBytes(event.unit) + TextBytes(event.source) +
                 VarintBytes(dimensions.all.size());
  uint8_t flags = 0;
  if (event.subscription_id) {
    flags |= kHasSubscription;
    bytes += TextBytes(*event.subscription_id);
  }
  if (event.model_id) {
    flags |= kHasModel;
    bytes += TextBytes(*event.model_id);
  }
  if (event.correction_ref) {
    flags |= kHasCorrection;
    bytes += TextBytes(event.correction_ref->original_event_id) +
             TextBytes(event.correction_ref->reason);
  }
  for (const Dimension& d : dimensions.all) bytes += TextBytes(d.key) + TextBytes(d.value);

  const size_t begin = out.size();
  out.resize(begin + bytes);
  std::byte* at = out.data() + begin;
  *at++ = static_cast<std::byte>(event.kind);
  *at++ = static_cast<std::byte>(event.quantity.scale);
  *at++ = static_cast<std::byte>(mantissa_bytes);
  *at++ = static_cast<std::byte>(flags);
  StoreFixed<int64_t>(at, event.timestamp_ms);
  at += sizeof(int64_t);
  std::memcpy(at, &event.quantity.mantissa, mantissa_bytes);
  at += mantissa_bytes;
  at = StoreText(at, event.event_id);
  at = StoreText(at, event.account_id);
  at = StoreText(at, event.product_id);
  at = StoreText(at, event.meter_id);
  at = StoreText(at, event.unit);
  at = StoreText(at, event.source);
  if (event.subscription_id) at = StoreText(at, *event.subscription_id);
  if (event.model_id) at = StoreText(at, *event.model_id);
  if (event.correction_ref) {
    at = StoreText(at, event.correction_ref->original_event_id);
    at = StoreText(at, event.correction_ref->reason);
  }
  at = StoreVarint(at, dimensions.all.size());
  for (const Dimension& d : dimensions.all) at = StoreText(StoreText(at, d.key), d.value);
  TALLY_CHECK(at == out.data() + out.size());
}

bool DecodeCanonical(ByteSpan canonical, RowView* row) {
  Decoder in(canonical);
  const auto kind = in.Fixed<uint8_t>();
  const auto scale = in.Fixed<uint8_t>();
  const auto mantissa_bytes = in.Fixed<uint8_t>();
  const auto flags = in.Fixed<uint8_t>();
  row->timestamp_ms = in.Fixed<int64_t>();
  if (!in.ok() || kind > 2 || scale > Quantity::kScaleMax || mantissa_bytes > 16 ||
      (flags & ~kKnownFlags) != 0) {
    return false;
  }
  row->kind = static_cast<EventKind>(kind);
  row->quantity = {LoadMantissa(in.Raw(mantissa_bytes)), scale};
  if (!in.ok() || MantissaBytes(row->quantity.mantissa) != mantissa_bytes ||
      (scale > 0 && row->quantity.mantissa % 10 == 0)) {
    return false;
  }
  row->event_id = in.Text();
  row->account_id = in.Text();
  row->product_id = in.Text();
  row->meter_id = in.Text();
  row->unit = in.Text();
  row->source = in.Text();
  row->subscription_id.reset();
  row->model_id.reset();
  row->correction_ref.reset();
  if ((flags & kHasSubscription) != 0) row->subscription_id = in.Text();
  if ((flags & kHasModel) != 0) row->model_id = in.Text();
  if ((flags & kHasCorrection) != 0) {
    CorrectionRefView ref;
    ref.original_event_id = in.Text();
    ref.reason = in.Text();
    row->correction_ref = ref;
  }
  const uint64_t count = in.Varint();
  if (!in.ok() || count > in.remaining() / 2) return false;
  const size_t dimensions_at = in.position();
  std::string_view previous;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = in.Text();
    in.Text();
    if (!in.ok() || (i > 0 && key <= previous)) return false;
    previous = key;
  }
  row->dimension_count = static_cast<uint32_t>(count);
  row->dimension_bytes = canonical.subspan(dimensions_at);
  return in.ok() && in.remaining() == 0;
}

bool DecodeRecord(Decoder& decoder, RecordView* record) {
  const auto bytes = decoder.Fixed<uint32_t>();
  const auto disposition = decoder.Fixed<uint8_t>();
  record->disposition = static_cast<Disposition>(disposition);
  record->canonical = decoder.Raw(bytes);
  return decoder.ok() && disposition <= 1 && bytes >= kRecordBytesMin - kRecordHeaderBytes - 4;
}

std::string_view CanonicalEventId(ByteSpan canonical) {
  Decoder in(canonical.subspan(kCanonicalFixedBytes + static_cast<uint8_t>(canonical[2])));
  return in.Text();
}

std::string_view CanonicalAccountId(ByteSpan canonical) {
  Decoder in(canonical.subspan(kCanonicalFixedBytes + static_cast<uint8_t>(canonical[2])));
  in.Text();
  return in.Text();
}

std::optional<std::string_view> RowView::Dimension(std::string_view key) const {
  Decoder in(dimension_bytes);
  for (uint32_t i = 0; i < dimension_count; ++i) {
    const std::string_view found = in.Text();
    const std::string_view value = in.Text();
    if (found == key) return value;
  }
  return std::nullopt;
}

Event ToEvent(const RowView& row, Lsn lsn, int64_t commit_time_us) {
  Event event;
  event.event_id = row.event_id;
  event.account_id = row.account_id;
  event.product_id = row.product_id;
  event.meter_id = row.meter_id;
  event.unit = row.unit;
  event.source = row.source;
  event.kind = row.kind;
  event.subscription_id = row.subscription_id;
  event.model_id = row.model_id;
  if (row.correction_ref) {
    event.correction_ref = CorrectionRef{std::string(row.correction_ref->original_event_id),
                                         std::string(row.correction_ref->reason)};
  }
  event.timestamp_ms = row.timestamp_ms;
  event.quantity = row.quantity;
  Decoder in(row.dimension_bytes);
  for (uint32_t i = 0; i < row.dimension_count; ++i) {
    const std::string_view key = in.Text();
    const std::string_view value = in.Text();
    event.dimensions.emplace_back(key, value);
  }
  event.ingested_at_ms = commit_time_us / 1000;
  event.lsn = lsn;
  return event;
}

}  // namespace tallystick
