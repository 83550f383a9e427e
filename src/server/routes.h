// Which path is what, and with which methods.
//
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tallystick {

enum class Route : uint8_t {
  kIngest,     // POST /v1/usage/batch
  kUsageAll,   // GET  /v1/usage
  kAccounts,   // GET  /v1/accounts
  kUsage,      // GET  /v1/accounts/{account}/usage
  kEvents,     // GET  /v1/accounts/{account}/usage/events
  kExplain,    // GET  /v1/accounts/{account}/explain
  kVerify,     // GET  /v1/accounts/{account}/verify
  kQueryJson,  // POST /v1/query/json
  kEvent,      // GET  /v1/events/{event_id}
  kConflicts,  // GET  /v1/conflicts
  kBackup,     // POST /v1/admin/backup
  kHealth,     // GET  /health
  kReady,      // GET  /ready
  kStatus,     // GET  /v1/status
  kScrub,      // POST /v1/admin/scrub
  kMetrics,    // GET  /metrics
  kPage,       // GET  /
  kNone,       // no such path
};
inline constexpr size_t kRouteCount = 18;

// "/v1/accounts/{account}/usage", ...: the label of metrics.
std::string_view RouteName(Route route);

struct RouteMatch {
  Route route = Route::kNone;
  std::string_view parameter;  // the path's {…}, in the segments that were given
};

RouteMatch MatchRoute(std::span<const std::string> segments);

// Whether requests of this route have a body, which is JSON: POST.
bool TakesBody(Route route);

// "GET, HEAD" or "POST".
std::string_view AllowedMethods(Route route);
bool IsAllowed(Route route, std::string_view method);

}  // namespace tallystick
