// The routes that read: from decoded parameters to an answer, whole or row by row.
//
// Thread rule: pure functions; a RowStream is used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/answer.h"
#include "server/query_string.h"
#include "server/routes.h"
#include "server/row_stream.h"
#include "tallystick/db.h"
#include "tallystick/status.h"

namespace tallystick {

// What a read may have beside its path and its parameters.
struct ReadContext {
  std::string_view body;                // of a POST: JSON
  RowFormat format = RowFormat::kJson;  // wanted; a route that has no CSV answers JSON
  Cancelled cancelled;
};

struct ReadReply {
  // If there is no stream. Else its head: status 200, content type, header fields.
  Answer answer;
  std::unique_ptr<RowStream> stream;

  // For whoever counts, logs and waits.
  Status status;                    // ok, or what `answer` is about
  Lsn awaited;                      // `lsn_not_reached`: the min_lsn; else 0
  uint64_t memory_bytes = 0;        // that a sum needed at most
  std::vector<std::string> faults;  // that a verify found
};

// Blocks. `parameter` is the path's account or event id.
ReadReply RunRead(const Db& db, Route route, std::string_view parameter, const QueryString& query,
                  const ReadContext& context = {});

}  // namespace tallystick
