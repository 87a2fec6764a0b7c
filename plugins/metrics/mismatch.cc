// mismatch: the fault changed the answer, whether or not it was right (silent data corruption as
// GoldenEye counts it).
#include "metrics.h"

namespace bitfall {
namespace {

constexpr MetricColumn kColumns[] = {
    {"mismatch", ColumnKind::kEvent, "1",
     "The faulty top-1 class differs from the golden one, or the fault made a logit NaN"},
};

class Mismatch final : public Metric {
 public:
  View<const MetricColumn> columns() const override { return kColumns; }

  void measure(const Observation& observation, View<double> values) const override {
    // An answer that is NaN without the fault too is not the fault's doing.
    values[0] = observation.faulty_top1 != observation.golden_top1 ||
                (any_nan(observation.faulty_logits) && !any_nan(observation.golden_logits));
  }
};

}  // namespace

const Component<Metric> kMismatch{
    "mismatch", "Top-1 class differs from the golden one", {}, [](const Options&) -> Metric* {
      return new Mismatch;
    }};

}  // namespace bitfall
