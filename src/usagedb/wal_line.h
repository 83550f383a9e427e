// A line of usageDb's write-ahead log: one event as JSON.
//
// Read as usageDb reads it: unknown fields are ignored, of a dimension that comes twice the last
// one counts. A quantity is a bare integer of 128 bits.
//
// Thread rule: one thread at a time.
#pragma once

#include <memory>
#include <string_view>

#include "tallystick/status.h"
#include "usagedb/segment.h"

namespace tallystick::usagedb {

class WalLineParser {
 public:
  WalLineParser();
  ~WalLineParser();

  // Total. The row points into the parser and lives until the next call. kCorruption says what is
  // wrong; the caller knows the line's number.
  Result<Row> Parse(std::string_view line);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The same line, without its end. REQUIRES: as Row says.
void AppendWalLine(std::string& out, const Row& row);

}  // namespace tallystick::usagedb
