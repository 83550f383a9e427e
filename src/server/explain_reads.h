// GET /v1/accounts/{account}/explain: the sums of an account, what each came from, and how it was
// read.
//
// Thread rule: pure functions; they block.
#pragma once

#include "server/read_request.h"

namespace tallystick {

Result<Listing> ReadExplain(const ReadRequest& request, ReadReply& reply);

}  // namespace tallystick
