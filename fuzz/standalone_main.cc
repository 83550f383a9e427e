// Runs a fuzz target without libFuzzer, so that every compiler can:
//
//   NAME_fuzz [-runs=N] [-seed=N] FOLDER_OR_FILE...
//
// First every kept input as it is, in the order of the names, then N mutations of them (of the
// empty input, if a folder is missing or empty). The same arguments try the same inputs. A crash
// prints the number of its run and leaves the input in NAME_fuzz.crash; that file as the only
// argument tries it again. Exits with 1 if nothing was executed.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "testing/tried.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace tallystick {
namespace {

using Input = std::vector<uint8_t>;

constexpr size_t kInputBytesMax = size_t{1} << 20;

struct Progress {
  std::string program;
  uint64_t executions = 0;
  const Input* input = nullptr;
};
Progress progress;

// The process is lost: what is left to do is to keep the input.
void OnCrash(int signal) {
  std::signal(signal, SIG_DFL);
  std::fprintf(stderr, "crash in run %llu; input in %s.crash\n",
               static_cast<unsigned long long>(progress.executions), progress.program.c_str());
  if (std::FILE* file = std::fopen((progress.program + ".crash").c_str(), "wb")) {
    std::fwrite(progress.input->data(), 1, progress.input->size(), file);
    std::fclose(file);
  }
  std::raise(signal);
}

void Run(const Input& input) {
  progress.input = &input;
  ++progress.executions;
  // A copy of exactly this size, so that a sanitizer sees a read behind its end.
  const Input exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void Load(const std::filesystem::path& path, std::vector<Input>& inputs) {
  std::ifstream file(path, std::ios::binary);
  inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

std::vector<Input> LoadAll(const std::vector<std::string>& arguments) {
  std::vector<Input> inputs;
  for (const std::string& argument : arguments) {
    if (std::filesystem::is_regular_file(argument)) Load(argument, inputs);
    if (!std::filesystem::is_directory(argument)) continue;
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(argument)) {
      paths.push_back(entry.path());
    }
    std::ranges::sort(paths);
    for (const auto& path : paths) Load(path, inputs);
  }
  return inputs;
}

class Mutator {
 public:
  Mutator(uint64_t seed, const std::vector<Input>& inputs) : random_(seed), inputs_(inputs) {}

  Input Next() {
    Input input = inputs_[Below(inputs_.size())];
    for (uint64_t steps = 1 + Below(4); steps > 0; --steps) Step(input);
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
    return input;
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  Input::iterator Place(Input& input) {
    return input.begin() + static_cast<std::ptrdiff_t>(Below(input.size() + 1));
  }

  // A byte that decides more often than others: ends of ranges, digits, JSON's signs.
  uint8_t Telling() {
    static constexpr char kTelling[] = "\0\x01\x7f\x80\xff\xfe 0019-+.eE\"\\{}[]:,%&=/nt";
    return static_cast<uint8_t>(kTelling[Below(sizeof kTelling - 1)]);
  }

  void Step(Input& input) {
    const uint64_t choice = Below(7);
    if (input.empty() || choice == 0) {  // insert
      input.insert(Place(input), 1 + Below(8), Below(2) == 0 ? Telling() : Byte());
      return;
    }
    const size_t at = Below(input.size());
    const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    const auto run =
        static_cast<std::ptrdiff_t>(1 + Below(std::min<uint64_t>(input.size() - at, 16)));
    switch (choice) {
      case 1:
        input[at] ^= static_cast<uint8_t>(1u << Below(8));
        return;
      case 2:
        input[at] = Telling();
        return;
      case 3:
        input[at] = static_cast<uint8_t>(input[at] + Below(9) - 4);
        return;
      case 4:
        input.erase(place, place + run);
        return;
      case 5: {  // repeat a run elsewhere
        const Input copy(place, place + run);
        input.insert(Place(input), copy.begin(), copy.end());
        return;
      }
      default: {  // go on like another input
        const Input& other = inputs_[Below(inputs_.size())];
        input.resize(at);
        if (other.size() > at)
          input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(at), other.end());
      }
    }
  }
  uint8_t Byte() { return static_cast<uint8_t>(Below(256)); }

  std::mt19937_64 random_;
  const std::vector<Input>& inputs_;
};

int Main(int argc, char** argv) {
  uint64_t runs = 0;
  uint64_t seed = 1;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("-runs=")) {
      runs = std::strtoull(argument.c_str() + 6, nullptr, 10);
    } else if (argument.starts_with("-seed=")) {
      seed = std::strtoull(argument.c_str() + 6, nullptr, 10);
    } else {
      paths.push_back(argument);
    }
  }
  progress.program = std::filesystem::path(argv[0]).filename().string();
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, OnCrash);

  std::vector<Input> inputs = LoadAll(paths);
  for (const Input& input : inputs) Run(input);
  const size_t kept = inputs.size();
  if (inputs.empty()) inputs.emplace_back();
  Mutator mutator(seed, inputs);
  for (uint64_t run = 0; run < runs; ++run) {
    const Input input = mutator.Next();
    Run(input);
  }
  ReportTried("fuzz " + progress.program + " executions=" + std::to_string(progress.executions) +
              " seed=" + std::to_string(seed));
  std::printf("%zu kept inputs\n", kept);
  return progress.executions == 0 ? 1 : 0;
}

}  // namespace
}  // namespace tallystick

int main(int argc, char** argv) { return tallystick::Main(argc, argv); }
