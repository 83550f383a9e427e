// The config file: TOML, read by toml++ (CLI11's own reader damages values).
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace tallystick {

// Its keys are the long options of `command`, with '_' or '-'. A key that no option has, a table
// and a file that is no TOML are errors (toml::parse_error leaves from_config by exception; RunCli
// turns it into a message).
class TomlConfig final : public CLI::Config {
 public:
  explicit TomlConfig(std::string command) : command_(std::move(command)) {}

  std::string to_config(const CLI::App* app, bool default_also, bool write_description,
                        std::string prefix) const override;
  std::vector<CLI::ConfigItem> from_config(std::istream& in) const override;

 private:
  std::string command_;
};

}  // namespace tallystick
