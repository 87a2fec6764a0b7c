// Digests of what other implementations make of every number of a format, every tie and their
// neighbours (scripts/make_digests.py): large comparisons from a small file.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace bitfall {

/// One line: the format's parameters, and FNV-1a over so many words.
struct FormatDigest {
  std::vector<std::string> parameters;
  std::size_t count = 0;
  std::uint64_t digest = 0;
  std::string line;
  int parameter(std::size_t i) const { return std::stoi(parameters.at(i)); }
};

inline std::vector<FormatDigest> format_digests(const std::string& family) {
  std::ifstream file(BITFALL_SOURCE_DIR "/tests/data/formats_other/digests.txt");
  EXPECT_TRUE(file.good());
  std::vector<FormatDigest> digests;
  FormatDigest one;
  while (std::getline(file, one.line)) {
    std::istringstream text(one.line);
    std::vector<std::string> words;
    for (std::string word; text >> word;) words.push_back(word);
    if (words.size() < 3 || words.front() != family) continue;
    one.digest = std::stoull(words.back(), nullptr, 16);
    one.count = std::stoul(words[words.size() - 2]);
    one.parameters.assign(words.begin() + 1, words.end() - 2);
    digests.push_back(one);
  }
  EXPECT_FALSE(digests.empty()) << family;
  return digests;
}

inline std::uint64_t digest_of(const std::vector<std::uint32_t>& words) {
  std::uint64_t value = 0xCBF29CE484222325u;
  for (const std::uint32_t word : words) value = (value ^ word) * 0x100000001B3u;
  return value;
}

inline std::vector<float> middles(const std::vector<float>& numbers) {
  std::vector<float> middles;
  for (std::size_t i = 0; i + 1 < numbers.size(); ++i) {
    middles.push_back(static_cast<float>((double{numbers[i]} + numbers[i + 1]) / 2));
  }
  return middles;
}

/// For each number and the tie above it: the number, its upper neighbour, the tie's lower one, the
/// tie, its upper one; then the last number, its upper neighbour, its double.
inline std::vector<float> numbers_and_ties(const std::vector<float>& numbers,
                                           const std::vector<float>& ties) {
  std::vector<float> inputs;
  const auto up = [](float value) { return std::nextafter(value, INFINITY); };
  for (std::size_t i = 0; i < ties.size(); ++i) {
    inputs.insert(inputs.end(), {numbers[i], up(numbers[i]), std::nextafter(ties[i], -INFINITY),
                                 ties[i], up(ties[i])});
  }
  const float last = numbers.back();
  inputs.insert(inputs.end(), {last, up(last), 2 * last});
  return inputs;
}

/// The codes of a two's complement from the lowest number to the highest.
inline std::vector<std::uint32_t> codes_in_order(int bits) {
  std::vector<std::uint32_t> codes;
  const std::int32_t end = 1 << (bits - 1);
  for (std::int32_t number = -end; number < end; ++number) {
    codes.push_back(static_cast<std::uint32_t>(number) & ((1u << bits) - 1));
  }
  return codes;
}

}  // namespace bitfall
