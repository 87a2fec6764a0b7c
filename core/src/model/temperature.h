// The scale of a classifier's answer: what a temperature T, by which all logits are divided, does
// to the loss and to the margin, and which T a wanted one has (temperature scaling, Guo et al.,
// ICML 2017).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace bitfall {

/// Fault-free answers: logits of each image, its label.
struct ScaledAnswers {
  std::vector<std::vector<float>> logits;
  std::vector<std::int32_t> labels;

  double nll(double temperature) const;       // mean cross-entropy in nats
  double top2diff(double temperature) const;  // mean of first minus second softmax probability
};

/// T is looked for between these, both powers of two.
inline constexpr double kLeastTemperature = 1.0 / 1024, kMostTemperature = 1024;

/// The T of the smallest NLL, which is convex in 1/T: by golden-section search over ln T to 1e-10.
/// Throws Error(kInput) where it has none between the ends: all answers right (the loss falls with
/// T for ever), or a loss that is smallest at no answer at all.
double fit_temperature(const ScaledAnswers& answers);

enum class ScaleMeasure { kNll, kTop2diff };
/// The T at which the measure has this value; of two (an NLL has two or none) that whose top2diff
/// is nearer to `top2diff`. Throws Error(kInput) with the reachable range where there is none.
double match_temperature(const ScaledAnswers& answers, ScaleMeasure measure, double value,
                         double top2diff);

}  // namespace bitfall
