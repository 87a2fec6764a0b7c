// How the reports write numbers.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "report.h"

namespace bitfall {

/// Decimals of a percentage such that one trial more or less shows: 2 up to 20 000 trials a row,
/// else 3.
int percent_decimals(const ReportData& data);

/// 0.0342 -> "3.42 %"; "-" for NaN.
std::string percent(double share, int decimals);
/// "3.42 % [2.74, 4.25]": the rate with its headline interval, in percent; "-" without trials.
std::string percent(const Proportion& proportion, int decimals);
/// Of a mean of rates, alike.
std::string percent(const WeightedSum& rate, int decimals);
/// "0.129 [0.111, 0.152]"; without brackets where the interval is unknown.
std::string with_interval(const WeightedSum& mean);
/// " [0.111, 0.152]", or nothing where it is unknown.
std::string interval_text(const Interval& interval);
/// Three significant digits, "-" for NaN: "0.0312", "3.02e+34", "0".
std::string quantity(double value);
/// part / whole; NaN when whole = 0.
double share(std::int64_t part, std::int64_t whole);
/// "99 %".
std::string confidence_text(const ReportData& data);
std::string confidence_text(double confidence);

/// What tables and charts call the outcomes, by value.
inline constexpr std::array<const char*, kOutcomeNames.size()> kOutcomeTitles = {
    "masked", "top-1 same", "top-1 changed", "non-finite", "crashed", "hung"};

/// Whether a trial of the run crashed or hung: else tables have no column for it.
bool has_due(const ReportData& data);
/// Outcomes that tables and charts show: all, or where has_due is false those with an answer.
std::vector<Outcome> shown_outcomes(const ReportData& data);
/// "masked 55.10 %, top-1 same 43.97 %": each outcome of the list, of all the group's trials.
std::string outcomes_text(const GroupSummary& group, std::span<const Outcome> outcomes,
                          int decimals);
inline constexpr std::array kDueOutcomes = {Outcome::kCrashed, Outcome::kHung};

/// What a rate of the reports means, with its denominator.
struct Definition {
  const char* term;
  const char* meaning;
};
const std::vector<Definition>& definitions();

/// "fp16", "int (bits = 6)", "fp32 (other formats at some sites)".
std::string format_text(const RunFacts& facts);

/// How many draws make half of a mean; "-" where it is not known.
std::string half_text(const Concentration& carried);

}  // namespace bitfall
