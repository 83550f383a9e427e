// POST /v1/admin/backup: its body, its answer, its errors, and who may ask.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/asio/ip/address.hpp>
#include <boost/json/parse.hpp>

#include "server/backup_json.h"
#include "server/loopback.h"
#include "server/server_fixture.h"
#include "tallystick/backup.h"

namespace tallystick {
namespace {

constexpr char kRoute[] = "/v1/admin/backup";

class ServerBackupTest : public ServerTest {
 protected:
  static std::string TargetBody(const std::string& target) {
    return fmt::format(R"({{"target":"{}"}})", target);
  }
  std::string Target() const { return dir_.path() + "/backup"; }
};

// The address that this machine has towards others; none where it has no network.
std::optional<uint32_t> OuterAddress() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in other{};
  other.sin_family = AF_INET;
  other.sin_port = htons(9);
  other.sin_addr.s_addr = inet_addr("192.0.2.1");  // nothing is sent there
  sockaddr_in own{};
  socklen_t bytes = sizeof own;
  const bool known = ::connect(fd, reinterpret_cast<sockaddr*>(&other), sizeof other) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &bytes) == 0;
  ::close(fd);
  const uint32_t address = ntohl(own.sin_addr.s_addr);
  if (!known || address >> 24 == 127 || address == 0) return std::nullopt;
  return address;
}

TEST_F(ServerBackupTest, AnswersWhenItIsCompleteAndTheStatusTells) {
  TestClient client = Client();
  ASSERT_EQ(client.Post(Body({EventText("a"), EventText("b", "2.5")})).status, 200);
  const TestAnswer answer = client.Post(TargetBody(Target()), kRoute);
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto report = boost::json::parse(answer.body).as_object();
  EXPECT_EQ(report.at("lsn").to_number<uint64_t>(), 2u);
  EXPECT_EQ(report.at("target").as_string(), Target());
  EXPECT_EQ(report.at("files").to_number<uint64_t>(),
            report.at("copied_files").as_int64() + report.at("linked_files").as_int64());
  const auto info = VerifyBackup(Target(), nullptr, {});
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(info->lsn.value, 2u);

  const auto status = boost::json::parse(client.Get("/v1/status").body).as_object();
  const auto& backup = status.at("backup").as_object();
  EXPECT_EQ(backup.at("backups").as_int64(), 1);
  EXPECT_EQ(backup.at("running").as_bool(), false);
  EXPECT_EQ(backup.at("lsn").as_int64(), 2);
  EXPECT_EQ(backup.at("target").as_string(), Target());
  EXPECT_NE(client.Get("/metrics").body.find("\ntallystick_backups_total 1\n"), std::string::npos);

  // It is a copy: what comes later is not in it, and a second one brings it up to date.
  ASSERT_EQ(client.Post(Body({EventText("c")})).status, 200);
  const std::string restored = dir_.path() + "/restored";
  ASSERT_TRUE(RestoreBackup(Target(), restored, nullptr, {}).ok());
  auto copy = Db::Open(restored, {});
  ASSERT_TRUE(copy.ok()) << copy.status().ToString();
  EXPECT_EQ(copy->VisibleLsn().value, 2u);
  EXPECT_EQ(copy->GetEvent("b")->event.quantity.ToString(), "2.5");
  EXPECT_EQ(copy->GetStatus().database_id, db_->GetStatus().database_id);
  EXPECT_NE(copy->GetStatus().incarnation, db_->GetStatus().incarnation);
  EXPECT_EQ(client.Post(TargetBody(Target()), kRoute).status, 200);
  EXPECT_EQ(VerifyBackup(Target(), nullptr, {})->lsn.value, 3u);
}

