#include "fit.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "numbers.h"
#include "report_number.h"

namespace bitfall {
namespace {

struct Parts {
  std::vector<WeightedRate> mismatch, nonfinite, due;
  double confidence = 0.99;
  double bits = 0;

  void add(const GroupSummary& layer, double rate_per_bit) {
    const double weight = rate_per_bit * layer.bits;
    mismatch.push_back({weight, layer.mismatch});
    nonfinite.push_back({weight, layer.nonfinite_rate});
    due.push_back({weight, layer.due});
    bits += layer.bits;
  }
  FitRow row(const std::string& name) const {
    return {name, bits, weighted_rate(mismatch, confidence), weighted_rate(nonfinite, confidence),
            weighted_rate(due, confidence)};
  }
};

std::string sum_text(const WeightedSum& sum) {
  return quantity(sum.value) + " [" + quantity(sum.interval.low) + ", " +
         quantity(sum.interval.high) + "]";
}

std::vector<std::string> notes_of(const ReportData& data, double rate_per_bit,
                                  std::int64_t skipped) {
  std::vector<std::string> notes = {
      "Raw rate per bit " + exact_text(rate_per_bit) +
      " x bits of a layer's payload x share of its trials; each value is taken to lie in storage "
      "throughout, and a bit to be hit as the campaign draws it. A trial with NaN among its logits "
      "is in both columns."};
  const auto flip = [](const ErrorModelFact& entry) {
    if (entry.error_model.id != "bit_flip") return false;
    return std::all_of(
        entry.error_model.options.begin(), entry.error_model.options.end(),
        [](const OptionFact& option) { return option.name != "bits" || option.value == "1"; });
  };
  const auto& models = data.facts.error_models;
  if (models.empty() || !std::all_of(models.begin(), models.end(), flip)) {
    notes.push_back("The faults are not single bit flips (" + error_models_text(data.facts) +
                    "): the rate per bit must be that of such faults.");
  }
  if (skipped > 0) {
    notes.push_back(std::to_string(skipped) + " layer(s) have no trial and are left out.");
  }
  return notes;
}

}  // namespace

FitReport fit_report(const ReportData& data, double rate_per_bit) {
  FitReport fit;
  fit.rate_per_bit = rate_per_bit;
  std::map<std::int32_t, Parts> totals;  // by entry
  for (const GroupSummary& layer : data.layers) {
    if (layer.trials == 0) continue;
    Parts one;
    one.confidence = data.confidence;
    one.add(layer, rate_per_bit);
    fit.layers.push_back(one.row(layer.name));
    Parts& total = totals[layer.entry];
    total.confidence = data.confidence;
    total.add(layer, rate_per_bit);
  }
  for (const auto& [entry, parts] : totals) {
    fit.totals.push_back(parts.row(
        totals.size() == 1 ? "network" : "network (faults " + std::to_string(entry + 1) + ")"));
  }
  const auto with = static_cast<std::int64_t>(fit.layers.size());
  fit.notes = notes_of(data, rate_per_bit, static_cast<std::int64_t>(data.layers.size()) - with);
  return fit;
}

ReportTable fit_table(const FitReport& fit, const ReportData& data) {
  ReportTable table;
  table.title = "Failures in time (FIT)";
  for (const std::string& note : fit.notes) table.note += (table.note.empty() ? "" : " ") + note;
  const std::string level = " [" + confidence_text(data) + "]";
  table.columns = {"layer", "bits", "FIT, mismatch" + level, "FIT, non-finite" + level};
  if (has_due(data)) table.columns.push_back("FIT, DUE" + level);
  const auto add = [&](const FitRow& row) {
    table.rows.push_back(
        {row.name, quantity(row.bits), sum_text(row.mismatch), sum_text(row.nonfinite)});
    if (has_due(data)) table.rows.back().push_back(sum_text(row.due));
  };
  for (const FitRow& row : fit.layers) add(row);
  for (const FitRow& row : fit.totals) add(row);
  table.total = fit.totals.size() == 1;
  return table;
}

}  // namespace bitfall
