// Numbers and shapes that components are tried with.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "bitfall/number_format.h"
#include "bitfall/random.h"
#include "check_subject.h"

namespace bitfall {

using Shape = std::vector<std::int64_t>;

/// "3 x 5"
std::string dimensions_text(const Shape& shape);

/// Of both signs, over eight binades around 1.
std::vector<float> usual_values(std::size_t count, RandomStream& random);
/// NaN, Inf, zeros, the least and the largest numbers among usual ones.
std::vector<float> wild_values(std::size_t count, RandomStream& random);

/// Of the finite values; of all elements, or one for each index of `axis`.
std::vector<Range> ranges_of(const std::vector<float>& values, const Shape& shape, int axis);

inline std::uint32_t bits_of_float(float value) { return std::bit_cast<std::uint32_t>(value); }

/// Appends what stands for a number.
inline void add_word(Words& words, float value) { words.push_back(bits_of_float(value)); }
inline void add_word(Words& words, double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  words.push_back(static_cast<std::uint32_t>(bits));
  words.push_back(static_cast<std::uint32_t>(bits >> 32));
}
inline void add_word(Words& words, std::int64_t value) {
  add_word(words, std::bit_cast<double>(value));
}
template <typename Items>
void add_words(Words& words, const Items& items) {
  for (const auto item : items) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(item)>, std::uint32_t>) {
      words.push_back(item);
    } else {
      add_word(words, item);
    }
  }
}

}  // namespace bitfall
