// Trials of two arms side by side: which are the same, and what their means would have been on
// other samples.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "compare.h"
#include "metric_tally.h"

namespace bitfall {

struct Means {
  double loss = 0, clipped = 0, mismatch = 0, due = 0;
};

/// Sums over some trials.
struct TrialSums {
  double loss = 0, finite = 0, clipped = 0, mismatches = 0, dues = 0, trials = 0;
  TrialSums& operator+=(const TrialSums& other);
  TrialSums times(double factor) const;
  Means means() const;  // NaN where there is nothing to average
};

/// The stored trials of one layer of one arm.
class LayerTrials {
 public:
  void add(const TrialEffect& effect, const TrialResult& trial);
  std::size_t size() const { return trials_.size(); }
  bool complete = false;  // all that were planned are in

 private:
  friend class TrialPairs;
  friend class MetricChanges;
  struct SampledTrial {
    std::int64_t id = 0;
    std::int64_t fault = 0;
    std::uint64_t place = 0;  // a hash of its image and edits
    double loss = 0;          // NaN where not finite
    double clipped = 0;
    bool mismatch = false, due = false;
    TrialSums sums() const;
  };
  std::deque<SampledTrial> trials_;  // some 50 bytes a trial: all of a run are kept
  // Of each trial a number for every column of the metrics, NaN without an answer. Short: a change
  // is as exact as what it is a change of.
  std::deque<float> metrics_;
};

/// How few draws carry a mean of losses: its value over the draws, and sum of d^2 / n^2.
struct Carried {
  double mean = 0, spread = 0;
  bool thin_parts = false;  // of a mean of layers: those that make half of it are thin themselves
  double effective() const { return spread > 0 ? mean * mean / spread : 0; }  // draws (Kish)
};

/// What is known of a layer's values, or of a mean of layers.
struct Resamples {
  Means point;                    // over the trials that the replicates are drawn from
  std::vector<Means> replicates;  // kTailResamples of them
  Means lower, upper;             // limits that hold where nothing was seen too; NaN = unknown
  // Of trials, or of faults where these meet several images; of the last two, events:
  Carried loss, clipped, mismatch, due;
};

/// Trials of two arms in one layer.
class TrialPairs {
 public:
  /// Trials agree where they have the same place (the rank, if both arms' layers are complete, else
  /// the trial's number), the same image and the same edits.
  TrialPairs(const LayerTrials& baseline, const LayerTrials& arm);

  /// Filled as far as the trials decide it. Paired if most of the smaller arm's trials agree.
  Pairing pairing() const;
  /// The samples of both: of the trials that agree if paired, resampled together; else each of all
  /// its trials. `stream` numbers the resamples (two numbers are used).
  std::pair<Resamples, Resamples> samples(std::uint64_t stream) const;
  /// Of one arm by itself.
  static Resamples sample(const LayerTrials& arm, std::uint64_t stream);

 private:
  friend class MetricChanges;
  struct Unit {
    TrialSums baseline, arm;
  };
  static std::vector<Unit> units(const LayerTrials& arm);
  static std::vector<double> shares(const std::vector<Unit>& units, const Unit& all);
  static std::pair<Resamples, Resamples> draw(const std::vector<Unit>& units, std::uint64_t stream);
  std::vector<Unit> paired_units(bool& by_fault) const;
  Discordance discordance(double TrialSums::* events) const;  // of the trials that agree

  const LayerTrials& baseline_;
  const LayerTrials& arm_;
  std::vector<std::pair<std::size_t, std::size_t>> same_;  // places in the two arms
};

/// What the columns of the metrics that both arms have are in the one and the other.
class MetricChanges {
 public:
  MetricChanges(std::span<const StoredColumn> baseline, std::span<const StoredColumn> arm);
  /// The trials of a layer that agree. by_fault: as its pairing has it.
  void add(const TrialPairs& pairs, bool by_fault);
  /// Empty without pairs.
  std::vector<MetricChange> finish(double confidence) const;

 private:
  struct Column {
    bool event = false;
    std::size_t in_baseline = 0, in_arm = 0;
    MetricTally change;  // of a quantity
    std::int64_t only_baseline = 0, only_arm = 0;
  };
  std::vector<Column> columns_;
  std::size_t width_of_baseline_, width_of_arm_;
  std::int64_t pairs_ = 0;
  bool by_fault_ = false;
};

/// Adds limits to a layer's sample: of the rates from their intervals; of the clipped mean from the
/// resamples and from how many trials may change at most.
void add_limits(Resamples& sample, const GroupSummary& summary, double clip, double confidence);

/// The mean of layers with weights; a layer without a value of a quantity is left out of that.
Resamples weighted_mean(const std::vector<const Resamples*>& layers,
                        const std::vector<double>& weights);

Values values_of(const Resamples& sample, double confidence);
Improvement improvement_of(const Resamples& baseline, const Resamples& arm, double confidence);

}  // namespace bitfall
