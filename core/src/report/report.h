// What a run found: tables for the terminal, JSON, and one self-contained HTML page. Reads the
// store, reruns nothing.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "accuracy_kept.h"
#include "mean_estimate.h"
#include "metric_tally.h"
#include "protection_rows.h"
#include "raised.h"
#include "sampled_run.h"
#include "statistics.h"
#include "store.h"

namespace bitfall {

/// |CE_golden - CE_faulty| of a group of trials, as a two-part quantity: the share of
/// trials that change, and the mean over them. Non-finite trials and those without an answer are
/// counted, never averaged.
struct DeltaLossSummary {
  std::int64_t trials = 0;
  std::int64_t nonfinite = 0;  // delta is NaN or Inf, though there is an answer
  std::int64_t no_answer = 0;  // crashed or hung: there is no loss
  std::int64_t changing = 0;   // delta > 0, finite
  Proportion changes;          // (changing + nonfinite + no_answer) of trials
  double mean = 0;             // over finite trials
  Interval interval;  // of the mean, of layers and of all: bootstrap-t over faults, NaN if unknown
  double mean_given_change = 0;  // over changing trials; NaN if none
  double mean_clipped = 0;  // over all trials, each change cut at `clip`; where there is no finite
                            // one it counts as `clip`
  Interval clipped_interval;  // as `interval`, at most the clip
  // How few faults carry these means (mean_estimate.h): the mean's, the clipped mean's.
  Concentration carried, clipped_carried;
  double signed_mean = 0;
  double median = 0, p99 = 0, maximum = 0;  // over finite trials
  bool unreliable = false;                  // fewer than 40 effective draws carry the mean
  bool clipped_unreliable = false;          // or the clipped mean
};

/// A row of a table: one layer (stratum), one bit, one bit class, or everything.
struct GroupSummary {
  std::string name;  // site, "bit 14 (exponent)", "sign", "all"
  std::string operation;
  std::string register_name;  // of a bit's row
  std::string bit_class;      // of a bit's row
  int bit = -1;               // of a bit's row
  int first_bit = -1;         // of a row of several bits, which go up to `bit`: the lowest of them
  std::int32_t entry = 0;     // of a layer: the campaign's entry
  double bits = 0;            // of a layer: of its payload, in the format that stores it
  double population = 0;
  std::int64_t trials = 0;
  std::int64_t activated = 0;
  OutcomeCounts outcomes{};  // add up to trials
  // All of all trials:
  Proportion mismatch;  // silent data corruption, see is_mismatch
  Proportion nonfinite_rate;
  Proportion due;            // crashed or hung
  Proportion misclassified;  // golden right and faulty wrong
  DeltaLossSummary delta_loss;
  std::vector<MetricSummary> metrics;  // every column of the run's metrics, in the store's order

  std::int64_t count(Outcome outcome) const { return outcomes[static_cast<std::size_t>(outcome)]; }

