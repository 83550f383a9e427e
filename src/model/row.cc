// The row codec. Invariants:
//   1. Encode is a function of the event's value alone: same value, same bytes.
//   2. Decode accepts exactly the bytes that Encode produces (limits of ingest apart), so whatever
//   is
//      accepted encodes to the same bytes again.
//   3. Decode never reads outside its span and allocates nothing.
#include "model/row.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/check.h"
#include "model/event_check.h"

namespace tallystick {
namespace {

constexpr uint8_t kHasSubscription = 1;
constexpr uint8_t kHasModel = 2;
constexpr uint8_t kHasCorrectionRef = 4;
constexpr uint8_t kFlagsKnown = kHasSubscription | kHasModel | kHasCorrectionRef;

constexpr size_t kMantissaBytesAt = 2;
static_assert(kCanonicalFixedBytes == 4 + sizeof(int64_t));

// Fewest bytes that hold the value in two's complement; 0 for zero.
size_t MantissaBytes(int128 mantissa) {
  if (mantissa == 0) return 0;
  const auto magnitude = static_cast<uint128>(mantissa ^ (mantissa >> 127));
  const auto high = static_cast<uint64_t>(magnitude >> 64);
  const auto low = static_cast<uint64_t>(magnitude);
  const int width = high != 0 ? 64 + std::bit_width(high) : std::bit_width(low);
  return static_cast<size_t>(width) / 8 + 1;  // one more bit for the sign
}

size_t TextBytes(std::string_view text) { return VarintBytes(text.size()) + text.size(); }

std::byte* StoreText(std::byte* out, std::string_view text) {
  out = StoreVarint(out, text.size());
  if (!text.empty()) std::memcpy(out, text.data(), text.size());  // a default view has no data
  return out + text.size();
}

// The dimensions in ascending order of their keys, without touching the caller's.
class SortedDimensions {
 public:
  explicit SortedDimensions(std::span<const Dimension> dimensions) : count_(dimensions.size()) {
    TALLY_CHECK(count_ <= kDimensionsMax);
    for (size_t i = 0; i < count_; ++i) sorted_[i] = &dimensions[i];
    const auto by_key = [](const Dimension* a, const Dimension* b) { return a->key < b->key; };
    if (!std::is_sorted(sorted_.begin(), sorted_.begin() + count_, by_key)) {
      std::sort(sorted_.begin(), sorted_.begin() + count_, by_key);
    }
  }
  std::span<const Dimension* const> Get() const { return {sorted_.data(), count_}; }

