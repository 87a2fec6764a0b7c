#include "binomial.h"

#include <algorithm>

namespace bitfall {
namespace {

/// Relative to the likeliest count; what is left out beyond it is below 1e-15 of any draw.
constexpr double kNegligible = 1e-25;

/// Probabilities of counts relative to that of the likeliest one, from there outwards.
class BinomialWeights {
 public:
  BinomialWeights(std::int64_t n, double p, std::int64_t least)
      : n_(n),
        odds_(p / (1 - p)),
        least_(least),
        mode_(std::clamp(static_cast<std::int64_t>((static_cast<double>(n) + 1) * p), least, n)) {}

  std::int64_t mode() const { return mode_; }

  /// Calls visit(count, weight) for all counts but the mode until it returns false.
  template <typename Visit>
  void visit_others(Visit visit) const {
    const auto n = static_cast<double>(n_);
    double weight = 1;
    for (std::int64_t k = mode_; k < n_ && weight > kNegligible;) {
      const auto count = static_cast<double>(k);
      weight *= (n - count) / (count + 1) * odds_;
      if (!visit(++k, weight)) return;
    }
    weight = 1;
    for (std::int64_t k = mode_; k > least_ && weight > kNegligible;) {
      const auto count = static_cast<double>(k);
      weight *= count / ((n - count + 1) * odds_);
      if (!visit(--k, weight)) return;
    }
  }

 private:
  std::int64_t n_;
  double odds_;
  std::int64_t least_;
  std::int64_t mode_;
};

/// Uniform over [0, 1], near 0 in steps of 2^-128, so that a count of probability 1e-20 can come up
/// as seldom as it should.
double fine_uniform(RandomStream& random) {
  const auto high = static_cast<double>(random.next64());
  const auto low = static_cast<double>(random.next64());
  return high * 0x1.0p-64 + low * 0x1.0p-128;
}

}  // namespace

/// Inversion. The counts other than the mode lie at the low end of [0, total], where the uniform
/// number is finest; the mode has the rest.
std::int64_t draw_binomial(RandomStream& random, std::int64_t n, double p, bool at_least_one) {
  if (p >= 1) return n;
  const BinomialWeights weights(n, p, at_least_one ? 1 : 0);
  double total = 1;
  weights.visit_others([&](std::int64_t, double weight) {
    total += weight;
    return true;
  });
  double left = fine_uniform(random) * total;
  std::int64_t drawn = weights.mode();
  weights.visit_others([&](std::int64_t count, double weight) {
    left -= weight;
    if (left < 0) drawn = count;
    return left >= 0;
  });
  return drawn;
}

}  // namespace bitfall
