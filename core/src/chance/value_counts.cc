#include "value_counts.h"

#include <algorithm>
#include <bit>

namespace bitfall {
namespace {

// A positive double's bits rise with it: the exponent, then 10 bits that number the bin.
constexpr int kBinBits = 10, kMantissaBits = 52;
constexpr int kBelowBin = kMantissaBits - kBinBits;

double middle_of(int exponent, std::size_t bin) {
  const auto first = static_cast<std::uint64_t>(exponent) << kBinBits | bin;
  return std::bit_cast<double>(first << kBelowBin | std::uint64_t{1} << (kBelowBin - 1));
}

}  // namespace

void ValueCounts::add(double value) {
  if (!bins_.empty()) return count(value);
  apart_.push_back(value);
  if (apart_.size() > kMostApart) count_apart();
}

void ValueCounts::add(const ValueCounts& other) {
  for (const double value : other.apart_) add(value);
  if (other.bins_.empty()) return;
  count_apart();
  for (const auto& [exponent, bins] : other.bins_) {
    Bins& own = bins_[exponent];
    for (std::size_t i = 0; i < bins.size(); ++i) own[i] += bins[i];
  }
}

void ValueCounts::count(double value) {
  const auto key = std::bit_cast<std::uint64_t>(value) >> kBelowBin;
  ++bins_[static_cast<int>(key >> kBinBits)][key % kBinsOfPower];
}

void ValueCounts::count_apart() {
  for (const double value : apart_) count(value);
  apart_ = {};
}

std::vector<Counted> ValueCounts::take() {
  std::vector<Counted> all;
  std::sort(apart_.begin(), apart_.end());
  for (const double value : apart_) all.push_back({value, 1});
  for (const auto& [exponent, bins] : bins_) {
    for (std::size_t i = 0; i < bins.size(); ++i) {
      if (bins[i] == 0) continue;
      all.push_back({middle_of(exponent, i), bins[i]});
    }
  }
  *this = {};
  return all;
}

}  // namespace bitfall
