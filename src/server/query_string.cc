#include "server/query_string.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/utf8.h"

namespace tallystick {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> Decode(std::string_view text, bool plus_is_blank, std::string_view what) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '+' && plus_is_blank) {
      out += ' ';
    } else if (c != '%') {
      out += c;
    } else {
      const int high = i + 1 < text.size() ? HexDigit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return Status::InvalidArgument("invalid_url", fmt::format("broken %XX in the {}", what));
      }
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  if (!IsUtf8(out)) {
    return Status::InvalidArgument("invalid_url", fmt::format("invalid UTF-8 in the {}", what));
  }
  return out;
}

Status InvalidParameter(std::string_view name, std::string_view rule, std::string_view value) {
  return Status::InvalidArgument(
      "invalid_parameter",
      fmt::format("parameter `{}` must be {}, not `{}`", name, rule, Shown(value)));
}

}  // namespace

Result<QueryString> QueryString::Parse(std::string_view text) {
  QueryString query;
  while (!text.empty()) {
    const size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    auto name = Decode(pair.substr(0, equals), true, "query");
    if (!name.ok()) return name.status();
    auto value = Decode(pair.substr(std::min(equals + 1, pair.size())), true, "query");
    if (!value.ok()) return value.status();
    query.parameters_.emplace_back(std::move(*name), std::move(*value));
  }
  return query;
}

Result<std::optional<std::string_view>> QueryString::Get(std::string_view name) const {
  std::optional<std::string_view> found;
  for (const auto& [key, value] : parameters_) {
    if (key != name) continue;
    if (found) {
      return Status::InvalidArgument("duplicate_parameter",
                                     fmt::format("parameter `{}` is given twice", Shown(name)));
    }
    found = value;
  }
  return found;
}

Result<std::string_view> QueryString::Require(std::string_view name) const {
  auto value = Get(name);
  if (!value.ok()) return value.status();
  if (!*value) {
    return Status::InvalidArgument("missing_parameter",
                                   fmt::format("parameter `{}` is required", name));
  }
  return **value;
}

Result<std::optional<uint64_t>> QueryString::GetUint(std::string_view name, uint64_t min,
                                                     uint64_t max) const {
  auto text = Get(name);
  if (!text.ok()) return text.status();
  if (!*text) return std::optional<uint64_t>();
  const std::string_view digits = **text;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < min || value > max) {
    return InvalidParameter(name, fmt::format("a number from {} to {}", min, max), digits);
  }
  return std::optional<uint64_t>(value);
}

Result<bool> QueryString::GetBool(std::string_view name) const {
  auto text = Get(name);
  if (!text.ok()) return text.status();
  if (!*text || **text == "false") return false;
  if (**text == "true") return true;
  return InvalidParameter(name, "`true` or `false`", **text);
}

Result<Target> Target::Parse(std::string_view text) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!text.starts_with(scheme)) continue;
    text.remove_prefix(scheme.size());
    text.remove_prefix(std::min(text.find_first_of("/?"), text.size()));
    break;
  }
  text = text.substr(0, text.find('#'));

  Target target;
  const size_t question = std::min(text.find('?'), text.size());
  std::string_view path = text.substr(0, question);
  if (!path.starts_with('/')) {
    return Status::InvalidArgument("invalid_url", "the path must begin with a slash");
  }
  while (!path.empty()) {
    path.remove_prefix(1);
    const size_t end = std::min(path.find('/'), path.size());
    auto segment = Decode(path.substr(0, end), false, "path");
    if (!segment.ok()) return segment.status();
    target.segments.push_back(std::move(*segment));
    path.remove_prefix(end);
  }
  auto query = QueryString::Parse(text.substr(std::min(question + 1, text.size())));
  if (!query.ok()) return query.status();
  target.query = std::move(*query);
  return target;
}

}  // namespace tallystick
