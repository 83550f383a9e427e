// POST /v1/admin/backup: its body, its answer, and who may ask.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tallystick/backup.h"
#include "tallystick/status.h"

namespace tallystick {

inline constexpr size_t kBackupBodyBytesMax = 64 << 10;

struct BackupBody {
  std::string target;
  BackupOptions options;
};

// {"target": "...", "copy": true}. `text` is followed by kJsonPaddingBytes readable bytes.
// kInvalidArgument: `invalid_json`, or `invalid_parameter` naming the key.
Result<BackupBody> ParseBackupBody(std::string_view text);

std::string BackupReportToJson(const BackupReport& report);
std::string BackupInfoToJson(const BackupInfo& info);

}  // namespace tallystick
