// delta_loss: the change of the cross-entropy (GoldenEye, Mahmoud et al., DSN 2022).
#include <cmath>

#include "metrics.h"

namespace bitfall {
namespace {

constexpr MetricColumn kColumns[] = {
    {"delta_loss", ColumnKind::kQuantity, "nats",
     "|golden - faulty cross-entropy|; Inf where the faulty loss is Inf, NaN where the difference "
     "has no value"},
    {"delta_loss_signed", ColumnKind::kQuantity, "nats",
     "Faulty minus golden cross-entropy; above 0 where the fault made the answer worse"},
};

class DeltaLoss final : public Metric {
 public:
  View<const MetricColumn> columns() const override { return kColumns; }

  void measure(const Observation& observation, View<double> values) const override {
    const double change = observation.faulty_loss - observation.golden_loss;
    values[0] = std::fabs(change);
    values[1] = change;
  }
};

}  // namespace

const Component<Metric> kDeltaLoss{"delta_loss",
                                   "Change of the cross-entropy loss, absolute and signed",
                                   {},
                                   [](const Options&) -> Metric* { return new DeltaLoss; }};

}  // namespace bitfall
