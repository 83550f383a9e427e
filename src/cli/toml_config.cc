#include "cli/toml_config.h"

#include <algorithm>
#include <sstream>

#include <toml++/toml.h>

namespace tallystick {
namespace {

// The value as it would stand on the command line.
std::string TextOf(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  std::ostringstream out;
  node.visit([&out](const auto& value) { out << value; });
  return out.str();
}

}  // namespace

std::string TomlConfig::to_config(const CLI::App* /*app*/, bool /*default_also*/,
                                  bool /*write_description*/, std::string /*prefix*/) const {
  return {};  // nothing asks for it
}

std::vector<CLI::ConfigItem> TomlConfig::from_config(std::istream& in) const {
  std::vector<CLI::ConfigItem> items;
  const toml::table table = toml::parse(in);
  for (const auto& [key, node] : table) {
    CLI::ConfigItem item;
    item.parents = {command_};
    item.name = std::string(key.str());
    std::ranges::replace(item.name, '_', '-');
    if (const auto* array = node.as_array()) {
      for (const auto& element : *array) item.inputs.push_back(TextOf(element));
    } else {
      item.inputs.push_back(TextOf(node));
    }
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace tallystick
