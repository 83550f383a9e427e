// Reads that list: events, conflicts, accounts.
//
// Thread rule: pure functions, which block; a RowSource is used by one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/read_request.h"

namespace tallystick {

Result<Listing> ReadEvents(const ReadRequest& request, ReadReply& reply);
Result<Listing> ReadConflicts(const ReadRequest& request, ReadReply& reply);
Result<Listing> ReadAccounts(const ReadRequest& request, ReadReply& reply);

// Events as rows of an answer; with a limit a page, which says where it goes on.
class EventRows final : public RowSource {
 public:
  EventRows(EventStream events, RowFormat format, std::optional<uint64_t> limit)
      : events_(std::move(events)), format_(format), limit_(limit), paged_(limit.has_value()) {}

  // What stands before the rows: {"NAME":[ or the CSV header.
  static std::string Head(RowFormat format, std::string_view name);

  Result<bool> AppendNext(std::string& out) override;
  void AppendTail(std::string& out) const override;
  std::string NextCursor() const override { return paged_ ? events_.NextCursor() : ""; }

 private:
  EventStream events_;
  const RowFormat format_;
  std::optional<uint64_t> limit_;  // events left
  const bool paged_;
};

}  // namespace tallystick
