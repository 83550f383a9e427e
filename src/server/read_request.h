// What passes between the dispatch of reads (reads.h) and the files that run them.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "server/query_string.h"
#include "server/reads.h"
#include "server/routes.h"
#include "server/row_stream.h"
#include "tallystick/db.h"

namespace tallystick {

struct ReadRequest {
  const Db& db;
  Route route;
  std::string_view parameter;  // of the path
  const QueryString& query;
  const ReadContext& context;
};

// An answer of rows before its first piece.
struct Listing {
  RowFormat format = RowFormat::kJson;
  std::string head;  // ListStream's
  std::unique_ptr<RowSource> rows;
  Lsn lsn;
  bool paged = false;  // has a cursor at its end, and a bound on its rows
};

}  // namespace tallystick
