// A good plugin, but for the name of its metric's column, which the store has for something else.
#include "echo.h"

namespace bitfall {
namespace {

class Labels final : public Echo {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"label", ColumnKind::kQuantity, "1", "Always 1"}};
    return kColumns;
  }
};

constexpr Component<Metric> kMetric{
    "labels", "for tests", {}, [](const Options&) -> Metric* { return new Labels; }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("taken_column", "1.0", "a metric whose column cannot be stored",
               [](bitfall::Registrar& registrar) { registrar.add(bitfall::kMetric); });