TEST_F(ServerBackupTest, BadBodiesNameTheField) {
  TestClient client = Client();
  const auto post = [&](const std::string& body) { return client.Post(body, kRoute); };
  const struct {
    const char* body;
    const char* code;
    const char* detail;
  } cases[] = {
      {"{}", "invalid_parameter", "`target` is missing"},
      {"[]", "invalid_parameter", "an object"},
      {R"({"target":7})", "invalid_parameter", "`target` must be a string"},
      {R"({"target":null})", "invalid_parameter", "`target` must be a string"},
      {R"({"target":"x","copy":1})", "invalid_parameter", "`copy` must be true or false"},
      {R"({"target":"x","target":"y"})", "invalid_parameter", "`target` occurs twice"},
      {R"({"target":"x","Target":"y"})", "invalid_parameter", "`Target` is unknown"},
      {R"({"target":"x")", "invalid_json", ""},
      {R"({"target":"x"} y)", "invalid_json", ""},
      {"", "invalid_json", ""},
      {R"({"target":""})", "invalid_target", "is empty"},
      {"{\"target\":\"a\\u0000b\"}", "invalid_target", "NUL"},
      {R"({"target":"/no/such/parent"})", "invalid_target", "does not exist"},
  };
  for (const auto& one : cases) {
    const TestAnswer answer = post(one.body);
    EXPECT_EQ(answer.status, 400) << one.body << answer.body;
    EXPECT_EQ(Code(answer), one.code) << one.body;
    EXPECT_NE(answer.body.find(one.detail), std::string::npos) << answer.body;
  }
  const TestAnswer inside = post(TargetBody(dir_.path() + "/data/copy"));
  EXPECT_EQ(inside.status, 400);
  EXPECT_EQ(Code(inside), "invalid_target");
  EXPECT_EQ(client.Post(std::string(kBackupBodyBytesMax + 1, ' '), kRoute).status, 413);
  TestClient other = Client();
  EXPECT_EQ(other.Get(kRoute).status, 405);
}

TEST_F(ServerBackupTest, OtherDirectoriesAreRefused) {
  TestClient client = Client();
  const TestAnswer answer = client.Post(TargetBody(dir_.path()), kRoute);
  EXPECT_EQ(answer.status, 409);
  EXPECT_EQ(Code(answer), "target_not_backup");
  auto other = Db::Open(dir_.path() + "/other", {});
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(other->Backup(Target()).ok());
  const TestAnswer foreign = client.Post(TargetBody(Target()), kRoute);
  EXPECT_EQ(foreign.status, 409);
  EXPECT_EQ(Code(foreign), "foreign_backup");
}

TEST_F(ServerBackupTest, OnlyThisMachineMayAsk) {
  const auto outer = OuterAddress();
  if (!outer.has_value()) GTEST_SKIP() << "this machine has no address but loopback ones";
  options_.listen_host = "0.0.0.0";
  Client();
  TestClient client(server_->port(), *outer);
  const TestAnswer answer = client.Post(TargetBody(Target()), kRoute);
  EXPECT_EQ(answer.status, 403) << answer.body;
  EXPECT_EQ(Code(answer), "not_loopback");
  EXPECT_EQ(db_->GetStatus().backups, 0u);
  EXPECT_EQ(client.Get("/health").status, 200);
}

TEST(IsLoopbackTest, ByTheAddressOfThePeer) {
  const auto is_loopback = [](const char* text) {
    return IsLoopback(boost::asio::ip::make_address(text));
  };
  EXPECT_TRUE(is_loopback("127.0.0.1"));
  EXPECT_TRUE(is_loopback("127.8.9.1"));
  EXPECT_TRUE(is_loopback("::1"));
  EXPECT_TRUE(is_loopback("::ffff:127.0.0.1"));
  EXPECT_FALSE(is_loopback("10.0.0.1"));
  EXPECT_FALSE(is_loopback("192.168.1.1"));
  EXPECT_FALSE(is_loopback("0.0.0.0"));
  EXPECT_FALSE(is_loopback("::"));
  EXPECT_FALSE(is_loopback("::ffff:10.0.0.1"));
  EXPECT_FALSE(is_loopback("fe80::1"));
}

}  // namespace
}  // namespace tallystick
