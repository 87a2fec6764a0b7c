// A condition on a run's rates, for `bitfall report --fail-if`: what a continuous integration asks.
#pragma once

#include <string>
#include <string_view>

#include "report.h"

namespace bitfall {

/// "mismatch > 3 %": what must not be. NAME is mismatch, due, nonfinite, misclassified, accuracy
/// (golden, in the campaign's format) or a column of a metric.
struct Gate {
  enum class Comparison { kAbove, kAtLeast, kBelow, kAtMost };
  std::string name;
  Comparison comparison = Comparison::kAbove;
  double bound = 0;   // 0.03
  std::string limit;  // "3 %", as it was written
};

/// Throws Error(kUsage) unless it is NAME, one of > >= < <=, and a number, in per cent or not.
Gate parse_gate(std::string_view text);

struct GateVerdict {
  bool fails = false;
  std::string text;  // "mismatch is 4.12 % [3.80, 4.47], ..."; why it fails or passes
};

/// Passes where the whole interval is on the good side: too few trials show nothing, and fail. So
/// does a run that is not complete. Throws Error(kUsage) for a name that the run does not have.
GateVerdict judge(const ReportData& data, const Gate& gate);

}  // namespace bitfall
