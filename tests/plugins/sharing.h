// A table that is made at the first use, in an inline function: without -fvisibility=hidden one for
// all plugins of a process.
#pragma once

#include "echo.h"

namespace bitfall {

inline int table(int bits) {
  static int made = bits;
  return made;
}

/// Counts with the table.
template <int kBits>
class Tabled final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {
        {kBits == 8 ? "table_8" : "table_6", ColumnKind::kQuantity, "1", "bits"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override { values[0] = table(kBits); }
};

}  // namespace bitfall
