#include "cli/json_rows.h"

#include <fmt/format.h>
#include <simdjson.h>

#include "base/result.h"

namespace tallystick {
namespace {

namespace ondemand = simdjson::ondemand;

std::string_view TrimmedToken(std::string_view token) {
  const size_t end = token.find_last_not_of(" \t\r\n");
  return end == std::string_view::npos ? std::string_view() : token.substr(0, end + 1);
}

simdjson::error_code Flatten(ondemand::object object, const std::string& prefix, JsonRow& out);

simdjson::error_code AddValue(ondemand::value value, const std::string& name, JsonRow& out) {
  ondemand::json_type type;
  if (const auto error = value.type().get(type)) return error;
  switch (type) {
    case ondemand::json_type::object: {
      ondemand::object object;
      if (const auto error = value.get_object().get(object)) return error;
      return Flatten(object, name + ".", out);
    }
    case ondemand::json_type::array: {
      ondemand::array array;
      if (const auto error = value.get_array().get(array)) return error;
      std::string_view raw;
      if (const auto error = array.raw_json().get(raw)) return error;
      out[name] = raw;
      return simdjson::SUCCESS;
    }
    case ondemand::json_type::string: {
      std::string_view text;
      if (const auto error = value.get_string().get(text)) return error;
      out[name] = text;
      return simdjson::SUCCESS;
    }
    case ondemand::json_type::null:
      out[name] = "";
      return simdjson::SUCCESS;
    default:
      out[name] = TrimmedToken(value.raw_json_token());
      return simdjson::SUCCESS;
  }
}

simdjson::error_code Flatten(ondemand::object object, const std::string& prefix, JsonRow& out) {
  for (auto field : object) {
    std::string_view key;
    if (const auto error = field.unescaped_key().get(key)) return error;
    const std::string name = prefix + std::string(key);
    ondemand::value value;
    if (const auto error = field.value().get(value)) return error;
    if (const auto error = AddValue(value, name, out)) return error;
  }
  return simdjson::SUCCESS;
}

simdjson::error_code Read(ondemand::document& document, std::string_view array_key, JsonRows& out) {
  ondemand::object top;
  if (const auto error = document.get_object().get(top)) return error;
  for (auto field : top) {
    std::string_view key;
    if (const auto error = field.unescaped_key().get(key)) return error;
    const std::string name(key);
    ondemand::value value;
    if (const auto error = field.value().get(value)) return error;
    if (array_key.empty() || name != array_key) {
      if (const auto error = AddValue(value, name, out.top)) return error;
      continue;
    }
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return error;
    for (auto element : array) {
      ondemand::object object;
      if (const auto error = element.get_object().get(object)) return error;
      if (const auto error = Flatten(object, "", out.rows.emplace_back())) return error;
    }
  }
  return simdjson::SUCCESS;
}

simdjson::error_code Read(ondemand::document& document, std::vector<std::string>& out) {
  ondemand::array array;
  if (const auto error = document.get_array().get(array)) return error;
  for (auto element : array) {
    std::string_view text;
    if (const auto error = element.get_string().get(text)) return error;
    out.emplace_back(text);
  }
  return simdjson::SUCCESS;
}

Status NotExpected(simdjson::error_code error, std::string_view json) {
  return Status::Corruption(fmt::format("the answer is not the expected JSON: {}: {:.80}",
                                        simdjson::error_message(error), json));
}

}  // namespace

Result<JsonRows> ReadJsonRows(std::string_view json, std::string_view array_key) {
  const simdjson::padded_string padded(json);
  ondemand::parser parser;
  ondemand::document document;
  JsonRows out;
  auto error = parser.iterate(padded).get(document);
  if (!error) error = Read(document, array_key, out);
  if (error) return NotExpected(error, json);
  return out;
}

Result<std::vector<JsonRow>> ReadJsonArray(std::string_view json) {
  if (json.empty()) return std::vector<JsonRow>();
  TALLY_ASSIGN_OR_RETURN(JsonRows read,
                         ReadJsonRows(fmt::format(R"({{"rows":{}}})", json), "rows"));
  return std::move(read.rows);
}

Result<std::vector<std::string>> ReadJsonTexts(std::string_view json) {
  std::vector<std::string> out;
  if (json.empty()) return out;
  const simdjson::padded_string padded(json);
  ondemand::parser parser;
  ondemand::document document;
  auto error = parser.iterate(padded).get(document);
  if (!error) error = Read(document, out);
  if (error) return NotExpected(error, json);
  return out;
}

const std::string& Member(const JsonRow& row, const std::string& name) {
  static const std::string none;
  const auto found = row.find(name);
  return found == row.end() ? none : found->second;
}

}  // namespace tallystick