  /// Of this column; null where there is none.
  const MetricSummary* metric(const std::string& column) const;
};

/// One of the trials with the largest finite change of loss.
struct WorstTrial {
  std::int64_t trial = 0;
  std::string site;
  std::string image;
  std::string edit;  // "payload[812] flip bit 14: 0.0312 → 2048", and how many more
  std::string golden_class, faulty_class;
  double golden_loss = 0, faulty_loss = 0;
  double delta_loss = 0;
};

/// A network's figure: the plain mean over layers (the paper's), and the mean weighted by their
/// bits, which for a rate is that of a bit hit anywhere in the network.
struct OverLayers {
  WeightedSum plain, by_bits;
};

/// Trials of one layer whose one edit changes this bit of the payload highest.
struct LayerBit {
  std::size_t layer = 0;  // in ReportData::layers
  int bit = 0;
  std::int64_t trials = 0, mismatches = 0;
  Proportion rate;     // of mismatches, by fault; of a run drawn by strata weighted, as is the next
  double clipped = 0;  // mean delta loss, each trial cut at the clip
};

struct ReportData {
  RunFacts facts;
  std::string directory;  // of the run, as it was opened
  double confidence = 0.99;
  double clip = 10;  // nats
  std::int64_t images = 0;
  Proportion golden_accuracy;  // in the campaign's format
  Proportion fp32_accuracy;
  WeightedSum golden_nll, fp32_nll;  // mean losses in nats, of images where they are finite
  std::vector<GroupSummary> layers;  // a stratum each, in network order
  std::vector<GroupSummary>
      bits;  // by (register, highest edited bit), payload bit 0 first; single-register faults only
  std::vector<GroupSummary> bit_classes;  // sign, exponent, mantissa, metadata
  std::vector<LayerBit> layer_bits;       // by layer, then bit; those with trials
  /// Of faults that flip one bit: "0 to 1", "1 to 0", by what it was before.
  std::vector<GroupSummary> directions;
  /// By the network's answer without a fault: "right", "wrong".
  std::vector<GroupSummary> answers;
  GroupSummary network;  // all trials pooled; of a run drawn by strata weighted, as its goal is
  /// Of a run whose trials were drawn by strata until a goal was met. Its rows are weighted by
  /// strata; `bits` has a row for each part of the bits, `answers` and `directions` none.
  std::optional<SamplingSummary> sampling;
  // Over layers with trials; means of delta loss where they have a finite one.
  OverLayers mismatch_over_layers, nonfinite_over_layers, due_over_layers;
  OverLayers loss_over_layers, clipped_over_layers;
  std::vector<AccuracyKept> accuracy_kept;
  bool plain_mean_misleads =
      false;  // the format's exponent reaches 1e38 and hit values are not clamped
  std::vector<WorstTrial> worst;       // at most ten, the worst first
  std::vector<Raised> raised;          // at most ten, the commonest first
  std::int64_t kinds_raised = 0;       // of how many
  std::vector<std::string> warnings;   // unfinished run, unreliable intervals, refused sites, ...
  std::int64_t planned = 0, done = 0;  // done: stored trials
  std::vector<std::int64_t> layers_done;       // of each layer
  std::optional<std::int64_t> images_counted;  // where trials of some images alone count
  std::vector<ProtectionRow> protections;      // of protection_rows(), where its caller adds them
};

/// What the summaries count of one trial.
struct TrialEffect {
  Outcome outcome = Outcome::kMasked;
  bool activated = false;
  bool mismatch = false;
  bool misclassified = false;
  double change = 0;   // faulty loss - golden loss, nats; may be NaN or Inf; NaN without an answer
  double clipped = 0;  // |change| cut at the clip; the clip where it is not finite
  std::int64_t fault = 0;  // equal for the trials that share a permanent fault, which then come one
                           // after the other
};

struct SummaryOptions {
  std::optional<double> confidence, clip;  // in place of the run's own
  /// By image: whether its trials count; empty = all do.
  std::vector<bool> images;
  bool estimate_means = true;  // intervals of means: resampling takes time
  /// Called for every stored trial in the order of ids with the index of its layer in
  /// ReportData::layers, which are in the order of the run's strata. Must not use the store.
  std::function<void(std::size_t layer, const TrialEffect&, const TrialResult&)> visit;
};

/// By image: whether the network gets it right without a fault, in the campaign's format.
std::vector<bool> right_answers(const Store& store);

ReportData summarise(const Store& store, const SummaryOptions& options = {});

struct FitReport;  // fit.h; null below: not asked for

/// The per-layer table and totals for the terminal, at most `width` columns.
std::string report_text(const ReportData& data, int width = 110, const FitReport* fit = nullptr);
std::string report_markdown(const ReportData& data, const FitReport* fit = nullptr);
/// {"schema":"bitfall.report/2", ...}
std::string report_json(const ReportData& data, const FitReport* fit = nullptr);

/// Writes one HTML file with tables and Vega-Lite charts; `bundle` is the JavaScript (vega,
/// vega-lite, vega-embed) to inline; without it (nullopt) the page has tables only and says why.
/// Written to a temporary name, then renamed.
void write_report_html(const ReportData& data, const std::optional<std::string>& bundle,
                       const std::filesystem::path& path, const FitReport* fit = nullptr);

/// The Vega-Lite specs of the page as JSON text: {"layers": {...}, "bits": {...}}, for rendering to
/// PNG/SVG elsewhere.
std::string report_charts_json(const ReportData& data);

}  // namespace bitfall
