// POST /v1/query/json: runs what query_json.h has read.
//
// Thread rule: a pure function; it blocks.
#pragma once

#include "server/read_request.h"

namespace tallystick {

Result<Listing> ReadQueryJson(const ReadRequest& request, ReadReply& reply);

}  // namespace tallystick
