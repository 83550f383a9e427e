#include "cli/toml_config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "testing/temp_dir.h"

namespace tallystick {
namespace {

struct Options {
  std::string data;
  uint64_t bytes = 1;
  bool flag = false;
};

// What the program does, on a file's text: the exit code of the command line, and the options.
Options Parse(const std::string& text, std::vector<std::string> extra, bool* refused) {
  Options options;
  CLI::App app;
  app.set_config("--config");
  app.config_formatter(std::make_shared<TomlConfig>("serve"));
  app.allow_config_extras(CLI::config_extras_mode::error);
  auto* serve = app.add_subcommand("serve");
  serve->fallthrough();
  serve->allow_config_extras(CLI::config_extras_mode::error);
  serve->add_option("--data-dir", options.data)->required();
  serve->add_option("--bytes-max", options.bytes)->transform(CLI::AsSizeValue(false));
  serve->add_flag("--flag", options.flag);
  const TempDir dir;
  const std::string path = dir.path() + "/config.toml";
  std::ofstream(path) << text;
  std::vector<std::string> arguments = {"serve", "--config", path};
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  *refused = false;
  try {
    app.parse(arguments);
  } catch (const std::exception&) {
    *refused = true;
  }
  return options;
}

TEST(TomlConfig, ReadsValuesUndamaged) {
  bool refused = false;
  const Options options =
      Parse("data_dir = \"a # \\\"b\\\"\"\nbytes-max = 8_080\nflag = true\n", {}, &refused);
  EXPECT_FALSE(refused);
  EXPECT_EQ(options.data, "a # \"b\"");
  EXPECT_EQ(options.bytes, 8080u);
  EXPECT_TRUE(options.flag);
}

TEST(TomlConfig, TakesSizesAndTheCommandLineWins) {
  bool refused = false;
  const std::string text = "data_dir = \"file\"\nbytes_max = \"64 MB\"\n";
  EXPECT_EQ(Parse(text, {}, &refused).bytes, 64u << 20);
  EXPECT_EQ(Parse(text, {"--data-dir", "line"}, &refused).data, "line");
  EXPECT_FALSE(refused);
}

TEST(TomlConfig, RefusesUnknownKeysTablesAndWhatIsNoToml) {
  for (const char* text :
       {"data_dir = \"d\"\ntypo = 1\n", "data_dir = \"d\"\n[serve]\nbytes_max = 1\n",
        "data_dir = \n", "data_dir = \"d\"\nbytes_max = \"x\"\n", ""}) {
    bool refused = false;
    Parse(text, {}, &refused);
    EXPECT_TRUE(refused) << text;
  }
}

}  // namespace
}  // namespace tallystick
