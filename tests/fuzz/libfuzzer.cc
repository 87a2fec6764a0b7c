// The targets for libFuzzer.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "targets.h"

namespace {

namespace fs = std::filesystem;

const bitfall::FuzzTarget* chosen = nullptr;
fs::path folder;

constexpr std::size_t kLargest = 100'000;  // a store of two trials has 90 000

constexpr const char* kUsage =
    "usage: bitfall_fuzz --home=FOLDER --target=NAME [OPTION...] [FILE...]\n"
    "       bitfall_fuzz --list\n"
    "Options are libFuzzer's, such as -max_total_time=20; files are tried, and no others. Seeds "
    "are "
    "those of FOLDER/corpus/NAME;\n"
    "what was found goes to FOLDER/found/NAME, an input that goes wrong to "
    "FOLDER/failed/NAME-*.\n";

/// Words of a target as libFuzzer's dictionary has them.
void write_words(const char* words, std::ofstream to) {
  std::istringstream each(words);
  for (std::string word; each >> word;) {
    to << '"';
    for (const char byte : word) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(byte));
      to << hex;
    }
    to << "\"\n";
  }
}

void write_seeds(const bitfall::FuzzTarget& target, const fs::path& home) {
  const fs::path corpus = home / "corpus" / target.name;
  fs::create_directories(corpus);
  int number = 0;
  for (const std::string& seed : target.seeds()) {
    if (seed.size() > kLargest) continue;  // fuzz_test tries it; here it would take the time of all
    std::ofstream(corpus / ("seed" + std::to_string(number++)), std::ios::binary) << seed;
  }
  write_words(target.words, std::ofstream(home / (std::string(target.name) + ".dict")));
}

/// libFuzzer's arguments: limits and places, which `given` may override.
std::vector<std::string> with_defaults(const fs::path& home,
                                       const std::vector<std::string>& given) {
  const std::string name = chosen->name;
  std::vector<std::string> all = {"-timeout=10",
                                  "-rss_limit_mb=2048",
                                  "-malloc_limit_mb=1024",
                                  "-max_len=" + std::to_string(kLargest),
                                  "-print_final_stats=1",
                                  "-dict=" + (home / (name + ".dict")).string(),
                                  "-artifact_prefix=" + (home / "failed" / (name + "-")).string()};
  all.insert(all.end(), given.begin(), given.end());
  // Inputs by name are tried, and no others.
  if (std::any_of(given.begin(), given.end(), [](auto& it) { return !it.starts_with('-'); })) {
    return all;
  }
  for (const char* kind : {"found", "corpus"}) all.push_back((home / kind / name).string());
  const fs::path once_wrong = fs::path(BITFALL_SOURCE_DIR "/tests/fuzz/regressions") / name;
  if (fs::exists(once_wrong)) all.push_back(once_wrong.string());
  return all;
}

/// Gives main() these arguments in place of its own.
void take(std::vector<std::string> arguments, int& count, char**& values) {
  static std::vector<std::string> kept;
  static std::vector<char*> pointers;
  kept = std::move(arguments);
  pointers = {values[0]};
  for (std::string& argument : kept) pointers.push_back(argument.data());
  count = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  values = pointers.data();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  fs::path home;
  std::vector<std::string> given;
  for (int i = 1; i < *count; ++i) {
    const std::string argument = (*arguments)[i];
    if (argument == "--list") {
      for (const auto& target : bitfall::fuzz_targets()) std::printf("%s\n", target.name);
      std::exit(0);
    } else if (argument.starts_with("--home=")) {
      home = argument.substr(std::strlen("--home="));
    } else if (argument.starts_with("--target=")) {
      for (const auto& target : bitfall::fuzz_targets()) {
        if (argument.substr(std::strlen("--target=")) == target.name) chosen = &target;
      }
    } else {
      given.push_back(argument);
    }
  }
  if (home.empty() || !chosen) {
    std::fprintf(stderr, kUsage);
    std::exit(2);
  }
  write_seeds(*chosen, home);
  fs::create_directories(home / "found" / chosen->name);
  fs::create_directories(home / "failed");
  // Where it can, in memory: every input is a file for a moment.
  const fs::path memory = "/dev/shm";
  folder = (::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path()) /
           ("bitfall_fuzz_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  ::setenv("TMPDIR", folder.c_str(), 1);  // what readers make themselves
  std::atexit([] {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  });
  take(with_defaults(home, given), *count, *arguments);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string wrong =
      bitfall::try_input(*chosen, {reinterpret_cast<const char*>(data), size}, folder);
  if (wrong.empty()) return 0;
  std::fprintf(stderr, "%s: %s\n", chosen->name, wrong.c_str());
  std::abort();
}
