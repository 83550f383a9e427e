// The answer of GET /v1/status.
//
// Thread rule: a pure function.
#pragma once

#include <cstdint>
#include <string>

#include "tallystick/db.h"

namespace tallystick {

// `ready`: whether ingest would be taken.
std::string StatusDocument(const DbStatus& db, const Status& ready, int64_t uptime_s);

}  // namespace tallystick
