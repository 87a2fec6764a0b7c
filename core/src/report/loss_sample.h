// Changes of the loss over a group of trials, of which there may be many millions: 8 bytes are kept
// of each trial that changes the loss, none of the others.
#pragma once

#include <cstdint>
#include <vector>

#include "mean_estimate.h"

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
  void collect(LossSample& part);

  /// What means are estimated from. After the last trial.
  const std::vector<MeanUnit>& losses();
  const std::vector<MeanUnit>& clipped();

  struct Spread {
    std::int64_t finite = 0, changing = 0;    // trials
    double median = 0, p99 = 0, maximum = 0;  // NaN without a finite trial
    Concentration carried, clipped_carried;
  };
  /// Takes the numbers away. clip: nats, as add() was given.
  Spread spread(double clip);

 private:
  struct Sum {  // of the parts that faults contribute
    double sum = 0, squared = 0;
    void add(double part);
  };
  class Numbers {  // without the room that a vector grows into
   public:
    void add(double value);
    void add(const Numbers& other);
    std::vector<double> take();

   private:
    std::vector<std::vector<double>> blocks_;
    std::size_t size_ = 0;
  };

  void close();

  bool keep_ = true;
  Numbers alone_;                    // changing trials of faults that hit one image, not 0
  Numbers together_;                 // and of permanent ones
  Numbers faults_, clipped_faults_;  // sums of permanent faults, not 0
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
