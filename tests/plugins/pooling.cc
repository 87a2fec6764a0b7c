// Its parallel regions leave the threads of OpenMP's pool with subnormal numbers made 0, and the
// thread that called it as it was.
#include <cstdint>
#include <string_view>

#include "bitfall/plugin.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace bitfall {
namespace {

void flush_in_the_pool() {
#if defined(__x86_64__)
  const unsigned before = _mm_getcsr();
#pragma omp parallel
  _mm_setcsr(_mm_getcsr() | 0x8040U);
  _mm_setcsr(before);
#endif
}

class Pooling final : public Metric {
 public:
  explicit Pooling(bool in_create) : in_create_(in_create) {
    if (in_create_) flush_in_the_pool();
  }
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"pooled", ColumnKind::kQuantity, "1", "one"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override {
    if (!in_create_) flush_in_the_pool();
    values[0] = 1;
  }

 private:
  const bool in_create_;
};

constexpr Component<Metric> kComponents[] = {
    {"pools_in_create",
     "for tests",
     {},
     [](const Options&) -> Metric* { return new Pooling(true); }},
    {"pools_in_measure", "for tests", {}, [](const Options&) -> Metric* {
       return new Pooling(false);
     }}};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("pooling", "1.0", "leaves threads otherwise", bitfall::kComponents);
