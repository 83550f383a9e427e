#include "server/routes.h"

#include <array>

#include "base/check.h"

namespace tallystick {
namespace {

struct Pattern {
  Route route;
  std::string_view path;
};

// A segment in braces matches any text, the empty one too (as usageDb's routes do).
constexpr auto kPatterns = std::to_array<Pattern>({
    {Route::kIngest, "/v1/usage/batch"},
    {Route::kUsageAll, "/v1/usage"},
    {Route::kAccounts, "/v1/accounts"},
    {Route::kUsage, "/v1/accounts/{account}/usage"},
    {Route::kEvents, "/v1/accounts/{account}/usage/events"},
    {Route::kExplain, "/v1/accounts/{account}/explain"},
    {Route::kVerify, "/v1/accounts/{account}/verify"},
    {Route::kQueryJson, "/v1/query/json"},
    {Route::kEvent, "/v1/events/{event_id}"},
    {Route::kConflicts, "/v1/conflicts"},
    {Route::kBackup, "/v1/admin/backup"},
    {Route::kHealth, "/health"},
    {Route::kReady, "/ready"},
    {Route::kStatus, "/v1/status"},
    {Route::kScrub, "/v1/admin/scrub"},
    {Route::kMetrics, "/metrics"},
    {Route::kPage, "/"},
});
static_assert(kPatterns.size() + 1 == kRouteCount);

bool Matches(std::string_view path, std::span<const std::string> segments,
             std::string_view* parameter) {
  for (const std::string& segment : segments) {
    if (path.empty()) return false;
    path.remove_prefix(1);
    const std::string_view wanted = path.substr(0, path.find('/'));
    path.remove_prefix(wanted.size());
    if (wanted.starts_with('{')) {
      *parameter = segment;
    } else if (wanted != segment) {
      return false;
    }
  }
  return path.empty();
}

}  // namespace

std::string_view RouteName(Route route) {
  for (const Pattern& pattern : kPatterns) {
    if (pattern.route == route) return pattern.path;
  }
  return "none";
}

RouteMatch MatchRoute(std::span<const std::string> segments) {
  for (const Pattern& pattern : kPatterns) {
    std::string_view parameter;
    if (Matches(pattern.path, segments, &parameter)) return {pattern.route, parameter};
  }
  return {};
}

bool TakesBody(Route route) {
  return route == Route::kIngest || route == Route::kQueryJson || route == Route::kScrub ||
         route == Route::kBackup;
}

std::string_view AllowedMethods(Route route) { return TakesBody(route) ? "POST" : "GET, HEAD"; }

bool IsAllowed(Route route, std::string_view method) {
  if (TakesBody(route)) return method == "POST";
  return method == "GET" || method == "HEAD";
}

}  // namespace tallystick
