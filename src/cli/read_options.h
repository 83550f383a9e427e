// The options of the commands that read, and the requests that they become (docs/api.md).
//
// Thread rule: values and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/source.h"
#include "tallystick/status.h"

namespace tallystick {

// Each command adds those that it has; empty and none: not given.
struct ReadOptions {
  Place place;
  std::string account;
  std::string event_id;
  std::string from = "0";
  std::string to = "9223372036854775807";
  std::string group_by;              // a comma list
  std::vector<std::string> filters;  // FIELD=VALUE
  std::vector<std::string> metrics;  // NAME=FUNCTION or NAME=FUNCTION:FIELD
  std::string order;                 // a comma list, '-' before a name: descending
  std::optional<uint64_t> group_limit;
  std::string time_zone;
  std::string source;  // "raw", "rollup"
  std::string meter;
  std::string file;
  std::optional<uint64_t> as_of_lsn;
  std::string as_of;
  std::optional<uint64_t> min_lsn;
  std::optional<uint32_t> limit;  // 0: everything
  std::string cursor;
  bool analyze = false;
  bool json = false;
  bool csv = false;
  bool plot = false;
};

// What every command that reads has: the place, as of when, --json.
void AddCommon(CLI::App& command, ReadOptions* options);
// An account that must not be empty; required or not.
void AddAccount(CLI::App& command, ReadOptions* options, const char* description, bool required);
void AddRange(CLI::App& command, ReadOptions* options);
void AddFilters(CLI::App& command, ReadOptions* options, const char* description,
                std::string (*check)(const std::string&));
void AddGroups(CLI::App& command, ReadOptions* options);
void AddSource(CLI::App& command, ReadOptions* options);
void AddPaging(CLI::App& command, ReadOptions* options);
void AddCsv(CLI::App& command, ReadOptions* options, const char* description);

// Checks of option values: "" or what is wrong. The first takes the fields that the events of an
// account can be filtered by, the second account_id too, the third any.
std::string CheckEventFilter(const std::string& text);
std::string CheckUsageFilter(const std::string& text);
std::string CheckQueryFilter(const std::string& text);
std::string CheckMetric(const std::string& text);

// "meter_id, day,": the names, without blanks and empty ones.
std::vector<std::string> SplitNames(std::string_view text);

// What GET parameters say: as of when, the range, the filters.
Parameters CommonParameters(const ReadOptions& options);
Parameters RangeParameters(const ReadOptions& options);

Request UsageRequest(const ReadOptions& options);
Request TopRequest(const ReadOptions& options);
Request EventsRequest(const ReadOptions& options);
Request EventRequest(const ReadOptions& options);
Request ConflictsRequest(const ReadOptions& options);
Request ExplainRequest(const ReadOptions& options);
Request VerifyRequest(const ReadOptions& options);
// kInvalidArgument `duplicate_metric` if two metrics have one name.
Result<Request> QueryRequest(const ReadOptions& options);
// The same with the body that a file holds.
Request QueryRequest(const ReadOptions& options, std::string body);

// The name under which a usage line has a group key (docs/api.md).
std::string LineKey(std::string_view group_by_name);

// With --plot, the bucket that is one line: the one that group_by names, else `day`, which is then
// added to group_by. kInvalidArgument `invalid_plot` if it names several.
Result<std::string> ChoosePlotBucket(ReadOptions* options);

}  // namespace tallystick
