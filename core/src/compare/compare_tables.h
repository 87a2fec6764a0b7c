// The tables of a comparison.
#pragma once

#include <string>
#include <vector>

#include "compare.h"
#include "report_table.h"

namespace bitfall {

enum class Detail { kTerminal, kFull };  // kFull: every value and ratio with its interval

/// The summary first: a row per arm.
std::vector<ReportTable> compare_tables(const CompareData& data, Detail detail);

/// "mean delta loss" or "delta loss cut at 10 nats": what the headline ratios are of.
std::string headline_name(const CompareData& data);
const Ratio& headline(const CompareData& data, const Improvement& improvement);
const Estimate& headline(const CompareData& data, const Values& values);

/// "2.31 [1.90, 2.80]"; "none in either" for 0 / 0; "> 14" or "none left" for x / 0; "< 0.2" or "0"
/// for 0 / x; "-" where nothing was measured. Ends in * where unreliable.
std::string ratio_text(const Ratio& ratio);

/// "21 layers", "24 by bits, with head".
std::string network_name(const NetworkValue& network);

/// "2.31 M" of a count; "not recorded" if absent.
std::string count_text(const std::optional<std::int64_t>& count);

}  // namespace bitfall
