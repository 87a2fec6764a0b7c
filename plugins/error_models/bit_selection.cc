#include "bit_selection.h"

#include <array>
#include <bit>
#include <cassert>
#include <stdexcept>
#include <string>

namespace bitfall {
namespace {

__extension__ using Wide = unsigned __int128;

/// Binomial coefficient, exact for n <= 32.
constexpr std::uint64_t choose(int n, int k) {
  if (k < 0 || k > n) return 0;
  std::uint64_t result = 1;
  for (int i = 1; i <= k; ++i) result = result * static_cast<std::uint64_t>(n - k + i) / i;
  return result;
}

/// Uniform over 0 (inclusive) to n (exclusive) also where n passes 2^64.
Wide below(RandomStream& random, Wide n) {
  const auto high = static_cast<std::uint64_t>(n >> 64);
  if (high == 0) return random.below(static_cast<std::uint64_t>(n));
  const std::uint64_t mask = std::bit_ceil(high + 1) - 1;
  for (;;) {
    const Wide draw = (static_cast<Wide>(random.next64() & mask) << 64) | random.next64();
    if (draw < n) return draw;
  }
}

std::uint32_t low_bits(int n) { return static_cast<std::uint32_t>((std::uint64_t{1} << n) - 1); }

/// The bits that start a run of `length` consecutive candidates.
std::uint32_t run_starts(std::uint32_t candidates, int length) {
  std::uint32_t starts = candidates;
  for (int i = 1; i < length; ++i) starts &= candidates >> i;
  return starts;
}

std::optional<BitClass> parse_bit_class(std::string_view name) {
  for (std::size_t i = 0; i < kBitClassNames.size(); ++i) {
    if (name == kBitClassNames[i]) return static_cast<BitClass>(i);
  }
  return std::nullopt;
}

}  // namespace

int nth_bit(std::uint32_t bits, int skipped) {
  for (; skipped > 0; --skipped) bits &= bits - 1;
  return std::countr_zero(bits);
}

BitSelection::BitSelection(const Options& options, int bits, bool adjacent,
                           std::string_view registers)
    : bits_(bits),
      adjacent_(adjacent),
      payload_(registers != "metadata"),
      metadata_(registers != "payload"),
      bit_class_(parse_bit_class(options.text("bit_class"))) {
  if (bit_class_ == BitClass::kMetadata) {
    payload_ = false;
    metadata_ = true;
  } else if (bit_class_ && !payload_) {
    throw std::invalid_argument(
        "bit_class: metadata registers have only bits of class 'metadata'; leave it out or set "
        "registers = \"payload\"");
  }
  const auto range = options.integers("bit_range");
  if (range.empty()) return;
  if (range.size() != 2 || range[0] > range[1]) {
    throw std::invalid_argument(
        "bit_range: needs two bits, the lower first, as in [0, 3]; or [] for all bits");
  }
  first_bit_ = static_cast<int>(range[0]);
  last_bit_ = static_cast<int>(range[1]);
  const int width = last_bit_ - first_bit_ + 1;
  if (bits_ > width) {
    throw std::invalid_argument("bit_range: [" + std::to_string(first_bit_) + ", " +
                                std::to_string(last_bit_) + "] holds " + std::to_string(width) +
                                " bits, fewer than bits = " + std::to_string(bits_));
  }
}

std::uint32_t BitSelection::candidates(const SiteView& site, std::size_t register_index) const {
  if (register_index == 0 ? !payload_ : !metadata_) return 0;
  const SiteRegister& reg = site.registers[register_index];
  if (last_bit_ >= reg.bits) return 0;
  std::uint32_t mask = low_bits(reg.bits);
  if (last_bit_ >= first_bit_) mask = low_bits(last_bit_ + 1) & ~low_bits(first_bit_);
  if (!bit_class_) return mask;
  for (int bit = 0; bit < reg.bits; ++bit) {
    if (reg.bit_classes[bit] != *bit_class_) mask &= ~(1u << bit);
  }
  return mask;
}

std::uint64_t BitSelection::bit_sets(std::uint32_t candidates) const {
  if (adjacent_) return std::popcount(run_starts(candidates, bits_));
  return choose(std::popcount(candidates), bits_);
}

/// The sets are numbered from 0: runs by their lowest bit, combinations in the order of the
/// combinatorial number system (Knuth, The Art of Computer Programming 4A, section 7.2.1.3).
std::uint32_t BitSelection::bit_set(std::uint32_t candidates, std::uint64_t rank) const {
  if (adjacent_) {
    const std::uint32_t starts = run_starts(candidates, bits_);
    return low_bits(bits_) << nth_bit(starts, static_cast<int>(rank));
  }
  std::uint32_t mask = 0;
  int wanted = bits_;
  for (int place = std::popcount(candidates) - 1; wanted > 0; --place) {
    const std::uint32_t highest = std::bit_floor(candidates);
    candidates &= ~highest;
    const std::uint64_t without = choose(place, wanted);
    if (rank < without) continue;
    rank -= without;
    mask |= highest;
    --wanted;
  }
  return mask;
}

double BitSelection::population(const SiteView& site) const {
  double total = 0;
  for (std::size_t i = 0; i < site.registers.size(); ++i) {
    total += static_cast<double>(site.registers[i].count) *
             static_cast<double>(bit_sets(candidates(site, i)));
  }
  return total;
}

BitChoice BitSelection::draw(const SiteView& site, RandomStream& random) const {
  const auto faults = [&](std::size_t i) {
    return static_cast<Wide>(site.registers[i].count) * bit_sets(candidates(site, i));
  };
  Wide total = 0;
  for (std::size_t i = 0; i < site.registers.size(); ++i) total += faults(i);
  Wide rank = below(random, total);
  std::size_t index = 0;
  for (; rank >= faults(index); ++index) rank -= faults(index);
  const std::uint32_t bits = candidates(site, index);
  const std::uint64_t sets = bit_sets(bits);
  assert(sets > 0);  // population() was not 0
  return {static_cast<std::int32_t>(index), static_cast<std::int64_t>(rank / sets),
          bit_set(bits, static_cast<std::uint64_t>(rank % sets))};
}

}  // namespace bitfall
