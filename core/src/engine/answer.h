// What is read from a classifier's answer to one image.
#pragma once

#include <cstdint>
#include <span>

namespace bitfall {

/// Cross-entropy of one row of logits against a label: natural log, float64. NaN if a logit is NaN
/// or the largest is infinite (as torch's), Inf if the label's logit is -Inf.
double cross_entropy(std::span<const float> logits, std::int64_t label);

/// torch.argmax: the first largest; NaN counts as largest.
std::int32_t top1(std::span<const float> logits);

/// Largest minus second largest softmax probability, float64.
double top2diff(std::span<const float> logits);

}  // namespace bitfall
