#include "answer.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitfall {

double cross_entropy(std::span<const float> logits, std::int64_t label) {
  const float largest = logits[static_cast<std::size_t>(top1(logits))];
  if (!std::isfinite(largest)) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return std::log(sum) - (static_cast<double>(logits[static_cast<std::size_t>(label)]) - largest);
}

double loss_of(std::span<const float> answer, std::int64_t label, AnswerKind kind) {
  if (kind == AnswerKind::kLogits) return cross_entropy(answer, label);
  if (std::isnan(answer[static_cast<std::size_t>(top1(answer))])) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return -std::log(static_cast<double>(answer[static_cast<std::size_t>(label)]));
}

AsLogits::AsLogits(std::span<const float> answer, AnswerKind kind) : answer_(answer) {
  if (kind == AnswerKind::kLogits) return;
  for (const float share : answer) logarithms_.push_back(std::log(share));
}

std::int32_t top1(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) return static_cast<std::int32_t>(i);
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<std::int32_t>(best);
}

double top2diff(std::span<const float> logits) {
  const std::size_t first = static_cast<std::size_t>(top1(logits));
  const float largest = logits[first];
  if (!std::isfinite(largest)) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0, second = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double share = std::exp(static_cast<double>(logits[i]) - largest);
    sum += share;
    if (i != first) second = std::max(second, share);
  }
  return (1 - second) / sum;
}

}  // namespace bitfall
