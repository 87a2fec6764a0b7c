// Runs against each other: what each arm has changed against the first one, the baseline. Reads the
// stores, reruns nothing.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "report.h"

namespace bitfall {

/// A run that takes part.
struct ArmSource {
  std::filesystem::path run;
  std::string label;  // empty = the directory's name
};

/// A number with the percentile interval of its bootstrap; all NaN where nothing was measured.
struct Estimate {
  double value = 0;
  Interval interval;
};

/// What is measured of a layer or a network. `loss`: mean delta loss over the trials where it is
/// finite (the paper's); `clipped`: over all trials, each cut at the clip, which stands for what is
/// not finite or missing too; `mismatch`, `due`: shares of trials.
struct Values {
  Estimate loss, clipped, mismatch, due;
};

/// Baseline / arm: above 1 the arm is the better one.
struct Ratio {
  double value = 0;  // NaN for 0 / 0 or without trials; infinite where the arm's value is 0
  Interval interval;
  double bound =
      0;  // where value is infinite: at least this; where it is 0: at most; NaN = unknown
  bool both_zero = false;   // 0 / 0
  bool unreliable = false;  // under 40 effective trials (of losses), or 5 events, in one of the
                            // two; of faults, where these meet several images
};

struct Improvement {
  Ratio loss, clipped, mismatch, due;
};

/// McNemar's exact test of trials or images that both arms have.
struct Discordance {
  std::int64_t pairs = 0;
  std::int64_t only_baseline = 0;  // the event in the baseline alone
  std::int64_t only_arm = 0;
  double p = 1;
};

/// How the trials of a layer compare between baseline and arm.
struct Pairing {
  bool matched = false;    // the baseline has this layer
  bool paired = false;     // the same faults on the same images, found so trial by trial: resampled
                           // together, else each arm by itself
  bool by_fault = false;   // faults that meet several images are resampled as one
  std::int64_t pairs = 0;  // trials that agree
  std::optional<Discordance> mismatches, dues;  // if paired, and not by fault
};

/// A column of a metric over the trials that both arms ran, arm minus baseline.
struct MetricChange {
  std::string column, unit;
  bool event = false;
  std::int64_t pairs = 0;  // of an event all, of a quantity those where both have a finite one
  double difference = 0;   // of the shares, or of the means; NaN without pairs
  /// Of a quantity's, by Student's t, between faults where these meet several images;
  /// NaN for an event or fewer than two faults.
  Interval interval;
  std::optional<Discordance> split;  // of an event; none where faults meet several images
};

/// A layer in one arm.
struct LayerOfArm {
  std::string site;  // the arm's own name for it
  GroupSummary summary;
  Values values;
  Pairing pairing;          // against the baseline; not matched in the baseline itself
  Improvement improvement;  // where matched
  std::vector<MetricChange> metric_changes;  // where matched: of the trials that agree
};

struct LayerRow {
  std::string name;  // in the first arm that has it
  std::string operation;
  std::vector<std::optional<LayerOfArm>> arms;  // by arm
};

/// A network's value: a mean of its layers' values.
struct NetworkValue {
  enum class Over {
    kLayers,      // all, but for outputs of other operations than conv, linear and matmul that
                  // belong to a head (normalise, scale) or that some arm lacks
    kBeforeLast,  // of these, the outputs before the last layer
    kWithHead     // all
  };
  Over over = Over::kLayers;
  bool by_bits = false;  // each layer weighted by its bits, else all alike (the paper's)
  std::int64_t layers = 0;
  Values values;
  Improvement improvement;  // of arms
};

/// The end of a network: its final linear layer, with value v; or a head of two, with v1 of E
/// outputs and v2 of C outputs, which count as (E v1 + C v2) / (E + C).
struct LastLayer {
  struct OutputSite {
    std::string name;
    std::int64_t neurons = 0;
    Values values;
  };
  struct Combination {
    std::string name;  // "v", "(E v1 + C v2) / (E + C)", "(v1 + v2) / 2", "v2"
    Values values;
    Improvement improvement;  // over the baseline's by the same rule, else by its first
  };
  std::vector<OutputSite> sites;          // v, or v1 and v2
  std::vector<Combination> combinations;  // the stated rule first
  std::string note;                       // where the rule is ambiguous
};

/// Arm minus baseline over the images that both have.
struct GoldenChange {
  Estimate difference;
  std::int64_t images = 0;
  std::optional<Discordance> wrong;  // of accuracies; the event is a wrong answer
};

struct Arm {
  std::string label;
  ReportData report;
  // Means over golden images, in the campaign's format:
  Estimate top2diff;
  Estimate nll;  // of the loss in nats, over images where it is finite
  std::int64_t golden_images = 0;
  // Not of the baseline:
  GoldenChange accuracy_change, fp32_change, top2diff_change, nll_change;
  /// Another network than the baseline, whose logits have another scale (the interval of a change
  /// of top2diff or NLL does not hold 0), and no rescaled baseline among the arms is at its scale:
  /// its ratios of delta loss hold that difference too.
  bool other_scale = false;
  std::vector<NetworkValue> networks;  // [0] is the headline: kLayers, not by bits
  LastLayer last;
  std::optional<Discordance> mismatches, dues;  // of all trials, where all layers are paired
  std::vector<MetricChange> metric_changes;  // of the trials that agree, of all layers
  /// The mean over the layers that all arms have, with equal weights; none where they are all that
  /// any arm has, or there are none.
  std::optional<GroupSummary> common;
};

/// An arm against the baseline with its logits divided by a temperature (`bitfall head rescale`),
/// which is one of the arms too: what the arm does beyond a change of scale.
struct EqualScale {
  std::string arm, rescaled;   // labels
  double temperature = 1;      // of the rescaled baseline
  GoldenChange top2diff, nll;  // arm minus rescaled baseline
  Improvement network, by_bits;
  std::optional<Improvement> last;
  /// Whether the interval of the arm's change holds 0: then it is at that scale.
  bool same_top2diff = false, same_nll = false;
};

struct CompareData {
  double confidence = 0.99;
  double clip = 10;
  bool plain_mean_misleads = false;     // of any arm: the clipped mean is then the headline
  std::vector<Arm> arms;                // the baseline first
  std::vector<EqualScale> equal_scale;  // each arm with each rescaled baseline
  std::vector<LayerRow> layers;  // the baseline's in network order, then those of others alone
  std::int64_t common_layers = 0;  // of the baseline, that all arms have
  std::optional<std::int64_t> images_counted;  // where trials of some images alone count
  std::vector<std::string> warnings;           // what makes the figures doubtful
  std::vector<std::string> notes;              // layers without a match, and which were not paired
};

/// Throws Error(kUsage) for fewer than two arms, Error(kInput) for arms that cannot be compared:
/// other data, images, labels or classes, another hit_value, a metric missing.
/// only_correct: count trials on images that every arm gets right without a fault alone.
CompareData compare(const std::vector<ArmSource>& sources, bool only_correct = false);

/// Whether a trial of some arm crashed or hung: else tables have no column for it.
bool has_due(const CompareData& data);

/// Tables for the terminal, at most `width` columns where names allow.
std::string compare_text(const CompareData& data, int width = 120);
std::string compare_markdown(const CompareData& data);
/// {"schema":"bitfall.compare/1", ...}
std::string compare_json(const CompareData& data);
/// The page's Vega-Lite specs: {"values": {...}, "improvement": {...}}.
std::string compare_charts_json(const CompareData& data);
/// As write_report_html.
void write_compare_html(const CompareData& data, const std::optional<std::string>& bundle,
                        const std::filesystem::path& path);

}  // namespace bitfall
