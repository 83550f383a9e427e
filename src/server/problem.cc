#include "server/problem.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "server/json_writer.h"

namespace tallystick {
namespace {

// Sorted by code.
constexpr std::array kKinds = std::to_array<ProblemKind>({
    {"account_id_required", 400, "The account is part of an event's identity here"},
    {"as_of_in_future", 400, "The time is still to come"},
    {"backup_running", 409, "Another backup is running"},
    {"batch_too_large", 413, "Too many events, or too many bytes, in one batch"},
    {"body_memory_full", 503, "The bodies being read need too much memory"},
    {"body_too_large", 413, "The body is too large"},
    {"cancelled", 503, "The read was given up"},
    {"closed", 503, "The database is closed"},
    {"compaction_behind", 503, "Background work is behind; try again later"},
    {"corruption", 500, "Stored bytes are damaged"},
    {"dedupe_rebuilding", 503, "The index of known events is being rebuilt"},
    {"duplicate_parameter", 400, "A query parameter is given twice"},
    {"event_not_found", 404, "No such event"},
    {"expectation_failed", 417, "The expectation cannot be met"},
    {"failed_precondition", 409, "Not possible in this state"},
    {"foreign_backup", 409, "The target is a backup of another database"},
    {"foreign_cursor", 400, "The cursor is of another database"},
    {"headers_too_large", 431, "The request's head is too large"},
    {"internal", 500, "Internal error"},
    {"invalid_argument", 400, "A value is wrong"},
    {"invalid_cursor", 400, "The cursor cannot be read"},
    {"invalid_encoding", 400, "The compressed body cannot be read"},
    {"invalid_filter", 400, "A filter cannot be applied"},
    {"invalid_json", 400, "The body is no JSON"},
    {"invalid_metric", 400, "A metric cannot be computed"},
    {"invalid_order", 400, "Lines cannot be ordered so"},
    {"invalid_parameter", 400, "A parameter's value is wrong"},
    {"invalid_request", 400, "The request cannot be read"},
    {"invalid_shape", 422, "The body is JSON, but not of the right shape"},
    {"invalid_target", 400, "A backup cannot be put there"},
    {"invalid_time", 400, "A time cannot be read"},
    {"invalid_time_zone", 400, "There is no such time zone"},
    {"invalid_url", 400, "The URL cannot be read"},
    {"io_error", 500, "The storage failed"},
    {"log_poisoned", 503, "The log failed; no ingest until a restart"},
    {"log_unavailable", 503, "The log is being prepared"},
    {"lsn_in_future", 400, "The LSN is beyond what is stored"},
    {"lsn_not_reached", 503, "The LSN was waited for, and did not come"},
    {"memory_full", 503, "The memory for events is full"},
    {"method_not_allowed", 405, "The path exists, but not with this method"},
    {"missing_parameter", 400, "A required query parameter is missing"},
    {"no_space", 503, "The storage is full"},
    {"not_found", 404, "No such path"},
    {"not_loopback", 403, "Only for clients on the same machine"},
    {"queries_full", 503, "Too many reads are waiting"},
    {"query_timeout", 503, "The read took too long"},
    {"query_too_large", 503, "The read needs too much memory"},
    {"queue_full", 503, "The commit queue is full"},
    {"request_timeout", 408, "The request came too slowly"},
    {"scrub_off", 409, "Scrubbing is switched off"},
    {"target_not_backup", 409, "The target is there, and is no backup"},
    {"too_many_connections", 503, "Too many connections"},
    {"unavailable", 503, "Not possible right now"},
    {"unsupported_encoding", 415, "Only gzip and zstd bodies are read"},
    {"unsupported_media_type", 415, "The body must be JSON"},
    {"unsupported_transfer_encoding", 501, "Only chunked transfer encoding is read"},
});
static_assert(std::ranges::is_sorted(kKinds, {}, &ProblemKind::code));

const ProblemKind* Find(std::string_view code) {
  const auto at = std::ranges::lower_bound(kKinds, code, {}, &ProblemKind::code);
  return at != kKinds.end() && at->code == code ? &*at : nullptr;
}

}  // namespace

std::span<const ProblemKind> ProblemKinds() { return kKinds; }

const ProblemKind& ProblemOf(const Status& status) {
  if (const ProblemKind* kind = Find(status.reason())) return *kind;
  return *Find(status.ok() ? "internal" : StatusCodeName(status.code()));
}

std::string ProblemToJson(const ProblemKind& kind, std::string_view detail) {
  std::string out = R"({"code":)";
  AppendJsonString(out, kind.code);
  out += R"(,"detail":)";
  AppendJsonString(out, Shown(detail, 1024));
  out += R"(,"status":)";
  AppendJsonUint(out, static_cast<uint64_t>(kind.http_status));
  out += R"(,"title":)";
  AppendJsonString(out, kind.title);
  out += R"(,"type":"about:blank"})";
  return out;
}

std::string_view HttpReason(int http_status) {
  switch (http_status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return "Unknown";
  }
}

}  // namespace tallystick
