// For tests: a database behind a server on loopback, and bodies to send to it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <boost/json/parse.hpp>

#include "server/server.h"
#include "server/test_client.h"
#include "testing/temp_dir.h"

namespace tallystick {

inline constexpr char kRange[] = "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z";

inline std::string EventText(std::string_view id, std::string_view quantity = "1",
                             std::string_view account = "acme",
                             int64_t timestamp_ms = 1782000000000) {
  return fmt::format(R"({{"event_id":"{}","account_id":"{}","product_id":"api","meter_id":"tok",)"
                     R"("timestamp_ms":{},"quantity":{}}})",
                     id, account, timestamp_ms, quantity);
}

inline std::string Body(const std::vector<std::string>& events) {
  return fmt::format("{{\"events\":[{}]}}", fmt::join(events, ","));
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    OpenOptions options;
    options.batch_bytes_max = 4 << 20;
    options.wal_file_bytes = 16 << 20;
    options.commit_gap_us = 0;
    db_.emplace(Db::Open(dir_.path() + "/data", options).value());
    options_.listen_port = 0;
    // Nothing ends by a clock but what a test means to end.
    for (uint32_t* ms :
         {&options_.header_timeout_ms, &options_.body_timeout_ms, &options_.idle_timeout_ms,
          &options_.body_progress_timeout_ms, &options_.write_timeout_ms}) {
      *ms = 3'600'000;
    }
  }

  TestClient Client() {
    if (!server_) server_ = Server::Start(*db_, options_, {}).value();
    return TestClient(server_->port());
  }

  // Waits for a line of the metrics. Asks anew where a test's short timeouts close the asker too.
  void AwaitMetric(std::string_view line) {
    const std::string wanted = fmt::format("\n{}\n", line);
    for (;;) {
      TestClient observer = Client();
      TestAnswer answer;
      do {
        answer = observer.Get("/metrics");
        if (answer.body.find(wanted) != std::string::npos) return;
      } while (answer.complete);
    }
  }

  static std::string Code(const TestAnswer& answer) {
    EXPECT_EQ(answer.headers.at("content-type"), "application/problem+json");
    const auto problem = boost::json::parse(answer.body).as_object();
    EXPECT_EQ(problem.at("status").as_int64(), answer.status);
    return std::string(problem.at("code").as_string());
  }

  void ExpectNothingStored() { EXPECT_EQ(db_->VisibleLsn().value, 0u); }

  TempDir dir_;
  std::optional<Db> db_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

inline std::string Gzip(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace tallystick
