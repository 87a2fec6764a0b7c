// A metric that the test plugins register where any component will do.
#pragma once

#include "bitfall/plugin.h"

namespace bitfall {

class Echo : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"echo", ColumnKind::kQuantity, "1", "Always 1"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override { values[0] = 1; }
};

inline Component<Metric> echo_metric(const char* id) {
  return {id, "for tests", {}, [](const Options&) -> Metric* { return new Echo; }};
}

}  // namespace bitfall
