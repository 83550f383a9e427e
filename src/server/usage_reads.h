// Sums: GET /v1/usage, GET /v1/accounts/{account}/usage and .../verify.
//
// Thread rule: pure functions; they block.
#pragma once

#include "server/answer.h"
#include "server/line_table.h"
#include "server/read_request.h"

namespace tallystick {

Result<Listing> ReadUsage(const ReadRequest& request, ReadReply& reply);
Result<Answer> ReadVerify(const ReadRequest& request, ReadReply& reply);

// The lines of a result, as rows of an answer.
class LineRows final : public RowSource {
 public:
  struct Tail {
    bool groups = false;  // "groups":n
    bool watermark = false;
  };
  LineRows(UsageResult result, LineTable table, RowFormat format, Tail tail)
      : result_(std::move(result)), table_(std::move(table)), format_(format), tail_(tail) {}

  Result<bool> AppendNext(std::string& out) override;
  void AppendTail(std::string& out) const override;

 private:
  const UsageResult result_;
  const LineTable table_;
  const RowFormat format_;
  const Tail tail_;
  size_t next_ = 0;
};

}  // namespace tallystick
