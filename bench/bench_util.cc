#include "bench/bench_util.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace tallystick::bench {
namespace {

constexpr const char* kMeters[] = {"input_tokens", "output_tokens"};
constexpr const char* kModels[] = {"model-small", "model-medium", "model-large", "model-vision"};
constexpr int64_t kStartMs = 1'780'272'000'000;  // 2026-06-01

void WriteHex(uint64_t value, int digits, char* out) {
  for (int i = digits - 1; i >= 0; --i, value >>= 4) out[i] = "0123456789abcdef"[value & 15];
}

std::string AccountOf(uint64_t i) {
  std::string account = "account-00000";
  for (uint64_t rest = Mix(i) % 500, at = account.size() - 1; rest > 0; rest /= 10, --at) {
    account[at] = static_cast<char>('0' + rest % 10);
  }
  return account;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

void EventSource::WriteId(uint64_t i, char* out) {
  const uint64_t a = Mix(i), b = Mix(a ^ i);
  std::memcpy(out, "00000000-0000-4000-8000-000000000000", kIdBytes);
  WriteHex(a >> 32, 8, out);
  WriteHex(a >> 16, 4, out + 9);
  WriteHex(a, 3, out + 15);
  WriteHex(b, 3, out + 20);
  WriteHex(i, 12, out + 24);
}

std::string EventSource::Json(uint64_t i, size_t* id_at) {
  std::string id(kIdBytes, '0');
  WriteId(i, id.data());
  std::string text = R"({"event_id":")";
  *id_at = text.size();
  text += id;
  text += fmt::format(
      R"(","account_id":"{}","subscription_id":"sub-0001","product_id":"inference",)"
      R"("meter_id":"{}",)"
      R"("model_id":"{}","kind":"Usage","correction_ref":null,"timestamp_ms":{},"quantity":{},)"
      R"("unit":"tokens","source":"gateway","dimensions":{{"inner":{{"region":"eu-west"}}}},)"
      R"("ingested_at_ms":0}})",
      AccountOf(i), kMeters[i % 2], kModels[Mix(i) % 4],
      kStartMs + static_cast<int64_t>(i % 2'592'000) * 1000, 1 + Mix(i) % 4000);
  return text;
}

const EventView& EventSource::View(uint64_t i) {
  id_.resize(kIdBytes);
  WriteId(i, id_.data());
  account_ = AccountOf(i);
  dimensions_ = {{"region", "eu-west"}};
  view_.event_id = id_;
  view_.account_id = account_;
  view_.subscription_id = "sub-0001";
  view_.product_id = "inference";
  view_.meter_id = kMeters[i % 2];
  view_.model_id = kModels[Mix(i) % 4];
  view_.unit = "tokens";
  view_.source = "gateway";
  view_.timestamp_ms = kStartMs + static_cast<int64_t>(i % 2'592'000) * 1000;
  view_.quantity = Quantity::FromInteger(1 + static_cast<int64_t>(Mix(i) % 4000));
  view_.dimensions = dimensions_;
  return view_;
}

double StealSeconds() {
  std::istringstream line(ReadFile("/proc/stat"));
  std::string cpu;
  double user, nice, system, idle, wait, irq, soft, steal = 0;
  line >> cpu >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal;
  return steal / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double CpuSecondsOfProcess(int pid) {
  const std::string stat = ReadFile(fmt::format("/proc/{}/stat", pid));
  std::istringstream rest(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::string field;
  double ticks = 0;
  for (int i = 3; i <= 15 && rest >> field; ++i) {
    if (i >= 14) ticks += std::atof(field.c_str());
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

uint64_t ResidentBytesOfProcess(int pid) {
  std::istringstream statm(ReadFile(fmt::format("/proc/{}/statm", pid)));
  uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

Percentiles PercentilesOf(std::vector<double>& values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  auto at = [&](double p) {
    return values[std::min(values.size() - 1,
                           static_cast<size_t>(p * static_cast<double>(values.size())))];
  };
  return {at(0.5), at(0.99), at(0.999), values.back()};
}

void Report::Add(const std::string& name, double value, const std::string& unit,
                 const std::string& note) {
  figures_.push_back({name, value, unit, note});
  fmt::print("{:<52} {:>14.6g} {:<12} {}\n", name, value, unit, note);
  std::fflush(stdout);
}

std::string Report::Json() const {
  const char* commit = std::getenv("TALLY_COMMIT");
  std::string cpu = ReadFile("/proc/cpuinfo");
  const size_t model = cpu.find("model name");
  cpu = model == std::string::npos ? "unknown" : cpu.substr(cpu.find(':', model) + 2, 60);
  cpu = cpu.substr(0, cpu.find('\n'));
  std::string out =
      fmt::format(R"({{"commit":"{}","machine":{{"cpu":"{}","cores":{}}},"figures":[)",
                  commit == nullptr ? "unknown" : commit, cpu, sysconf(_SC_NPROCESSORS_ONLN));
  const char* separator = "";
  for (const Figure& f : figures_) {
    out += fmt::format(R"({}{{"name":"{}","value":{:.9g},"unit":"{}","note":"{}"}})", separator,
                       f.name, f.value, f.unit, f.note);
    separator = ",";
  }
  return out + "]}";
}

}  // namespace tallystick::bench
