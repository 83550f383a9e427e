// Builds a request's records in place.
//
// Invariants:
//   1. The records of all entries that are not rejected outright fill records() exactly, in order.
//   2. Each rejection has one entry that names it, and one rejected id (empty if deferred: the
//   record
//      has the id).
#include "model/batch_builder.h"

#include "base/check.h"
#include "model/event_check.h"
#include "model/identity.h"

namespace tallystick {
namespace {

// Offsets are 32 bits wide. A batch of this size is refused as a whole later, by any option.
constexpr size_t kRecordsBytesMax = size_t{1} << 30;

}  // namespace

Batch BatchBuilder::Make(IdentityScope scope, const EventLimits& limits) {
  return Batch(std::make_unique<BatchBuilder>(scope, limits));
}

Batch BatchBuilder::Copy(const Batch& batch) {
  return Batch(std::make_unique<BatchBuilder>(*batch.builder_));
}

void BatchBuilder::Add(const EventView& event, std::optional<Rejection> deferred) {
  auto bad = limits_.format_only ? CheckEventFormat(event) : CheckEventShape(event);
  if (bad) return AddRejected(event.event_id, *std::move(bad));
  if (records_.size() > kRecordsBytesMax) {
    return AddRejected(event.event_id, {"batch_too_large", "events", "the batch is too large"});
  }
  Entry entry;
  entry.offset = static_cast<uint32_t>(records_.size());
  records_.resize(records_.size() + kRecordHeaderBytes);
  EncodeCanonical(event, records_);
  entry.bytes = static_cast<uint32_t>(records_.size() - entry.offset);
  std::byte* header = records_.data() + entry.offset;
  StoreFixed<uint32_t>(header, entry.bytes - kRecordHeaderBytes);
  header[4] = static_cast<std::byte>(Disposition::kCounted);

  entry.id_hash = IdHash(scope_, event.account_id, event.event_id);
  entry.payload_hash = PayloadHash(canonical(entry));
  entry.timestamp_ms = event.timestamp_ms;
  if (!deferred && !limits_.format_only) deferred = CheckEventOptions(event, limits_);
  if (deferred) {
    entry.rejection = static_cast<uint32_t>(rejections_.size());
    rejections_.push_back(*std::move(deferred));
    rejected_ids_.emplace_back();
  }
  entries_.push_back(entry);
}

void BatchBuilder::AddRejected(std::string_view event_id, Rejection rejection) {
  Entry entry;
  entry.offset = static_cast<uint32_t>(records_.size());
  entry.rejection = static_cast<uint32_t>(rejections_.size());
  rejections_.push_back(std::move(rejection));
  rejected_ids_.emplace_back(event_id);
  entries_.push_back(entry);
}

std::string_view BatchBuilder::event_id(size_t index) const {
  TALLY_CHECK(index < entries_.size());
  const Entry& entry = entries_[index];
  return entry.rejected() ? std::string_view(rejected_ids_[entry.rejection])
                          : CanonicalEventId(canonical(entry));
}

Batch::Batch(std::unique_ptr<BatchBuilder> builder) : builder_(std::move(builder)) {}
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&&) noexcept = default;
Batch::~Batch() = default;

void Batch::Add(const EventView& event, std::optional<Rejection> deferred) {
  builder_->Add(event, std::move(deferred));
}
void Batch::AddRejected(std::string_view event_id, Rejection rejection) {
  builder_->AddRejected(event_id, std::move(rejection));
}
size_t Batch::size() const { return builder_->entries().size(); }
size_t Batch::encoded_bytes() const { return builder_->records().size(); }
std::string_view Batch::event_id(size_t index) const { return builder_->event_id(index); }

}  // namespace tallystick
