#include "philox.h"

#include <Random123/philox.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace bitfall {
namespace {

constexpr std::uint32_t low_word(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr std::uint32_t high_word(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

}  // namespace

PhiloxStream::PhiloxStream(std::uint64_t seed, RandomDomain domain, std::uint64_t id)
    : key_{low_word(seed), high_word(seed)},
      counter_{0, static_cast<std::uint32_t>(domain), low_word(id), high_word(id)} {}

std::uint32_t PhiloxStream::next() {
  if (left_ == 0) {
    const r123::Philox4x32::ctr_type counter = {
        {counter_[0], counter_[1], counter_[2], counter_[3]}};
    const r123::Philox4x32::key_type key = {{key_[0], key_[1]}};
    const r123::Philox4x32::ctr_type block = r123::Philox4x32()(counter, key);
    std::copy(block.begin(), block.end(), block_.begin());
    ++counter_[0];  // 2^34 draws a stream: no fault needs as many
    left_ = static_cast<int>(block_.size());
  }
  return block_[block_.size() - static_cast<std::size_t>(left_--)];
}

std::vector<std::int32_t> random_order(std::int32_t n, RandomStream& random) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[random.below(i)]);
  }
  return order;
}

}  // namespace bitfall
