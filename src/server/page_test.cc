// GET / answers the page, whole, and with the policy that keeps it from asking anyone else.
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "server/page.h"
#include "server/server.h"
#include "server/test_client.h"
#include "testing/temp_dir.h"

namespace tallystick {
namespace {

TEST(Page, IsTheFile) {
  std::ifstream file(std::string(TALLY_SOURCE_DIR) + "/src/server/page.html");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(text.empty());
  EXPECT_EQ(PageHtml(), text);
}

TEST(Page, IsServedWithItsPolicy) {
  const TempDir dir;
  OpenOptions options;
  options.batch_bytes_max = 4 << 20;
  options.wal_file_bytes = 16 << 20;
  Db db = Db::Open(dir.path() + "/data", options).value();
  ServerOptions server_options;
  server_options.listen_port = 0;
  const auto server = Server::Start(db, server_options, {}).value();
  TestClient client(server->port());

  const TestAnswer answer = client.Get("/");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_EQ(answer.headers.at("content-security-policy"),
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "connect-src 'self'; img-src data:");
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.body, PageHtml());

  client.Send("HEAD /?a=b HTTP/1.1\r\nhost: t\r\n\r\n");
  const TestAnswer head = client.Read(/*head_only=*/true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-length"), std::to_string(PageHtml().size()));
  EXPECT_FALSE(client.Get("/health").headers.contains("content-security-policy"));
  EXPECT_EQ(client.Post("{}", "/").status, 405);
}

}  // namespace
}  // namespace tallystick
