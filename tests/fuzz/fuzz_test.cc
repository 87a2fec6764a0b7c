// Every seed, every input that once went wrong, and random mutants of them for a while:
// BITFALL_FUZZ_SECONDS a target (default 1). libFuzzer, which sees what an input reaches, takes the
// same targets: scripts/fuzz.sh.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

#include "targets.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Random = std::mt19937_64;

std::vector<std::string> inputs_of(const FuzzTarget& target) {
  std::vector<std::string> inputs = target.seeds();
  for (const std::string& input : regressions(target)) inputs.push_back(input);
  const char* folder = std::getenv("BITFALL_FUZZ_CORPUS");
  if (!folder) return inputs;
  for (const std::string& input : corpus(target, folder)) inputs.push_back(input);
  return inputs;
}

std::vector<std::string> words_of(const FuzzTarget& target) {
  std::istringstream text(target.words);
  return {std::istream_iterator<std::string>(text), {}};
}

std::size_t below(Random& random, std::size_t end) { return end == 0 ? 0 : random() % end; }

/// One change of the kinds that libFuzzer makes.
void mutate_once(std::string& bytes, Random& random, const std::vector<std::string>& words,
                 const std::string& other) {
  const std::size_t at = below(random, bytes.size());
  const std::size_t size = 1 + below(random, std::min<std::size_t>(bytes.size() - at + 1, 64));
  switch (random() % 9) {
    case 0:
      if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
      break;
    case 1:
      if (!bytes.empty()) bytes[at] = static_cast<char>(random());
      break;
    case 2:
      bytes.erase(at, size);
      break;
    case 3:
      bytes.insert(at, words[below(random, words.size())]);
      break;
    case 4:
      bytes.replace(at, size, words[below(random, words.size())]);
      break;
    case 5:
      bytes.insert(at, bytes.substr(below(random, bytes.size()), size));
      break;
    case 6: {  // a number at its end or beyond it
      constexpr std::uint64_t kEnds[] = {0,      1,          0x7F,       0x80, 0xFF,
                                         0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, ~0ULL};
      const std::uint64_t value = kEnds[random() % std::size(kEnds)];
      const std::size_t width = std::size_t{1} << random() % 4;
      for (std::size_t i = 0; i < width && at + i < bytes.size(); ++i) {
        bytes[at + i] = static_cast<char>(value >> (8 * i));
      }
      break;
    }
    case 7:
      bytes.resize(at);
      break;
    default:
      bytes.replace(at, size, other.substr(below(random, other.size()), size));
  }
}

class Fuzz : public testing::TestWithParam<const FuzzTarget*> {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("bitfall_fuzz_" + std::to_string(::getpid()) + "_" + GetParam()->name);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Returns whether the input was read, not refused.
  bool expect_right(const std::string& bytes) {
    bool read = false;
    const std::string wrong = try_input(*GetParam(), bytes, folder_, &read);
    if (wrong.empty()) return read;
    const fs::path kept =
        fs::path(testing::TempDir()) / (std::string("bitfall_failed_") + GetParam()->name);
    std::ofstream(kept, std::ios::binary) << bytes;
    ADD_FAILURE() << GetParam()->name << " " << wrong << "\nthe input is kept as " << kept;
    return false;
  }

  fs::path folder_;
};

TEST_P(Fuzz, GivesAResultOrAnErrorThatNamesTheFile) {
  const FuzzTarget& target = *GetParam();
  const std::vector<std::string> inputs = inputs_of(target);
  const std::vector<std::string> words = words_of(target);
  rusage before, after;
  ::getrusage(RUSAGE_SELF, &before);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  bool any_read = false;
  for (const std::string& input : inputs) any_read |= expect_right(input);
  EXPECT_TRUE(any_read) << "each seed is refused: mutants of them reach nothing";
  const char* given = std::getenv("BITFALL_FUZZ_SECONDS");
  const double limit = given ? std::atof(given) : 1.0;
  Random random(7);
  std::int64_t tried = 0;
  for (; seconds() < limit && !HasFailure(); ++tried) {
    std::string bytes = inputs[below(random, inputs.size())];
    const std::string& other = inputs[below(random, inputs.size())];
    for (std::size_t changes = 1 + below(random, 4); changes > 0; --changes) {
      mutate_once(bytes, random, words, other);
    }
    const double began = seconds();
    expect_right(bytes);
    EXPECT_LT(seconds() - began, 10) << "an input of " << bytes.size() << " bytes";
  }
  ::getrusage(RUSAGE_SELF, &after);
  // Kilobytes. An input of some bytes may claim any size, and gets no memory for that.
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 600'000) << "memory grew with what a file claims";
  std::printf("%s: %zu inputs, %lld mutants\n", target.name, inputs.size(),
              static_cast<long long>(tried));
}

std::string deep(const std::string& opening, const std::string& innermost,
                 const std::string& closing) {
  constexpr int kDeep = 20'000;
  std::string text;
  for (int i = 0; i < kDeep; ++i) text += opening;
  text += innermost;
  for (int i = 0; i < kDeep; ++i) text += closing;
  return text;
}

class FuzzBrackets : public Fuzz {};

// What mutants of a few changes never are: a reader that calls itself for each level ends the
// stack.
TEST_P(FuzzBrackets, EndsNoStackWhereTheyLieDeep) {
  expect_right(deep("[", "", "]"));
  expect_right(deep("[", "", ""));
  expect_right(deep("{\"a\":", "1", "}"));
  expect_right("a = " + deep("[", "1", "]"));
  expect_right(deep("[a", "", "]") + "\n");
  for (const std::string& seed : GetParam()->seeds()) {  // and within a value of a sound file
    for (const std::string& sound :
         {std::string("null"), std::string("{\"as_tensor\": {\"name\": \"f\"}}"),
          std::string("\"gap.cc\""), std::string("[0, 0]")}) {
      const auto at = seed.find(sound);
      if (at == seed.npos) continue;
      for (const std::string& value :
           {deep("[", sound, "]"), deep("{\"as_optional_tensor\": ", sound, "}"),
            deep("{\"a\": ", sound, "}")}) {
        expect_right(std::string(seed).replace(at, sound.size(), value));
      }
    }
  }
}

std::vector<const FuzzTarget*> targets_with(const std::string& word) {
  std::vector<const FuzzTarget*> targets;
  for (const FuzzTarget& target : fuzz_targets()) {
    if (std::string(target.words).find(word) != std::string::npos) targets.push_back(&target);
  }
  return targets;
}

const auto name_of = [](const auto& info) { return std::string(info.param->name); };
INSTANTIATE_TEST_SUITE_P(Readers, Fuzz, testing::ValuesIn(targets_with("")), name_of);
INSTANTIATE_TEST_SUITE_P(Readers, FuzzBrackets, testing::ValuesIn(targets_with("[")), name_of);

}  // namespace
}  // namespace bitfall
