#include "server/routes.h"

#include <vector>

#include <gtest/gtest.h>

namespace tallystick {
namespace {

Route Matched(const std::vector<std::string>& segments) { return MatchRoute(segments).route; }

TEST(Routes, PathsMatchWhole) {
  EXPECT_EQ(Matched({"v1", "usage", "batch"}), Route::kIngest);
  EXPECT_EQ(Matched({"v1", "usage"}), Route::kUsageAll);
  EXPECT_EQ(Matched({"v1", "accounts"}), Route::kAccounts);
  EXPECT_EQ(Matched({"v1", "accounts", "a"}), Route::kNone);
  EXPECT_EQ(Matched({"v1", "accounts", "a", "explain"}), Route::kExplain);
  EXPECT_EQ(Matched({"v1", "accounts", "a", "verify"}), Route::kVerify);
  EXPECT_EQ(Matched({"v1", "query", "json"}), Route::kQueryJson);
  EXPECT_EQ(Matched({"v1", "accounts", "a", "usage"}), Route::kUsage);
  EXPECT_EQ(Matched({"v1", "accounts", "a", "usage", "events"}), Route::kEvents);
  EXPECT_EQ(Matched({"v1", "events", "e"}), Route::kEvent);
  EXPECT_EQ(Matched({"v1", "conflicts"}), Route::kConflicts);
  EXPECT_EQ(Matched({"v1", "admin", "scrub"}), Route::kScrub);
  EXPECT_EQ(Matched({"v1", "admin", "backup"}), Route::kBackup);
  EXPECT_EQ(Matched({"health"}), Route::kHealth);
  EXPECT_EQ(Matched({"health", ""}), Route::kNone) << "a trailing slash is another path";
  EXPECT_EQ(Matched({"healthy"}), Route::kNone);
  EXPECT_EQ(Matched({"v1"}), Route::kNone);
  EXPECT_EQ(Matched({"v1", "accounts", "a", "usage", "events", "x"}), Route::kNone);
  EXPECT_EQ(Matched({""}), Route::kPage);
  EXPECT_EQ(Matched({"", ""}), Route::kNone);
}

TEST(Routes, TheParameterIsTheSegment) {
  const std::vector<std::string> segments = {"v1", "accounts", "a/b", "usage"};
  EXPECT_EQ(MatchRoute(segments).parameter, "a/b");
  const std::vector<std::string> empty = {"v1", "accounts", "", "usage"};
  EXPECT_EQ(MatchRoute(empty).route, Route::kUsage) << "an empty account routes";
}

TEST(Routes, Methods) {
  EXPECT_TRUE(IsAllowed(Route::kIngest, "POST"));
  EXPECT_FALSE(IsAllowed(Route::kIngest, "GET"));
  EXPECT_TRUE(IsAllowed(Route::kQueryJson, "POST"));
  EXPECT_FALSE(IsAllowed(Route::kQueryJson, "HEAD"));
  EXPECT_FALSE(IsAllowed(Route::kVerify, "POST"));
  EXPECT_FALSE(IsAllowed(Route::kScrub, "GET"));
  EXPECT_TRUE(IsAllowed(Route::kBackup, "POST"));
  EXPECT_FALSE(IsAllowed(Route::kBackup, "GET"));
  EXPECT_TRUE(IsAllowed(Route::kHealth, "HEAD"));
  EXPECT_FALSE(IsAllowed(Route::kHealth, "get")) << "methods are case-sensitive";
}

}  // namespace
}  // namespace tallystick
