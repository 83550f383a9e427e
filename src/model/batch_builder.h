// BatchBuilder: what is behind the public Batch. The records stand one after another exactly as
// they will stand in a WAL frame, so that the committer copies runs of them with one memcpy.
//
// Thread rule: one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "base/types.h"
#include "model/row.h"
#include "tallystick/event.h"
#include "tallystick/options.h"

namespace tallystick {

class BatchBuilder {
 public:
  static constexpr uint32_t kNoRejection = UINT32_MAX;

  struct Entry {
    EventHash id_hash;
    uint64_t payload_hash = 0;
    int64_t timestamp_ms = 0;
    uint32_t offset = 0;  // of the record in records()
    uint32_t bytes = 0;   // of the record; 0 if rejected outright
    uint32_t rejection =
        kNoRejection;  // index into rejections(); with bytes > 0 it is a deferred one
    bool rejected() const { return bytes == 0; }
  };

  BatchBuilder(IdentityScope scope, const EventLimits& limits) : scope_(scope), limits_(limits) {}

  static Batch Make(IdentityScope scope, const EventLimits& limits);
  static Batch Copy(const Batch& batch);
  static BatchBuilder& Of(Batch& batch) { return *batch.builder_; }

  void Add(const EventView& event, std::optional<Rejection> deferred);
  void AddRejected(std::string_view event_id, Rejection rejection);

  const std::vector<Entry>& entries() const { return entries_; }
  ByteSpan records() const { return records_; }
  const std::vector<Rejection>& rejections() const { return rejections_; }
  std::string_view event_id(size_t index) const;
  // The canonical bytes of an entry that is not rejected.
  ByteSpan canonical(const Entry& entry) const {
    return records().subspan(entry.offset + kRecordHeaderBytes, entry.bytes - kRecordHeaderBytes);
  }

 private:
  IdentityScope scope_;
  EventLimits limits_;
  std::vector<Entry> entries_;
  Bytes records_;
  std::vector<Rejection> rejections_;
  std::vector<std::string> rejected_ids_;  // one for each entry of rejections_
};

}  // namespace tallystick
