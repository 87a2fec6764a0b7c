#include "guarding.h"

namespace bitfall {

Verdict AnswerGuard::guard(std::span<float> logits) const {
  return protection->guard(site, logits, {site.shape, 0, 1, 0}, state);
}

}  // namespace bitfall
