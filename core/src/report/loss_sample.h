// Changes of the loss over a group of trials, in memory that does not grow with their number.
#pragma once

#include <cstdint>
#include <vector>

#include "mean_estimate.h"
#include "value_counts.h"

namespace bitfall {

class LossSample {
 public:
  /// One trial. fault: equal for the trials of a permanent fault, which come one after the other;
  /// `shared` says that it is one. delta: |change| in nats, `clipped` that of it which counts
  /// below the clip (the clip itself where delta is not finite).
  void add(std::int64_t fault, bool shared, double delta, double clipped);

  /// From now on trials count, but only collect() brings their numbers: what holds several groups
  /// needs none of its own.
  void keep_nothing() { keep_ = false; }
  /// Before the first trial: what means are estimated from is wanted.
  void keep_draws() { draws_ = true; }
  void collect(LossSample& part);

  /// What means are estimated from, after keep_draws(). After the last trial.
  const std::vector<MeanUnit>& losses();
  const std::vector<MeanUnit>& clipped();

  struct Spread {
    std::int64_t finite = 0, changing = 0;  // trials
    // NaN without a finite trial. Of more than ValueCounts::kMostApart trials that change, the
    // median, p99 and `half` are off by at most 0.05 % of themselves; the rest is exact.
    double median = 0, p99 = 0, maximum = 0;
    Concentration carried, clipped_carried;
  };
  /// Takes the numbers away. clip: nats, as add() was given.
  Spread spread(double clip);

 private:
  struct Sum {  // of the parts that faults contribute
    double sum = 0, squared = 0;
    void add(double part);
  };
  void close();

  bool keep_ = true, draws_ = false;
  ValueCounts alone_;                    // changing trials of faults that hit one image
  ValueCounts together_;                 // and of permanent ones
  ValueCounts faults_, clipped_faults_;  // sums of permanent faults, not 0
  double maximum_ = 0;
  std::int64_t finite_ = 0, changing_ = 0;
  std::int64_t cut_ = 0;  // trials of faults that hit one image whose delta is not finite
  std::int64_t units_ = 0;
  std::int64_t fault_ = -1;
  bool open_ = false, shared_ = false;
  MeanUnit loss_, clip_;  // of the open fault
  Sum loss_sum_, clip_sum_;
  std::vector<MeanUnit> loss_units_, clip_units_;
};

}  // namespace bitfall