 private:
  size_t count_;
  std::array<const Dimension*, kDimensionsMax> sorted_;
};

struct Shape {
  Quantity quantity;
  size_t mantissa_bytes = 0;
  uint8_t flags = 0;
  size_t bytes = 0;  // of the whole encoding
};

Shape Measure(const EventView& event) {
  Shape shape;
  shape.quantity = Quantity::Normalized(event.quantity.mantissa, event.quantity.scale);
  shape.mantissa_bytes = MantissaBytes(shape.quantity.mantissa);
  size_t bytes = kCanonicalFixedBytes + shape.mantissa_bytes + TextBytes(event.event_id) +
                 TextBytes(event.account_id) + TextBytes(event.product_id) +
                 TextBytes(event.meter_id) + TextBytes(event.unit) + TextBytes(event.source);
  if (event.subscription_id) {
    shape.flags |= kHasSubscription;
    bytes += TextBytes(*event.subscription_id);
  }
  if (event.model_id) {
    shape.flags |= kHasModel;
    bytes += TextBytes(*event.model_id);
  }
  if (event.correction_ref) {
    shape.flags |= kHasCorrectionRef;
    bytes += TextBytes(event.correction_ref->original_event_id) +
             TextBytes(event.correction_ref->reason);
  }
  bytes += VarintBytes(event.dimensions.size());
  for (const Dimension& dimension : event.dimensions) {
    bytes += TextBytes(dimension.key) + TextBytes(dimension.value);
  }
  shape.bytes = bytes;
  return shape;
}

bool DecodeQuantity(uint8_t scale, ByteSpan bytes, Quantity* quantity) {
  if (scale > Quantity::kScaleMax) return false;
  uint128 value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<uint8_t>(bytes[i]);
  if (!bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{0} &&
      bytes.size() < sizeof value) {
    value |= ~uint128{0} << (8 * bytes.size());
  }
  *quantity = {static_cast<int128>(value), scale};
  return MantissaBytes(quantity->mantissa) == bytes.size() &&
         *quantity == Quantity::Normalized(quantity->mantissa, scale);
}

bool DecodeDimensions(Decoder& decoder, ByteSpan canonical, RowView* row) {
  const uint64_t count = decoder.Varint();
  if (count > decoder.remaining() / 2 || count > std::numeric_limits<uint32_t>::max()) return false;
  row->dimension_count = static_cast<uint32_t>(count);
  row->dimension_bytes = canonical.subspan(decoder.position());
  std::string_view last_key;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = decoder.Text();
    decoder.Text();
    if (!decoder.ok() || (i > 0 && key <= last_key)) return false;
    last_key = key;
  }
  return decoder.ok() && decoder.remaining() == 0;
}

Decoder AtEventId(ByteSpan canonical) {
  TALLY_DCHECK(canonical.size() > kCanonicalFixedBytes);
  return Decoder(canonical.subspan(kCanonicalFixedBytes +
                                   std::to_integer<size_t>(canonical[kMantissaBytesAt])));
}

}  // namespace

std::optional<std::string_view> RowView::Dimension(std::string_view key) const {
  Decoder decoder(dimension_bytes);
  for (uint32_t i = 0; i < dimension_count; ++i) {
    const std::string_view found = decoder.Text();
    const std::string_view value = decoder.Text();
    if (found == key) return value;
    if (found > key) break;
  }
  return std::nullopt;
}

void EncodeCanonical(const EventView& event, Bytes& out) {
  const Shape shape = Measure(event);
  const size_t begin = out.size();
  out.resize(begin + shape.bytes);
  std::byte* at = out.data() + begin;
  at[0] = static_cast<std::byte>(event.kind);
  at[1] = static_cast<std::byte>(shape.quantity.scale);
  at[kMantissaBytesAt] = static_cast<std::byte>(shape.mantissa_bytes);
  at[3] = static_cast<std::byte>(shape.flags);
  StoreFixed(at + 4, event.timestamp_ms);
  at += kCanonicalFixedBytes;
  std::memcpy(at, &shape.quantity.mantissa, shape.mantissa_bytes);
  at += shape.mantissa_bytes;
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
  at = StoreVarint(at, event.dimensions.size());
  const SortedDimensions sorted(event.dimensions);
  for (const Dimension* dimension : sorted.Get()) {
    at = StoreText(at, dimension->key);
    at = StoreText(at, dimension->value);
  }
  TALLY_CHECK(at == out.data() + out.size());
}

EventView WithoutDimensions(const RowView& row) {
  return {.event_id = row.event_id,
          .account_id = row.account_id,
          .product_id = row.product_id,
          .meter_id = row.meter_id,
          .subscription_id = row.subscription_id,
          .model_id = row.model_id,
          .unit = row.unit,
          .source = row.source,
          .kind = row.kind,
          .correction_ref = row.correction_ref,
          .timestamp_ms = row.timestamp_ms,
          .quantity = row.quantity};
}

void EncodeRow(const RowView& row, Bytes& out) {
  EncodeCanonical(WithoutDimensions(row), out);
  if (row.dimension_count == 0) return;
  out.pop_back();  // the count of no dimensions
  std::byte count[kVarint64BytesMax];
  std::byte* const end = StoreVarint(count, row.dimension_count);
  out.insert(out.end(), count, end);
  out.insert(out.end(), row.dimension_bytes.begin(), row.dimension_bytes.end());
}

