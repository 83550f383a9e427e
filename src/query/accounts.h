// Which accounts there are.
#pragma once

#include "query/query_context.h"
#include "query/view.h"
#include "tallystick/query.h"

namespace tallystick {

// See Db::ListAccounts.
Result<AccountsPage> ListAccounts(const View& view, const AccountsQuery& query,
                                  QueryContext& context);

}  // namespace tallystick
