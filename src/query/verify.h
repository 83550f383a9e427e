// Recounts everything, and compares it with what queries and key tables say.
#pragma once

#include <cstdint>
#include <functional>

#include "query/view.h"
#include "tallystick/db.h"

namespace tallystick {

// See Db::Verify.
Result<VerifyReport> Verify(const View& view,
                            const std::function<void(uint64_t, uint64_t)>& progress);

}  // namespace tallystick