bool DecodeCanonical(ByteSpan canonical, RowView* row) {
  *row = {};
  Decoder decoder(canonical);
  const auto kind = decoder.Fixed<uint8_t>();
  const auto scale = decoder.Fixed<uint8_t>();
  const auto mantissa_bytes = decoder.Fixed<uint8_t>();
  const auto flags = decoder.Fixed<uint8_t>();
  row->timestamp_ms = decoder.Fixed<int64_t>();
  if (!decoder.ok() || kind > static_cast<uint8_t>(EventKind::kRetraction) ||
      mantissa_bytes > sizeof(int128) || (flags & ~kFlagsKnown) != 0 || row->timestamp_ms <= 0) {
    return false;
  }
  row->kind = static_cast<EventKind>(kind);
  if (row->kind != EventKind::kUsage && (flags & kHasCorrectionRef) == 0) return false;
  const ByteSpan mantissa = decoder.Raw(mantissa_bytes);
  if (!decoder.ok() || !DecodeQuantity(scale, mantissa, &row->quantity)) return false;
  for (std::string_view* id :
       {&row->event_id, &row->account_id, &row->product_id, &row->meter_id}) {
    *id = decoder.Text();
    if (id->empty()) return false;
  }
  row->unit = decoder.Text();
  row->source = decoder.Text();
  if ((flags & kHasSubscription) != 0) row->subscription_id = decoder.Text();
  if ((flags & kHasModel) != 0) row->model_id = decoder.Text();
  if ((flags & kHasCorrectionRef) != 0) {
    const std::string_view original = decoder.Text();
    row->correction_ref = CorrectionRefView{original, decoder.Text()};
  }
  return decoder.ok() && DecodeDimensions(decoder, canonical, row);
}

bool DecodeRecord(Decoder& decoder, RecordView* record) {
  const auto bytes = decoder.Fixed<uint32_t>();
  const auto disposition = decoder.Fixed<uint8_t>();
  record->canonical = decoder.Raw(bytes);
  if (!decoder.ok() || disposition > static_cast<uint8_t>(Disposition::kQuarantined) ||
      bytes < kRecordBytesMin - kRecordHeaderBytes) {
    return false;
  }
  record->disposition = static_cast<Disposition>(disposition);
  return true;
}

std::string_view CanonicalEventId(ByteSpan canonical) { return AtEventId(canonical).Text(); }

std::string_view CanonicalAccountId(ByteSpan canonical) {
  Decoder decoder = AtEventId(canonical);
  decoder.Text();
  return decoder.Text();
}

Event ToEvent(const RowView& row, Lsn lsn, int64_t commit_time_us) {
  Event event;
  event.event_id = row.event_id;
  event.account_id = row.account_id;
  event.product_id = row.product_id;
  event.meter_id = row.meter_id;
  if (row.subscription_id) event.subscription_id.emplace(*row.subscription_id);
  if (row.model_id) event.model_id.emplace(*row.model_id);
  event.unit = row.unit;
  event.source = row.source;
  event.kind = row.kind;
  if (row.correction_ref) {
    event.correction_ref.emplace(std::string(row.correction_ref->original_event_id),
                                 std::string(row.correction_ref->reason));
  }
  event.timestamp_ms = row.timestamp_ms;
  event.quantity = row.quantity;
  Decoder decoder(row.dimension_bytes);
  event.dimensions.reserve(row.dimension_count);
  for (uint32_t i = 0; i < row.dimension_count; ++i) {
    const std::string_view key = decoder.Text();
    event.dimensions.emplace_back(key, decoder.Text());
  }
  event.ingested_at_ms = commit_time_us / 1000;
  event.lsn = lsn;
  return event;
}

}  // namespace tallystick
