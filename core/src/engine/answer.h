// What is read from a classifier's answer to one image.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "run_settings.h"

namespace bitfall {

/// Cross-entropy of one row of logits against a label: natural log, float64. NaN if a logit is NaN
/// or the largest is infinite (as torch's), Inf if the label's logit is -Inf.
double cross_entropy(std::span<const float> logits, std::int64_t label);

/// The loss of an answer of either kind; of probabilities it is -log p of the label, NaN where one is
/// NaN.
double loss_of(std::span<const float> answer, std::int64_t label, AnswerKind kind);

/// An answer as logits: the logarithms of probabilities, else itself.
class AsLogits {
 public:
  /// Borrows the answer.
  AsLogits(std::span<const float> answer, AnswerKind kind);
  std::span<const float> values() const { return logarithms_.empty() ? answer_ : logarithms_; }

 private:
  std::span<const float> answer_;
  std::vector<float> logarithms_;
};

/// torch.argmax: the first largest; NaN counts as largest.
std::int32_t top1(std::span<const float> logits);

/// Largest minus second largest softmax probability, float64.
double top2diff(std::span<const float> logits);

}  // namespace bitfall
