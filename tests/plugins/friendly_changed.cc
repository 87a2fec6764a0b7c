// The metric of friendly.cc, mended so that it gives something else.
#include "echo.h"

namespace {

using namespace bitfall;

class Two final : public Echo {
 public:
  void measure(const Observation&, View<double> values) const override { values[0] = 2; }
};

constexpr Component<Metric> kMetric{
    "friendly", "for tests", {}, [](const Options&) -> Metric* { return new Two; }};

}  // namespace

BITFALL_PLUGIN("friendly", "1.1", "a changed one", kMetric);
