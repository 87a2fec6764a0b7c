// misclassified: the fault turned a right answer into a wrong one.
#include "metrics.h"

namespace bitfall {
namespace {

constexpr MetricColumn kColumns[] = {
    {"misclassified", ColumnKind::kEvent, "1",
     "The golden answer is correct and the faulty one wrong; an answer with a NaN logit counts as "
     "wrong"},
};

class Misclassified final : public Metric {
 public:
  View<const MetricColumn> columns() const override { return kColumns; }

  void measure(const Observation& observation, View<double> values) const override {
    const bool golden_right =
        observation.golden_top1 == observation.label && !any_nan(observation.golden_logits);
    const bool faulty_right =
        observation.faulty_top1 == observation.label && !any_nan(observation.faulty_logits);
    values[0] = golden_right && !faulty_right;
  }
};

}  // namespace

const Component<Metric> kMisclassified{
    "misclassified", "Correct without the fault, wrong with it", {}, [](const Options&) -> Metric* {
      return new Misclassified;
    }};

}  // namespace bitfall
