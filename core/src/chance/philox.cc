#include "philox.h"

#include <Random123/philox.h>

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

std::array<std::uint32_t, 4> PhiloxStream::advance() {
  const r123::Philox4x32::ctr_type counter = {{counter_[0], counter_[1], counter_[2], counter_[3]}};
  const r123::Philox4x32::key_type key = {{key_[0], key_[1]}};
  const r123::Philox4x32::ctr_type block = r123::Philox4x32()(counter, key);
  ++counter_[0];  // 2^34 draws a stream: no fault needs as many
  return {block[0], block[1], block[2], block[3]};
}

std::uint32_t PhiloxStream::next() {
  if (left_ == 0) {
    block_ = advance();
    left_ = static_cast<int>(block_.size());
  }
  return block_[block_.size() - static_cast<std::size_t>(left_--)];
}

void PhiloxStream::fill(std::span<std::uint32_t> draws) {
  std::size_t i = 0;
  while (i < draws.size() && left_ > 0) draws[i++] = next();
  for (; draws.size() - i >= block_.size(); i += block_.size()) {
    const std::array<std::uint32_t, 4> block = advance();
    for (std::size_t k = 0; k < block.size(); ++k) draws[i + k] = block[k];
  }
  while (i < draws.size()) draws[i++] = next();
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
