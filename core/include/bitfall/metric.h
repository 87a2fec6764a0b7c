// A metric turns golden and faulty answer to one image into named numbers, one row per trial.
#pragma once

#include <cstdint>

#include "bitfall/view.h"

namespace bitfall {

/// The values are part of the plugin ABI and of the result store.
enum class ColumnKind : std::uint8_t {
  kEvent = 0,     // 0 or 1; reported as a proportion with its interval
  kQuantity = 1,  // any real number; NaN = not defined for this trial, counted and never averaged
};

struct MetricColumn {
  const char* name;  // snake_case, unique among the campaign's metrics; the store's column
  ColumnKind kind;
  const char* unit;  // "nats", "1", "probability"
  const char* help;
};

/// One trial as a metric sees it. Valid during the call only.
struct Observation {
  std::uint32_t size;  // of this struct in bytes as the host knows it: later fields exist where it
                       // reaches them
  View<const float> golden_logits;  // [classes]
  View<const float> faulty_logits;  // [classes]
  std::int64_t label;               // 0 to classes - 1
  double golden_loss;  // cross-entropy against the label, nats, float64 from float32 logits; may be
                       // Inf or NaN
  double faulty_loss;
  std::int64_t golden_top1;  // index of the largest logit, the first on ties; NaN counts as largest
                             // (torch.argmax)
  std::int64_t faulty_top1;
};

/// Thread-safe after construction. What it gives depends on nothing but its arguments.
class Metric {
 public:
  virtual ~Metric() = default;
  virtual View<const MetricColumn> columns() const = 0;
  /// Writes one number per column. Must accept NaN and Inf logits. Not called for a trial that gave
  /// no answer, as it crashed or hung: its columns are NaN.
  virtual void measure(const Observation& observation, View<double> values) const = 0;

  /// Abilities that later hosts ask for by name; null for those that it lacks.
  virtual const void* extension(const char* name) const {
    (void)name;
    return nullptr;
  }
};

}  // namespace bitfall
