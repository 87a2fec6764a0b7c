// Numbers drawn without replacement.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "bitfall/random.h"

namespace bitfall {

/// How many sets of k numbers there are among n: the binomial coefficient, exact below 2^50 and
/// correct to 1e-12 beyond; 0 if k > n. At most 1e280, so that a host can add and multiply such
/// counts.
double set_count(std::int64_t n, std::int64_t k);

/// Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", CACM 1987): calls
/// insert(number), which says whether the number is new, until k distinct numbers of [0, n) are in;
/// every set is equally likely.
template <typename Insert>
void insert_distinct(RandomStream& random, std::int64_t n, std::int64_t k, Insert insert) {
  for (std::int64_t top = n - k; top < n; ++top) {
    const auto number =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(top) + 1));
    if (!insert(number)) insert(top);
  }
}

/// Calls visit(number) for k distinct numbers of [0, n) in rising order, every set of k equally
/// likely; all of them take no draw. 0 <= k <= n. Time and memory are in proportion to k.
template <typename Visit>
void visit_distinct(RandomStream& random, std::int64_t n, std::int64_t k, Visit visit) {
  constexpr std::int64_t kSparse = 256;  // above it, n bits are more than k entries of a hash table
  if (k == n) {
    for (std::int64_t number = 0; number < n; ++number) visit(number);
  } else if (k > n / kSparse) {
    std::vector<std::uint64_t> words(static_cast<std::size_t>((n + 63) / 64));
    insert_distinct(random, n, k, [&](std::int64_t number) {
      std::uint64_t& word = words[static_cast<std::size_t>(number / 64)];
      const std::uint64_t bit = std::uint64_t{1} << (number % 64);
      const bool fresh = (word & bit) == 0;
      word |= bit;
      return fresh;
    });
    for (std::size_t i = 0; i < words.size(); ++i) {
      for (std::uint64_t word = words[i]; word != 0; word &= word - 1) {
        visit(static_cast<std::int64_t>(i) * 64 + std::countr_zero(word));
      }
    }
  } else {
    std::unordered_set<std::int64_t> drawn;
    drawn.reserve(static_cast<std::size_t>(k));
    insert_distinct(random, n, k, [&](std::int64_t number) { return drawn.insert(number).second; });
    std::vector<std::int64_t> numbers(drawn.begin(), drawn.end());
    std::sort(numbers.begin(), numbers.end());
    for (const std::int64_t number : numbers) visit(number);
  }
}

}  // namespace bitfall
