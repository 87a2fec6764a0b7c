#include "head_inits.h"

#include <cmath>

namespace bitfall {

LinearValues random_linear(std::int64_t outputs, std::int64_t inputs, bool bias,
                           RandomStream& random) {
  // Kaiming uniform with a = sqrt(5) comes to this bound: gain sqrt(2 / (1 + 5)), times
  // sqrt(3 / inputs).
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  const auto drawn = [&](std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) {
      value = static_cast<float>((2 * random.uniform() - 1) * bound);
    }
    return values;
  };
  LinearValues values;
  values.weight = drawn(outputs * inputs);
  if (bias) values.bias = drawn(outputs);
  return values;
}

}  // namespace bitfall

BITFALL_PLUGIN("head_inits", "1.0", "How the last layers of a classifier are built and started",
               [](bitfall::Registrar& registrar) {
                 registrar.add(bitfall::kLinear);
                 registrar.add(bitfall::kRandomProjection);
                 registrar.add(bitfall::kEmbedding);
                 registrar.add(bitfall::kTextGuided);
                 registrar.add(bitfall::kClassMeans);
               });
