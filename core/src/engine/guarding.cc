#include "guarding.h"

#include <cstring>

namespace bitfall {

AnswerVerdict AnswerGuard::guard(std::span<float> logits) const {
  const std::vector<float> before(logits.begin(), logits.end());
  const Verdict verdict = protection->guard(site, logits, {site.shape, 0, 1, 0}, state);
  const bool changed = std::memcmp(before.data(), logits.data(), logits.size_bytes()) != 0;
  return {verdict.detected > 0 || verdict.again || changed, verdict.again};
}

}  // namespace bitfall
