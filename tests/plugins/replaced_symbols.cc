// Its own C function has the name of one of the C library, which its calls reach in its place.
#include "bitfall/plugin.h"

extern "C" __attribute__((visibility("default"), noinline)) long lrand48() noexcept { return -7; }

namespace bitfall {
namespace {

class Draws final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"drawn", ColumnKind::kQuantity, "1", "its own"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override {
    values[0] = static_cast<double>(lrand48());
  }
};

constexpr Component<Metric> kDraws{
    "draws", "for tests", {}, [](const Options&) -> Metric* { return new Draws; }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("draws", "1.0", "has a function of the C library's name", bitfall::kDraws);
