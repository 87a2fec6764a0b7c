// What a campaign's protection does beside its sites, whose values are guarded by their formats
// (protected_format.h): it looks at the answer, and has operations computed twice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/protection.h"
#include "protected_format.h"

namespace bitfall {

/// What a guard makes of an answer.
struct AnswerVerdict {
  bool noticed = false;  // it detects something, changes something, or wants another computation
  bool again = false;
};

/// The network's answer as a protection guards it.
struct AnswerGuard {
  const Protection* protection = nullptr;
  ProtectedSite site;
  std::vector<float> state;

  AnswerVerdict guard(std::span<float> logits) const;
};

/// Borrowed by an engine and the formats of its sites.
struct Guarding {
  GuardRecord record;
  const AnswerGuard* answer = nullptr;  // null: it is not guarded
  std::vector<bool> twice;              // by site: computed twice
  std::vector<bool> permanent;          // by [[faults]] entry: a second computation meets it again
};

/// What a trial of a protected run has beside its metrics, in this order.
struct GuardColumn {
  const char* name;
  const char* help;
};
inline constexpr std::array<GuardColumn, 3> kGuardColumns = {{
    {"protect_detected", "The protection noticed the fault"},
    {"protect_recomputed", "The answer was computed once more"},
    {"protect_false_alarm", "The protection changes or doubts this image without a fault"},
}};

/// What a trial of a run has whose error models ask for values, behind its metrics.
inline constexpr std::array<GuardColumn, 2> kConditionColumns = {{
    {"condition_draws", "Faults that were drawn until the error model's condition held"},
    {"condition_missed", "It never held, and the trial has no fault"},
}};

/// What a trial of a run has whose words are stored with a code, behind its metrics.
inline constexpr std::array<GuardColumn, 2> kMemoryColumns = {{
    {"memory_corrected", "A word was read with a correction"},
    {"memory_detected", "A word was known to be wrong"},
}};

}  // namespace bitfall
