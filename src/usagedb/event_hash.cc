#include "usagedb/event_hash.h"

#include <blake3.h>

#include <bit>
#include <cstring>
#include <span>

#include "base/check.h"
#include "model/identity.h"
#include "usagedb/bincode.h"

namespace tallystick::usagedb {
namespace {

// The first bytes of BLAKE3, as many as `out` has.
void Blake3(ByteSpan data, std::span<uint8_t> out) {
  blake3_hasher hasher;
  blake3_hasher_init(&hasher);
  blake3_hasher_update(&hasher, data.data(), data.size());
  blake3_hasher_finalize(&hasher, out.data(), out.size());
}

size_t TextBytes(std::string_view text) { return sizeof(uint64_t) + text.size(); }

size_t OptionBytes(const std::optional<std::string_view>& text) {
  return 1 + (text.has_value() ? TextBytes(*text) : 0);
}

size_t EventBytes(const EventView& event) {
  size_t bytes = TextBytes(event.event_id) + sizeof(uint32_t) + 1 + TextBytes(event.account_id) +
                 OptionBytes(event.subscription_id) + TextBytes(event.product_id) +
                 TextBytes(event.meter_id) + sizeof(int64_t) + sizeof(int128) +
                 TextBytes(event.unit) + TextBytes(event.source) + OptionBytes(event.model_id) +
                 sizeof(uint64_t) + sizeof(int64_t);
  if (event.correction_ref.has_value()) {
    bytes += TextBytes(event.correction_ref->original_event_id) +
             TextBytes(event.correction_ref->reason);
  }
  for (const Dimension& dimension : event.dimensions) {
    bytes += TextBytes(dimension.key) + TextBytes(dimension.value);
  }
  return bytes;
}

// Writes into room that was measured before.
class Writer {
 public:
  explicit Writer(std::byte* at) : at_(at) {}
  std::byte* at() const { return at_; }

  template <typename T>
  void Put(T value) {
    StoreFixed<T>(at_, value);
    at_ += sizeof value;
  }
  void Text(std::string_view text) {
    Put<uint64_t>(text.size());
    if (!text.empty()) std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Option(const std::optional<std::string_view>& text) {
    Put<uint8_t>(text.has_value() ? 1 : 0);
    if (text.has_value()) Text(*text);
  }

 private:
  std::byte* at_;
};

}  // namespace

void EncodeEvent(const EventView& event, Bytes& out) {
  const size_t begin = out.size();
  out.resize(begin + EventBytes(event));
  Writer writer(out.data() + begin);
  writer.Text(event.event_id);
  writer.Put<uint32_t>(static_cast<uint32_t>(event.kind));
  writer.Put<uint8_t>(event.correction_ref.has_value() ? 1 : 0);
  if (event.correction_ref.has_value()) {
    writer.Text(event.correction_ref->original_event_id);
    writer.Text(event.correction_ref->reason);
  }
  writer.Text(event.account_id);
  writer.Option(event.subscription_id);
  writer.Text(event.product_id);
  writer.Text(event.meter_id);
  writer.Put<int64_t>(event.timestamp_ms);
  writer.Put<int128>(event.quantity.mantissa);
  writer.Text(event.unit);
  writer.Text(event.source);
  writer.Option(event.model_id);
  writer.Put<uint64_t>(event.dimensions.size());
  for (const Dimension& dimension : event.dimensions) {
    writer.Text(dimension.key);
    writer.Text(dimension.value);
  }
  writer.Put<int64_t>(0);
  TALLY_CHECK(writer.at() == out.data() + out.size());
}

EventHash HashOfId(std::string_view event_id) {
  return IdHash(IdentityScope::kGlobal, {}, event_id);
}

EventHash HashOfPayload(const EventView& event, Bytes* scratch) {
  scratch->clear();
  EncodeEvent(event, *scratch);
  EventHash hash;
  Blake3(*scratch, hash.bytes);
  return hash;
}

uint64_t Checksum(ByteSpan data) {
  std::array<uint8_t, 8> hash;
  Blake3(data, hash);
  return std::bit_cast<uint64_t>(hash);
}

EventView ViewOf(const RowView& row, std::vector<Dimension>* dimensions) {
  dimensions->clear();
  Decoder decoder(row.dimension_bytes);
  for (uint32_t i = 0; i < row.dimension_count; ++i) {
    const std::string_view key = decoder.Text();
    dimensions->push_back({key, decoder.Text()});
  }
  TALLY_CHECK(decoder.ok());
  EventView event = WithoutDimensions(row);
  event.dimensions = *dimensions;
  return event;
}

}  // namespace tallystick::usagedb
