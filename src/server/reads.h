// The routes that read: from decoded parameters to an answer, whole or row by row.
//
// Thread rule: pure functions; a RowStream is used by one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "server/answer.h"
#include "server/query_string.h"
#include "server/routes.h"
#include "tallystick/db.h"
#include "tallystick/status.h"

namespace tallystick {

// A JSON answer that is made piece by piece, so that its size does not matter. Holds rows of the
// database alive; must be destroyed before the Db closes.
class RowStream {
 public:
  struct Piece {
    std::string text;
    bool last = false;
  };

  virtual ~RowStream() = default;
  // About `bytes` more, at least something. REQUIRES: none before was the last.
  virtual Result<Piece> Next(size_t bytes) = 0;
};

struct ReadReply {
  Answer answer;                      // if there is no stream
  std::unique_ptr<RowStream> stream;  // JSON, status 200
};

// Blocks. `parameter` is the path's account or event id.
ReadReply RunRead(const Db& db, Route route, std::string_view parameter, const QueryString& query);

}  // namespace tallystick
