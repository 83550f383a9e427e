// docs/api.md lists every code that an answer can carry, and no other.
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "server/problem.h"
#include "server/routes.h"

namespace tallystick {
namespace {

std::string ReadSource(const std::string& path) {
  std::ifstream file(std::string(TALLY_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// The text of a section of docs/api.md, from its heading to the next one.
std::string Section(const std::string& heading) {
  static const std::string document = ReadSource("docs/api.md");
  const size_t from = document.find(heading + "\n");
  EXPECT_NE(from, std::string::npos) << heading;
  return document.substr(from, document.find("\n##", from + heading.size()) - from);
}

std::set<std::string> FirstColumn(const std::string& section) {
  std::set<std::string> codes;
  const std::regex row("\n\\| `([a-z0-9_]+)` \\|");
  for (std::sregex_iterator at(section.begin(), section.end(), row), end; at != end; ++at) {
    codes.insert((*at)[1]);
  }
  return codes;
}

TEST(ApiDocument, ListsTheProblemCodesWithTheirStatus) {
  const std::string section = Section("## Errors");
  std::set<std::string> codes;
  for (const ProblemKind& kind : ProblemKinds()) {
    codes.emplace(kind.code);
    const std::string row =
        "| `" + std::string(kind.code) + "` | " + std::to_string(kind.http_status) + " |";
    EXPECT_NE(section.find(row), std::string::npos) << row;
    EXPECT_NE(HttpReason(kind.http_status), "Unknown") << kind.code;
  }
  EXPECT_EQ(FirstColumn(section), codes);
}

// The codes are gathered from the places that make them: the JSON reader, the event checks,
// quantities.
TEST(ApiDocument, ListsTheRejectionCodes) {
  std::set<std::string> codes;
  const auto gather = [&codes](const std::string& path, const char* pattern) {
    const std::string text = ReadSource(path);
    const std::regex code(pattern);
    size_t found = 0;
    for (std::sregex_iterator at(text.begin(), text.end(), code), end; at != end; ++at, ++found) {
      codes.insert((*at)[1]);
    }
    EXPECT_GT(found, 0u) << path;
  };
  gather("src/server/ingest_json.cc", "Reject\\(\\s*\"([a-z_0-9]+)\"");
  gather("src/server/ingest_json.cc", "Rejection\\{\"([a-z_0-9]+)\"");
  gather("src/model/event_check.cc", "(?:Rejection|return)\\s*\\{\\s*\"([a-z_0-9]+)\"");
  gather("src/model/event_check.cc", "return \"([a-z]+_[a-z_0-9]+)\"");
  gather("src/model/batch_builder.cc", "AddRejected\\(event.event_id, \\{\"([a-z_0-9]+)\"");
  gather("src/base/quantity.cc", "\"((?:invalid_quantity|quantity_)[a-z_]*)\"");
  codes.erase("invalid_json");  // of a line: not an event's
  EXPECT_EQ(FirstColumn(Section("### Rejection codes")), codes);
}

TEST(ApiDocument, ListsTheRoutes) {
  const std::string section = Section("# The HTTP API");
  for (size_t route = 0; route + 1 < kRouteCount; ++route) {
    const std::string name(RouteName(static_cast<Route>(route)));
    EXPECT_NE(section.find(" " + name + "`"), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace tallystick
