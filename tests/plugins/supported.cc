// Needs a library that lies beside its file.
#include "bitfall/plugin.h"

extern "C" int support();

namespace bitfall {
namespace {

class Supported final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"supported", ColumnKind::kQuantity, "1", "five"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override { values[0] = support(); }
};

constexpr Component<Metric> kSupported{
    "supported", "for tests", {}, [](const Options&) -> Metric* { return new Supported; }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("supported", "1.0", "needs a library beside it", bitfall::kSupported);
