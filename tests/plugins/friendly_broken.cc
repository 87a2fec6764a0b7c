// The good metric of friendly.cc with a mistake: it throws at some call.
#include <atomic>
#include <stdexcept>

#include "echo.h"

namespace {

using namespace bitfall;

class Breaks final : public Echo {
 public:
  void measure(const Observation& trial, View<double> values) const override {
    static std::atomic<int> calls = 0;
    if (++calls > 600) throw std::runtime_error("out of luck");
    Echo::measure(trial, values);
  }
};

constexpr Component<Metric> kMetric{
    "friendly", "for tests", {}, [](const Options&) -> Metric* { return new Breaks; }};

}  // namespace

BITFALL_PLUGIN("friendly", "0.9", "a good one that breaks", kMetric);
