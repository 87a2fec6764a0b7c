// The targets for libFuzzer: bitfall_fuzz --target=NAME [libFuzzer's options] [CORPUS...]
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "targets.h"

namespace {

const bitfall::FuzzTarget* chosen = nullptr;
std::filesystem::path folder;

void write_seeds(const std::filesystem::path& to) {
  for (const bitfall::FuzzTarget& target : bitfall::fuzz_targets()) {
    std::filesystem::create_directories(to / target.name);
    int number = 0;
    for (const std::string& seed : target.seeds()) {
      std::ofstream(to / target.name / ("seed" + std::to_string(number++)), std::ios::binary)
          << seed;
    }
    std::ofstream words(to / (std::string(target.name) + ".dict"));
    std::string word;
    for (const char* at = target.words;; ++at) {
      if (*at != ' ' && *at != 0) {
        char hex[8];
        std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(*at));
        word += hex;
        continue;
      }
      if (!word.empty()) words << '"' << word << "\"\n";
      word.clear();
      if (*at == 0) break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  for (int i = 1; i < *count; ++i) {
    const char* argument = (*arguments)[i];
    if (std::strcmp(argument, "--list") == 0) {
      for (const auto& target : bitfall::fuzz_targets()) std::printf("%s\n", target.name);
      std::exit(0);
    }
    if (std::strncmp(argument, "--seeds=", 8) == 0) {
      write_seeds(argument + 8);
      std::exit(0);
    }
    if (std::strncmp(argument, "--target=", 9) != 0) continue;
    for (const auto& target : bitfall::fuzz_targets()) {
      if (std::strcmp(argument + 9, target.name) == 0) chosen = &target;
    }
  }
  if (!chosen) {
    std::fprintf(
        stderr,
        "usage: bitfall_fuzz --target=NAME | --list | --seeds=FOLDER [options] [CORPUS...]\n");
    std::exit(2);
  }
  folder = std::filesystem::temp_directory_path() / ("bitfall_fuzz_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string wrong =
      bitfall::try_input(*chosen, {reinterpret_cast<const char*>(data), size}, folder);
  if (wrong.empty()) return 0;
  std::fprintf(stderr, "%s: %s\n", chosen->name, wrong.c_str());
  std::abort();
}
