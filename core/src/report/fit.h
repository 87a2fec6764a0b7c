// Failures in time: how many failures a billion hours bring, given the raw rate of upsets per bit.
#pragma once

#include <string>
#include <vector>

#include "report.h"
#include "report_table.h"

namespace bitfall {

/// Raw rate x bits x share of trials, each with its interval; in the unit of the raw rate.
struct FitRow {
  std::string name;  // of the layer, or "network"
  double bits = 0;
  WeightedSum mismatch, nonfinite, due;
};

struct FitReport {
  double rate_per_bit = 0;
  std::vector<FitRow> layers;  // of layers with trials
  /// Sums over the layers, one for each entry of the campaign: entries that hit the same layers are
  /// other failures of the same bits.
  std::vector<FitRow> totals;
  std::vector<std::string> notes;  // what the figures take for granted
};

/// A layer without an event counts with the upper end of its interval (weighted_sum).
FitReport fit_report(const ReportData& data, double rate_per_bit);

ReportTable fit_table(const FitReport& fit, const ReportData& data);

}  // namespace bitfall
